# SPDX-License-Identifier: Apache-2.0
"""What one object remembers: prompted frames, and a bounded number of frames since."""

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pixelrefer_model.sam2.attention import Selection
from pixelrefer_model.sam2.policy import MemoryPolicy

#: Memories are kept in the precision that the released checkpoints were trained with.
MEMORY_DTYPE = torch.bfloat16


@dataclass(frozen=True)
class Remembered:
    """One frame of one object. index counts the tracker's frames, for distances; stamp_ns says
    which frame it is, None for one of before a jump in time. spatial [hw, 64], None where only the
    pointer [C] is kept. lasting: it is attended to even when it is not the newest any more."""

    index: int
    stamp_ns: int | None
    spatial: Tensor | None
    pointer: Tensor
    lasting: bool = True


class MemoryBank:
    """Bounded: `policy.anchors` prompted frames, the last `pointers` others, and of those and
    earlier ones at most `spatial` with their spatial memory. Equal after ten minutes and ten
    hours. spatial, pointers: as many as the checkpoint was trained with."""

    def __init__(self, policy: MemoryPolicy, spatial: int, pointers: int) -> None:
        self.policy = policy
        self.oldest, self.farthest = pointers, spatial
        self.spatial = spatial if policy.spatial is None else policy.spatial
        self.pointers = pointers if policy.pointers is None else policy.pointers
        self._anchors: list[Remembered] = []
        self._recent: list[Remembered] = []
        self._added = 0

    def __len__(self) -> int:
        return len(self._anchors) + len(self._recent)

    @property
    def first_ns(self) -> int | None:
        """Stamp of the first prompt's frame; None before there was one, or if time jumped since."""
        return self._anchors[0].stamp_ns if self._anchors else None

    def index_of(self, stamp_ns: int) -> int | None:
        """The index under which a frame is remembered; None where it is not."""
        return next((each.index for each in (*self._anchors, *self._recent)
                     if each.stamp_ns == stamp_ns), None)

    def anchor(self, entry: Remembered) -> None:
        """Remember a prompted frame; one of the same stamp is replaced, the oldest but the first
        goes when there are too many."""
        self.drop(entry.stamp_ns)
        self._anchors.append(entry)
        self._anchors.sort(key=lambda each: each.index)
        if len(self._anchors) > self.policy.anchors:
            del self._anchors[1]

    def add(self, entry: Remembered) -> None:
        """Remember an unprompted frame, newer than all others."""
        recent = [each if each.lasting else replace(each, spatial=None) for each in self._recent]
        recent.append(replace(entry, lasting=self._added % self.policy.stride == 0))
        self._added += 1
        whole = [at for at, each in enumerate(recent) if each.spatial is not None]
        for at in whole[:max(0, len(whole) - self.spatial)]:
            recent[at] = replace(recent[at], spatial=None)
        self._keep(each for at, each in enumerate(recent)
                   if each.spatial is not None or len(recent) - at <= self.pointers)

    def drop(self, stamp_ns: int) -> None:
        """Forget what was remembered of one frame."""
        self._anchors = [each for each in self._anchors if each.stamp_ns != stamp_ns]
        self._keep(each for each in self._recent if each.stamp_ns != stamp_ns)

    def jump(self) -> None:
        """Time jumps: stamps may come again, and mean other frames than those remembered."""
        self._anchors = [replace(each, stamp_ns=None) for each in self._anchors]
        self._keep(replace(each, stamp_ns=None) for each in self._recent)

    def drop_after(self, index: int) -> None:
        """Forget the unprompted frames after `index`, which are about to be seen again."""
        self._keep(each for each in self._recent if each.index <= index)

    def _keep(self, entries: Iterable[Remembered]) -> None:
        self._recent = list(entries)

    def selection(self, now: int) -> Selection:
        """What is attended to when frame `now` is decoded."""
        anchors = [each for each in self._anchors if each.index <= now] or self._anchors[:1]
        recent = [each for each in reversed(self._recent) if each.index < now]
        spatial = [(each.spatial, 0) for each in anchors]
        pointers = [(each.pointer, self._age(now - each.index)) for each in anchors]
        placed = []
        for rank, each in enumerate(recent, 1):
            age = now - each.index
            if each.spatial is not None:
                place = len(placed) + 1 if self.policy.by_rank else age
                if place <= self.spatial:
                    placed.append((each.spatial, min(place, self.farthest)))
            if (rank if self.policy.by_rank else age) <= self.pointers:
                pointers.append((each.pointer, self._age(age)))
        # oldest first: sums in the order of the library's session round alike
        return Selection(spatial + placed[::-1], pointers)

    def _age(self, frames: int) -> float:
        # far outside of what was trained an encoding of time says nothing
        return float(max(0, min(frames, self.oldest)) if self.policy.by_rank else frames)

    def copy(self) -> 'MemoryBank':
        """The same, which changes without this one."""
        other = copy(self)
        other._anchors, other._recent = list(self._anchors), list(self._recent)
        return other

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor kept."""
        for each in (*self._anchors, *self._recent):
            if each.spatial is not None:
                yield each.spatial
            yield each.pointer
