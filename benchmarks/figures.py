# SPDX-License-Identifier: Apache-2.0
"""Figures of a benchmark: medians, ratios, curves with their slopes, and what they ran on."""

import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch


@dataclass(frozen=True)
class Ratio:
    """Ours against a baseline, in seconds of the same runs in turn. target: most that the ratio
    may be, None where nothing was set."""

    name: str
    ours: Sequence[float]
    baseline: Sequence[float]
    target: float | None

    @property
    def value(self) -> float:
        """Median over the runs of the ratio within each."""
        return statistics.median(a / b for a, b in zip(self.ours, self.baseline, strict=True))

    @property
    def row(self) -> str:
        """A line of the table."""
        ours, baseline = statistics.median(self.ours), statistics.median(self.baseline)
        goal = '-' if self.target is None else f'{self.target:g}'
        met = '-' if self.target is None else 'yes' if self.value <= self.target else '**no**'
        ratios = [a / b for a, b in zip(self.ours, self.baseline, strict=True)]
        return (f'| {self.name} | {ours:.3f} | {baseline:.3f} | {self.value:.3f} '
                f'({min(ratios):.3f} to {max(ratios):.3f}) | {goal} | {met} |')


@dataclass
class Curve:
    """Seconds by a size, one line for each way. unit: of the size, for words; measure: of what
    else than seconds it is, for the picture."""

    title: str
    unit: str
    lines: dict[str, dict[float, float]] = field(default_factory=dict)
    measure: str = 'seconds'

    def add(self, line: str, size: float, seconds: float) -> None:
        """One more point."""
        self.lines.setdefault(line, {})[size] = seconds

    def slope(self, line: str) -> tuple[float, float]:
        """Least squares over the points: seconds for each unit, and seconds at none."""
        sizes, seconds = (np.array(list(x)) for x in (
            self.lines[line].keys(), self.lines[line].values()))
        per, base = np.polyfit(sizes, seconds, 1)
        return float(per), float(base)

    @property
    def words(self) -> list[str]:
        """The slopes in words."""
        said = []
        for line, points in self.lines.items():
            if len(points) > 1:
                per, base = self.slope(line)
                said.append(f'{self.title}, {line}: {per * 1000:.1f} ms more for each {self.unit}, '
                            f'on {base * 1000:.0f} ms (least squares over {len(points)} points).')
        return said


TABLE = ['| | ours, s | plain, s | ratio (least to most) | target | met |',
         '|---|---|---|---|---|---|']


def draw(curves: Sequence[Curve], file: Path) -> None:
    """All curves as one picture. Needs matplotlib (the extra `train`)."""
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, len(curves), figsize=(5 * len(curves), 4), squeeze=False)
    for axis, curve in zip(axes[0], curves, strict=True):
        for line, points in curve.lines.items():
            axis.plot(list(points.keys()), list(points.values()), marker='o', label=line)
        axis.set_title(curve.title)
        axis.set_xlabel(curve.unit)
        axis.set_ylabel(curve.measure)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(fontsize='small')
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)


def clock(device: str) -> float:
    """Seconds, when all that was begun on the device is done."""
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)
    return time.perf_counter()


def forget_peak(device: str) -> None:
    """From here on `peak_mb` counts."""
    if device.startswith('cuda'):
        torch.cuda.reset_peak_memory_stats(device)


def peak_mb(device: str) -> str:
    """Megabytes that PyTorch's allocator gave out at most, all that it holds included; on a CPU it
    does not count."""
    if not device.startswith('cuda'):
        return '-'
    return f'{torch.cuda.max_memory_allocated(device) / 1e6:.0f}'


def in_ms(seconds: Sequence[float]) -> str:
    """Median in milliseconds, least and most."""
    return (f'{1e3 * statistics.median(seconds):.2f} ({1e3 * min(seconds):.2f} to '
            f'{1e3 * max(seconds):.2f})')


def ran_on(*more: str) -> str:
    """Processor, threads and versions (of `more` packages too), as a sentence."""
    packages = ', '.join(f'{name} {version(name)}' for name in ('torch', 'transformers', *more))
    return (f'{processor()}, {torch.get_num_threads()} threads; Python '
            f'{platform.python_version()}, {packages}.')


def processor() -> str:
    """The processor's name, as the system gives it."""
    return _cpuinfo('model name') or platform.processor() or platform.machine()


def has_bfloat16() -> bool:
    """Whether the processor has instructions of its own for products in bfloat16."""
    return bool({'avx512_bf16', 'amx_bf16', 'bf16'} & set(
        (_cpuinfo('flags') or _cpuinfo('Features')).split()))


def _cpuinfo(name: str) -> str:
    file = Path('/proc/cpuinfo')
    lines = file.read_text(encoding='utf-8').splitlines() if file.is_file() else []
    return next((line.partition(':')[2].strip() for line in lines if line.startswith(name)), '')
