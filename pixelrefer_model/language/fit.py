# SPDX-License-Identifier: Apache-2.0
"""What is left out of a prompt that is longer than the model's positions."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class OldestFirst:
    """The oldest moments go first, whatever object they are of; each object keeps its newest."""

    def leave_out(self, stamps: Sequence[Sequence[int]], count: int) -> list[int]:
        """How many leading moments each object loses, `count` in all if there are as many.

        stamps: for each object those of its moments, oldest first.
        """
        spare = sorted((stamp, place) for place, moments in enumerate(stamps)
                       for stamp in moments[:-1])[:count]
        gone = [place for _, place in spare]
        return [gone.count(place) for place in range(len(stamps))]


@dataclass(frozen=True)
class Refuse:
    """Nothing is left out: a question that is too long is refused."""

    def leave_out(self, stamps: Sequence[Sequence[int]], count: int) -> list[int]:
        """None of anything."""
        return [0] * len(stamps)


TooLong = OldestFirst | Refuse
