# SPDX-License-Identifier: Apache-2.0
"""Several processes of one thread each train one model: each its own scenes, gradients averaged.

Two threads in one process gain far less at these sizes, and lose everything when another job
takes one of the cores.
"""

import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch import nn

#: The first process alone measures and saves; the others wait for it meanwhile.
PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class Together:
    """One of `count` processes that train the same weights."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process measures, saves and shows progress."""
        return self.rank == 0

    def share(self, *modules: nn.Module) -> None:
        """Give every process the weights of the first."""
        if self.count > 1:
            for module in modules:
                for tensor in module.state_dict().values():
                    dist.broadcast(tensor, 0)

    def average(self, parameters: Sequence[nn.Parameter], seconds: float) -> float:
        """Make every gradient the mean over all processes; returns the mean of `seconds`.

        A parameter without a gradient in this process counts as one with a gradient of zero; one
        without any in every process stays without.
        """
        if self.count == 1:
            return seconds
        flat = torch.cat([
            *((p.grad if p.grad is not None else torch.zeros_like(p)).flatten()
              for p in parameters),
            torch.tensor([seconds, *(float(p.grad is not None) for p in parameters)])])
        dist.all_reduce(flat)
        flat /= self.count
        *gradients, rest = flat.split([*(p.numel() for p in parameters), len(parameters) + 1])
        for p, gradient, used in zip(parameters, gradients, rest[1:].tolist(), strict=True):
            p.grad = gradient.view_as(p).clone() if used else None
        return float(rest[0])


def run_together(count: int, work: Callable[..., None], *arguments: object) -> None:
    """Call `work(together, *arguments)` in `count` processes; returns when all have ended.

    Raises torch.multiprocessing.ProcessRaisedException with the trace of the first that failed. To
    be called by the main thread: SIGTERM ends all of them, as Ctrl-C does.
    """
    if count == 1:
        work(Together(), *arguments)
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(
                _one, (count, Path(folder) / 'meet', work, arguments), count, daemon=True)
    finally:
        signal.signal(signal.SIGTERM, before)


def _one(rank: int, count: int, meeting: Path, work: Callable[..., None],
         arguments: tuple) -> None:
    dist.init_process_group('gloo', init_method=f'file://{meeting}', rank=rank, world_size=count,
                            timeout=PATIENCE)
    try:
        dist.barrier()  # who fails at once must not leave another waiting to meet it
        work(Together(rank, count), *arguments)
    finally:
        dist.destroy_process_group()
