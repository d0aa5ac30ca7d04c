# SPDX-License-Identifier: Apache-2.0
"""Time to the first token of a question about the past: from the memory, against encoding the
remembered frames anew.

    ./run python benchmarks/memory_first_token.py

Writes benchmarks/memory_first_token.md. The packaged model on one thread of the CPU; one object of
80 px a side in images of 640x480. From the memory: the observations are chosen and read from a
store on disk, and the prompt is prefilled, wholly or behind the prefix that an earlier question left.
Anew: the frames, which somebody has kept in RAM, are encoded again, and the prompt is prefilled.
All ways in turn, in one run; a question that calls the vision tower is a fault.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from tqdm import tqdm

from benchmarks.answers import FIRST, SECOND, in_turn, scene
from benchmarks.figures import ran_on
from pixelrefer_model.engine import TINY
from pixelrefer_model.language import Evidence, KeepPrefixes, LanguageModel, compose
from pixelrefer_model.memory import KeepLast, Observation, Selection
from pixelrefer_model.memory.long_memory import ALWAYS, LongMemory
from pixelrefer_model.memory.recorder import Recorder
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder

FRAMES = (1, 8, 32)
#: Of the last count of frames: how many times as fast it has to be, without and with the prefix.
TARGETS = (8.0, 20.0)
#: Observations that are in RAM; the others are read from the disk.
IN_RAM = 1


@dataclass(frozen=True)
class Row:
    """Seconds of each run over so many frames, the three ways; tokens: of the prompt."""

    frames: int
    tokens: int
    remembered: Sequence[float]
    kept: Sequence[float]
    anew: Sequence[float]

    def times_as_fast(self, ours: Sequence[float]) -> float:
        """Median over the runs of the ratio within each."""
        return statistics.median(a / b for a, b in zip(self.anew, ours, strict=True))


class FirstToken:
    """The packaged model, an object that was seen `frames` times, and its memory in a folder."""

    def __init__(self, frames: int, recorder: Recorder) -> None:
        self.model = PixelReferLite.from_checkpoint(TINY['refer'])
        self.encoder = RegionEncoder(self.model)
        self.images = [scene(1, seed=n) for n in range(frames)]
        self.memory = LongMemory(KeepLast(IN_RAM), recorder)
        for number, image in enumerate(self.images):
            self.memory.observe([Observation(
                'it', number * 500_000_000, 'camera', 0, (0, 0, 80, 80), 6400,
                self.encoder.encode(*image)[0], self.encoder.key)])
        recorder.flush()

    def language(self, most_bytes: int = 0) -> LanguageModel:
        """A language model that keeps prefixes in so many bytes."""
        return LanguageModel(self.model, generation={}, prefixes=KeepPrefixes(most_bytes))

    def remembered(self, language: LanguageModel, question: str) -> float:
        """Seconds to the first token, from the memory."""
        calls, start = self.encoder.calls, time.perf_counter()
        chosen = self.memory.select('it', ALWAYS, len(self.images), self.encoder.key)
        if len(chosen.observations) != len(self.images):
            raise AssertionError(f'{len(chosen.observations)} of {len(self.images)} were chosen')
        self._first(language, question, chosen)
        seconds = time.perf_counter() - start
        if self.encoder.calls != calls:
            raise AssertionError('a question about what is remembered has called the vision tower')
        return seconds

    def kept(self) -> float:
        """As `remembered`, of a second question."""
        language = self.language(256 << 20)
        self.remembered(language, FIRST)
        return self.remembered(language, SECOND)

    def anew(self) -> float:
        """Seconds to the first token when every frame is encoded again."""
        start = time.perf_counter()
        seen = [Observation('it', n * 500_000_000, 'camera', 0, (0, 0, 80, 80), 6400,
                            self.encoder.encode(*image)[0], '')
                for n, image in enumerate(self.images)]
        self._first(self.language(), SECOND, Selection(seen, 0, 0))
        return time.perf_counter() - start

    def tokens(self) -> int:
        """Tokens of the prompt."""
        chosen = self.memory.select('it', ALWAYS, len(self.images), self.encoder.key)
        return self.language().count(_prompt(SECOND, chosen))

    def _first(self, language: LanguageModel, question: str, chosen: Selection) -> None:
        next(language.generate([_prompt(question, chosen)], max_new_tokens=2))


def _prompt(question: str, chosen: Selection):
    return compose(question, [Evidence(
        'it', torch.stack([one.tokens for one in chosen.observations]), chosen.seconds)])


def measure(frames: int, repeats: int, folder: Path) -> Row:
    """All three ways over so many frames, in turn."""
    with MemoryStore.open(folder) as store, Recorder(store) as recorder:
        bench = FirstToken(frames, recorder)
        ways = in_turn(repeats, lambda: bench.remembered(bench.language(), SECOND), bench.kept,
                       bench.anew)
        return Row(frames, bench.tokens(), *ways)


def table(rows: Sequence[Row]) -> list[str]:
    """Of each count of frames; the targets are of the last."""
    lines = ['| frames | prompt, tokens | from the memory, ms | prefix kept, ms '
             '| encoded anew, ms | memory is faster | with the prefix |', '|---' * 7 + '|']
    for row in rows:
        times = [row.times_as_fast(ours) for ours in (row.remembered, row.kept)]
        said = [f'{value:.1f} times' for value in times]
        if row is rows[-1]:
            said = [f'{text} (at least {goal:g}: {"met" if value >= goal else "**missed**"})'
                    for text, value, goal in zip(said, times, TARGETS)]
        medians = [f'{1000 * statistics.median(way):.1f}'
                   for way in (row.remembered, row.kept, row.anew)]
        lines.append(f'| {row.frames} | {row.tokens} | {" | ".join(medians)} | '
                     f'{" | ".join(said)} |')
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and print; exit status 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path(__file__).parent / 'memory_first_token.md')
    parser.add_argument('--repeats', type=int, default=9)
    parser.add_argument('--frames', type=int, nargs='+', default=FRAMES)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows, start = [], time.perf_counter()
    for frames in tqdm(options.frames, 'frames'):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(frames, options.repeats, Path(folder)))
    text = '\n'.join([
        '# The first token of a question about the past', '',
        f'`./run python benchmarks/memory_first_token.py`, on {ran_on()} It took '
        f'{time.perf_counter() - start:.0f} s.', '',
        f'The packaged model in float32; one object, 80 px a side in 640x480, {IN_RAM} of its '
        f'observations in RAM and the others on disk; medians of {options.repeats} runs in turn, '
        'and of the ratios within each. The questions called the vision tower 0 times (counted).',
        '', *table(rows), ''])
    options.out.write_text(text, encoding='utf-8')
    print(text)
    times = [rows[-1].times_as_fast(ours) for ours in (rows[-1].remembered, rows[-1].kept)]
    return int(any(value < goal for value, goal in zip(times, TARGETS)))


if __name__ == '__main__':
    sys.exit(main())
