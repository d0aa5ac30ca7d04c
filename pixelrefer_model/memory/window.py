# SPDX-License-Identifier: Apache-2.0
"""Windows: which stretch of remembered time a question is about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.observation import Observation

#: How far behind the newest observation the one that shows the object may lie, ns of image time.
MOST_STALE_NS = 30_000_000_000


@dataclass(frozen=True)
class Now:
    """The newest observation of each object that looks like it, and before it, with two looks, the
    first one that is remembered: as it was selected, when somebody had just shown where it is.

    looks: None as the checkpoint was trained (`now_looks` of its config.json), and one where nobody
    asks it. likeness: an observation looks like the object if its object tokens are at least so
    like those of an earlier one that does (cosine of all of their numbers, -1 to 1), the first one
    being one: a mask that has strayed shows something else. Where nothing has looked like it for
    more than MOST_STALE_NS the newest is believed, for things change; where nothing that is still
    at hand does, what most of that looks like is the object. -1: the newest, whatever it shows.
    None: as the checkpoint says (`now_likeness`), and the newest where nobody asks it.
    """

    looks: Literal[1, 2] | None = None
    likeness: float | None = None

    def of(self, observations: list[Observation], first: Observation | None = None
           ) -> list[Observation]:
        """Those of one object that a question rests on. observations: the newest, oldest first.
        first: that of its selection, which may be older than they are; None: the oldest."""
        if not observations:
            return []
        first = first or observations[0]
        since = [o for o in observations if o.stamp_ns > first.stamp_ns]
        newest = since[-1] if since else first
        if self.likeness is not None and self.likeness > -1 and since:
            newest = _showing(first, since, self.likeness, observations[0] is since[0])
        return [first, newest] if self.looks == 2 and newest is not first else [newest]


@dataclass(frozen=True)
class Span:
    """Observations with start_ns <= stamp <= end_ns, in nanoseconds of image time.

    Raises PixelReferError BAD_WINDOW when it ends before it begins.
    """

    start_ns: int
    end_ns: int

    def __post_init__(self) -> None:
        if self.end_ns < self.start_ns:
            by = (self.start_ns - self.end_ns) / 1e9
            raise PixelReferError(
                'BAD_WINDOW', f'the window ends {by:.3f} s before it begins; an end at or after '
                'the start is allowed')

    def of(self, observations: list[Observation]) -> list[Observation]:
        return [o for o in observations if self.start_ns <= o.stamp_ns <= self.end_ns]


Window = Now | Span


def passed_over(observations: Sequence[Observation], chosen: Sequence[Observation]) -> int:
    """How many are newer than what was chosen of them for now, since they show something else."""
    return sum(chosen[-1].stamp_ns < one.stamp_ns for one in observations) if chosen else 0


def _showing(first: Observation, since: list[Observation], likeness: float, rolled: bool
             ) -> Observation:
    """The newest that looks like the object. since: what came after the first one, oldest first;
    rolled: there was more between them. Tokens of another key or number than the newest one's
    cannot be held against them, and count as like it."""
    newest = since[-1]
    known = [one for one in (first, *since) if one.key == newest.key
             and one.tokens.shape == newest.tokens.shape]
    numbers = torch.nn.functional.normalize(
        torch.stack([one.tokens.flatten() for one in known]).float(), dim=1)
    # [n, n]: of an observation (row) and an earlier one. What is no number tells nothing.
    other = (numbers @ numbers.T < likeness).tolist()
    showing = [0]
    for row in range(1, len(known)):
        if not all(other[row][earlier] for earlier in showing):
            showing.append(row)
    last = known[showing[-1]]
    if rolled and last is first:
        usual = max(range(1, len(known)), key=lambda row: -sum(other[row][1:]))
        later = [one for one in since if one.stamp_ns > known[usual].stamp_ns]
        return _showing(known[usual], later, likeness, False) if later else newest
    return newest if newest.stamp_ns - last.stamp_ns > MOST_STALE_NS else last
