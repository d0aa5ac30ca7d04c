# SPDX-License-Identifier: Apache-2.0
"""What a tracker keeps from frame to frame: processed frames, and of each object its memory."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace

from torch import Tensor

from pixelrefer_model.sam2.bank import MemoryBank
from pixelrefer_model.sam2.network import Features
from pixelrefer_model.sam2.policy import StatePolicy
from pixelrefer_model.sam2.track import StateMachine, Track


@dataclass(frozen=True)
class Seen:
    """A processed frame: its number, stamp, size in pixels and features; these None once they were
    given up for want of memory."""

    index: int
    stamp_ns: int
    height: int
    width: int
    features: Features | None


@dataclass
class Given:
    """What was given for an object on the frame of `stamp_ns`, to which a correction adds: points
    [1, P, 2] in input pixels with labels [1, P], or the logits [1, 4h, 4w] of a mask."""

    stamp_ns: int
    points: Tensor | None
    labels: Tensor | None
    logits: Tensor | None

    @property
    def selects(self) -> bool:
        """Whether it says where the object is, and not only where it is not."""
        return self.labels is None or bool((self.labels > 0).any())


class Tracked:
    """One object's memory, state and newest track. index: of the newest frame it was decoded on;
    given: its last prompt."""

    def __init__(self, object_id: str, bank: MemoryBank, states: StatePolicy) -> None:
        self.id, self.bank = object_id, bank
        self.machine = StateMachine(states)
        self.given: Given | None = None
        self.index = -1
        self.track: Track | None = None

    def rename(self, object_id: str) -> None:
        """Have another id, also in the newest track."""
        self.id = object_id
        if self.track is not None:
            self.track = replace(self.track, object_id=object_id)

    def copy(self) -> 'Tracked':
        """The same, which changes without this one; tensors, which nobody changes, are shared."""
        other = copy(self)
        other.bank, other.machine = self.bank.copy(), copy(self.machine)
        return other

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor kept."""
        yield from self.bank.tensors()
        if self.track is not None and self.track.logits is not None:
            yield self.track.logits
        if self.given is not None:
            for tensor in (self.given.points, self.given.labels, self.given.logits):
                if tensor is not None:
                    yield tensor
