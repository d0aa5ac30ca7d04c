# SPDX-License-Identifier: Apache-2.0
"""What a detector finds, and the decision which of it is meant, as a value."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import Box

#: Candidates that an answer lists at most, the best.
MOST_CANDIDATES = 8


@dataclass(frozen=True)
class Match:
    """Something that may be what the words name: its box in pixels, half-open, and how well it
    matches, 0 to 1."""

    box: Box
    score: float


@dataclass(frozen=True)
class MatchPolicy:
    """When a match is good enough to select, and when it is the only one.

    least: score of one that is selected. margin: how much the next best must score less. floor:
    what scores less is not like the words at all, and no candidate.
    """

    least: float
    margin: float
    floor: float

    def __post_init__(self) -> None:
        if not (0 <= self.floor <= self.least <= 1 and 0 < self.margin <= 1):
            raise ValueError(f'{self}; 0 <= floor <= least <= 1 and 0 < margin <= 1 are allowed')

    def changed(self, least: float = 0.0, margin: float = 0.0) -> 'MatchPolicy':
        """With another least score and another margin; 0 leaves them."""
        least = least or self.least
        return MatchPolicy(least, margin or self.margin, min(self.floor, least))

    def candidates(self, matches: Sequence[Match]) -> list[Match]:
        """What an answer lists of matches that are best first: those that are like the words."""
        return [match for match in matches if match.score >= self.floor][:MOST_CANDIDATES]

    def choose(self, words: str, matches: Sequence[Match]) -> Match:
        """The one that is meant, of matches best first.

        Raises NotSelected: NO_MATCH, UNSURE_MATCH or SEVERAL_MATCHES, with the candidates.
        """
        candidates = [match for match in matches if match.score >= self.floor]
        if not candidates:
            raise NotSelected(
                'NO_MATCH', f'nothing in the image is like {words!r} (a score of {self.floor:.2f} '
                'or more); other words, points, a box, a scribble or a mask are allowed', [])
        best = candidates[0]
        listed = self.candidates(matches)
        if best.score < self.least:
            raise NotSelected(
                'UNSURE_MATCH', f'the best match of {words!r} scores {best.score:.2f}; '
                f'{self.least:.2f} is needed to select it. Other words, or the box of a candidate, '
                'are allowed', listed)
        rivals = [match for match in candidates[1:] if match.score > best.score - self.margin]
        if rivals:
            raise NotSelected(
                'SEVERAL_MATCHES', f'{1 + len(rivals)} things in the image are like {words!r}, '
                f'with scores of {best.score:.2f} to {rivals[-1].score:.2f}; words that tell them '
                'apart, or the box of a candidate, are allowed', listed)
        return best


class NotSelected(PixelReferError):
    """Words that select nothing. candidates: what is most like them, best first."""

    def __init__(self, code: str, message: str, candidates: Sequence[Match]) -> None:
        super().__init__(code, message)
        self.candidates = list(candidates)


class Detector(Protocol):
    """Finds what words name. One thread owns it. policy: what suits its scores."""

    policy: MatchPolicy

    def detect(self, image: np.ndarray, words: str) -> list[Match]:
        """Everything in an image, uint8 RGB [H, W, 3], that is like `words`, the best first.

        Raises PixelReferError NO_PROMPT, SPECIAL_TOKEN or QUESTION_TOO_LONG for words that cannot
        be looked for, OUT_OF_MEMORY.
        """
        ...


def apart(matches: Sequence[Match], overlap: float) -> list[Match]:
    """Best first, without those that show a better one again: boxes whose IoU with it is `overlap`
    or more."""
    kept: list[Match] = []
    for match in sorted(matches, key=lambda one: -one.score):
        if all(box_iou(match.box, better.box) < overlap for better in kept):
            kept.append(match)
    return kept


def intersection(a: Box, b: Box) -> float:
    """Area that two boxes share, square pixels."""
    return max(0.0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0.0, min(a.y1, b.y1) - max(a.y0, b.y0))


def area(box: Box) -> float:
    """Square pixels."""
    return (box.x1 - box.x0) * (box.y1 - box.y0)


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    common = intersection(a, b)
    return common / (area(a) + area(b) - common)
