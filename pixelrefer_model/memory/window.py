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
    more than MOST_STALE_NS the newest is believed, for things change. None: as the checkpoint says
    (`now_likeness`), and the newest, whatever it shows, where nobody asks it.
    """

    looks: Literal[1, 2] | None = None
    likeness: float | None = None

    def of(self, observations: list[Observation], first: Observation | None = None
           ) -> list[Observation]:
        """Those of one object, given oldest first, that a question rests on. first: the one of its
        selection, if that is not the oldest."""
        if first is not None:
            observations = [o for o in observations if o.stamp_ns >= first.stamp_ns]
        shown = observations if self.likeness is None else _showing(observations, self.likeness)
        selected = shown[:-1][:1] if self.looks == 2 else []
        return [*selected, *shown[-1:]]


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

    def of(self, observations: list[Observation], first: Observation | None = None
           ) -> list[Observation]:
        return [o for o in observations if self.start_ns <= o.stamp_ns <= self.end_ns]


Window = Now | Span


def passed_over(observations: Sequence[Observation], chosen: Sequence[Observation]) -> int:
    """How many are newer than what was chosen of them for now, since they show something else."""
    return sum(chosen[-1].stamp_ns < one.stamp_ns for one in observations) if chosen else 0


def _showing(observations: list[Observation], likeness: float) -> list[Observation]:
    """Up to the newest that looks like the object, given all, oldest first. Tokens of another key
    or number than the newest one's cannot be held against them, and count as like it."""
    if len(observations) < 2:
        return observations
    newest = observations[-1]
    known = [n for n, one in enumerate(observations) if one.key == newest.key
             and one.tokens.shape == newest.tokens.shape]
    numbers = torch.stack([observations[n].tokens.flatten() for n in known]).float()
    numbers = torch.nn.functional.normalize(numbers, dim=1)
    # [n, n]: of an observation (row) and an earlier one.
    alike = (numbers @ numbers.T >= likeness).tolist()
    showing = [0]
    for row in range(1, len(known)):
        if any(alike[row][other] for other in showing):
            showing.append(row)
    last = known[showing[-1]]
    if newest.stamp_ns - observations[last].stamp_ns > MOST_STALE_NS:
        return observations
    return observations[:last + 1]
