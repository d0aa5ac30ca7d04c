# SPDX-License-Identifier: Apache-2.0
"""What a training step needs, made ahead by other processes, for a device that learns faster than
one process can prepare; and the parts that processes have of what is rendered for them."""

import io
import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

#: More steps than any training has.
MOST_STEPS = 1_000_000_000
#: Seconds after which a process looks for what was rendered since.
REFRESH_S = 5.0
#: Seconds that a process waits for what is rendered for it.
PATIENCE_S = 300.0
#: Tensors of so many bytes are handed over by themselves.
LARGE_BYTES = 1 << 20
#: By how much what is made ahead gives way to the process that learns.
NICE = 5


def made_ahead(steps: Dataset, first: int, processes: int, *, pinned: bool = False) -> Iterator:
    """`steps[first]`, `steps[first + 1]`, ... in order, made by so many processes, one each ahead.
    Tensors come through shared memory (/dev/shm); pinned: into memory that a GPU reads by itself.
    """
    return iter(DataLoader(steps, batch_size=None, sampler=range(first, MOST_STEPS),
                           num_workers=processes, prefetch_factor=1, pin_memory=pinned,
                           multiprocessing_context='spawn', worker_init_fn=_begin))


def _begin(_: int) -> None:
    os.nice(NICE)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def device_name(device: torch.device) -> str:
    """A device as model cards name it."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else 'cpu'


class _Pickler(pickle.Pickler):
    """Writes tensors as arrays: torch's own way goes through a file for each."""

    def reducer_override(self, value: object) -> object:
        if isinstance(value, Tensor):
            return torch.from_numpy, (value.numpy(),)
        return NotImplemented


def packed(value: object) -> list[Tensor]:
    """Nested values with CPU tensors as a few uint8 tensors, the large ones by themselves and all
    else together, so that they take as few pieces of shared memory instead of a hundred."""
    held, large = io.BytesIO(), []

    def small(buffer: pickle.PickleBuffer) -> bool:
        with buffer.raw() as bytes_:
            if bytes_.nbytes < LARGE_BYTES or bytes_.readonly:
                return True
        large.append(torch.frombuffer(buffer, dtype=torch.uint8))
        return False

    _Pickler(held, protocol=5, buffer_callback=small).dump(value)
    return [torch.frombuffer(held.getbuffer(), dtype=torch.uint8), *large]


def unpacked(held: Sequence[Tensor]) -> object:
    """What `packed` was given, of which the large tensors lie in `held` still. Only for what
    processes of one training tell one another: it is a pickle."""
    return pickle.loads(held[0].numpy(), buffers=[one.numpy() for one in held[1:]])


@dataclass(frozen=True)
class Part:
    """One of `count` parts of what is numbered: numbers `index`, `index + count`, ..."""

    index: int
    count: int

    @classmethod
    def own(cls) -> 'Part':
        """That of a process of `made_ahead`, the whole elsewhere: reading all of it would take each
        process as long as all of them."""
        own = get_worker_info()
        return WHOLE if own is None else cls(own.id, own.num_workers)

    @property
    def of_several(self) -> slice:
        """Its numbers, as a slice of all."""
        return slice(self.index, None, self.count)

    def has(self, number: int) -> bool:
        """Whether a number is in it."""
        return number % self.count == self.index


WHOLE = Part(0, 1)


class Growing(Protocol):
    """A pool that more is rendered for."""

    @property
    def ready(self) -> bool:
        """Whether every kind of what is drawn from it is there."""

    def refresh(self) -> None:
        """Take in what was rendered since."""


class Refreshed:
    """Pools that are looked at again every REFRESH_S seconds."""

    def __init__(self, *pools: Growing) -> None:
        self.pools = pools
        self._looked = time.monotonic()

    @property
    def _ready(self) -> bool:
        return all(pool.ready for pool in self.pools)

    def now(self) -> tuple:
        """The pools, once all are ready. Raises RuntimeError when they are not after PATIENCE_S
        seconds."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() - self._looked >= REFRESH_S or not self._ready:
            for pool in self.pools:
                pool.refresh()
            self._looked = time.monotonic()
            if not self._ready:
                if self._looked >= until:
                    raise RuntimeError(f'nothing to make a step of came in {PATIENCE_S:.0f} s: of '
                                       'several processes each has every so many-th shard alone')
                time.sleep(0.5)
        return self.pools


class _Packed(Dataset):
    def __init__(self, make: Callable[[int], object]) -> None:
        self.make = make

    def __len__(self) -> int:
        return MOST_STEPS

    def __getitem__(self, step: int) -> list[Tensor]:
        return packed(self.make(step))


class Learner(Protocol):
    """What learns steps that other processes make."""

    @property
    def progress(self) -> float:
        """0 at the start, 1 at the end."""

    def learn(self, step: object) -> dict[str, Tensor]:
        """One update; returns the losses."""


class Ahead:
    """Steps made by so many processes, which begin at once, from number `first` on. Use as a
    context manager: they end with it.

    make: gives what makes a step of its number, of a shared tensor that says how far the training
    is, which is `progress` at first. pinned: see `made_ahead`.
    """

    def __init__(self, make: Callable[[Tensor], Callable[[int], object]], first: int,
                 progress: float, processes: int, *, pinned: bool = False) -> None:
        self._progress = torch.tensor(progress).share_memory_()
        self._steps = made_ahead(_Packed(make(self._progress)), first, processes, pinned=pinned)
        # A device may still read what was handed to it a moment ago.
        self._held: deque[list[Tensor]] = deque(maxlen=3)
        #: Seconds that were spent waiting for a step: many say that more processes are wanted.
        self.waited = 0.0

    def __enter__(self) -> 'Ahead':
        return self

    def __exit__(self, *_: object) -> None:
        self._held.clear()
        self._steps = iter(())  # what made them ends as it is let go

    def learned(self, trainer: Learner) -> Iterator[dict[str, Tensor]]:
        """The losses of step after step, of which others are made while one is learned."""
        while True:
            began = time.monotonic()
            self._held.append(next(self._steps))
            self.waited += time.monotonic() - began
            yield trainer.learn(unpacked(self._held[-1]))
            self._progress.fill_(trainer.progress)
