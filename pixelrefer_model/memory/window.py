# SPDX-License-Identifier: Apache-2.0
"""Windows: which stretch of remembered time a question is about."""

from dataclasses import dataclass
from typing import Literal

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.observation import Observation


@dataclass(frozen=True)
class Now:
    """The newest observation of each object, and before it, with two looks, the first one that is
    remembered: as it was selected, when somebody had just shown where it is. looks: None as the
    checkpoint was trained (`now_looks` of its config.json), and one where nobody asks it."""

    looks: Literal[1, 2] | None = None

    def of(self, observations: list[Observation]) -> list[Observation]:
        first = observations[:-1][:1] if self.looks == 2 else []
        return [*first, *observations[-1:]]


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
