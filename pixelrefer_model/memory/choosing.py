# SPDX-License-Identifier: Apache-2.0
"""Which moments of the past a question rests on, where there are more than its budget has room for.

The last and the first sighting come first, then events, the newest before older ones, then moments
that are spread evenly in time. Several objects are asked about at the same times: an answer about
which of two moved needs both as they were before and after.
"""

from bisect import bisect_left
from collections.abc import Container, Sequence
from dataclasses import dataclass

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.record import EVENTS


@dataclass(frozen=True)
class Budget:
    """frames: moments of each object; tokens: object tokens of the whole question."""

    frames: int = 8
    tokens: int = 1024

    def __post_init__(self) -> None:
        if self.frames < 1 or self.tokens < 1:
            raise PixelReferError(
                'BAD_BUDGET', f'{self.frames} frames and {self.tokens} object tokens asked for; at '
                'least 1 of each is allowed')

    def moments(self, objects: int, tokens_each: int) -> int:
        """Moments of each of so many objects, at least one."""
        return max(1, min(self.frames, self.tokens // max(1, objects * tokens_each)))


@dataclass(frozen=True)
class Mark:
    """A moment that may be chosen. reason: why it was observed, see Observation."""

    stamp_ns: int
    reason: str = 'interval'


def choose(objects: Sequence[Sequence[Mark]], most: int) -> list[list[int]]:
    """Places of at most `most` marks of each object, rising. objects: marks of each, oldest first.

    Raises PixelReferError BAD_BUDGET for `most` under 1.
    """
    if most < 1:
        raise PixelReferError('BAD_BUDGET', f'{most} frames asked for; at least 1 is allowed')
    times = _times(objects, most)
    chosen = []
    for marks in objects:
        stamps = [mark.stamp_ns for mark in marks]
        picked: dict[int, None] = {}
        if stamps:
            picked[len(stamps) - 1] = None
        if stamps and most > 1:
            picked[0] = None
        for time in times:
            if len(picked) >= min(most, len(stamps)):
                break
            picked[_nearest(stamps, time, picked)] = None
        chosen.append(sorted(picked))
    return chosen


def _nearest(stamps: Sequence[int], time: int, picked: Container[int]) -> int:
    """The place that is nearest in time and not picked yet, of two the later one. stamps: rising,
    more than are picked."""
    after = bisect_left(stamps, time)
    before = after - 1
    while before in picked:
        before -= 1
    while after in picked:
        after += 1
    if before < 0 or after < len(stamps) and stamps[after] - time <= time - stamps[before]:
        return after
    return before


def _times(objects: Sequence[Sequence[Mark]], most: int) -> list[int]:
    """The times at which all objects are wanted, the most wanted first."""
    marks = [mark for one in objects for mark in one]
    if not marks:
        return []
    events = sorted({mark.stamp_ns for mark in marks if mark.reason in EVENTS}, reverse=True)
    first, last = min(m.stamp_ns for m in marks), max(m.stamp_ns for m in marks)
    # Half of the room at most is for events: between them something was seen too.
    events = events[:max(1, (most - 2 + 1) // 2)] if most > 2 else events[:0]
    free = max(0, most - 2 - len(events))
    even = [first + (last - first) * (k + 1) // (free + 1) for k in range(free)]
    # Where an object has no moment at these times others of it take the room.
    spare = [first + (last - first) * (2 * k + 1) // (2 * most) for k in range(most)]
    return [*events, *even, *spare]
