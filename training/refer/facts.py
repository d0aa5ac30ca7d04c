# SPDX-License-Identifier: Apache-2.0
"""What is true of one object in one frame, in the words that questions and answers use."""

from dataclasses import dataclass, replace

CATEGORIES = ('mug', 'bottle', 'can', 'bowl', 'plate', 'book', 'box', 'ball')
COLOURS = ('red', 'green', 'blue', 'yellow', 'orange', 'purple', 'white', 'black')
PATTERNS = ('plain', 'striped', 'checkered')
SIZES = ('small', 'large')
#: Seen from the camera over the asked window.
MOTIONS = ('still', 'left', 'right', 'closer', 'away')
ROWS = ('upper', 'middle', 'lower')
COLUMNS = ('left', 'centre', 'right')

#: Two objects whose directions differ less than this (image widths), or whose distances differ
#: less than this (metres), are beside or level with one another: no question is asked.
LEAST_ASIDE, LEAST_DEEPER = 10 / 320, 0.06

_MIRRORED = {'left': 'right', 'right': 'left'}


@dataclass(frozen=True)
class Fact:
    """One object in one frame.

    area: pixels of its visible mask. x, y: centroid of that mask as parts of the image's width
    and height. distance: along the optical axis, metres. support: index of the object that it is
    on or in (`held`), None for the table. motion: over the asked window, None where not known.
    """

    category: str
    colour: str
    pattern: str
    size: str
    area: int
    x: float
    y: float
    distance: float
    support: int | None = None
    held: str = 'on'
    motion: str | None = None

    @property
    def row(self) -> str:
        """Third of the image that the centroid lies in, top to bottom."""
        return ROWS[min(int(self.y * 3), 2)]

    @property
    def column(self) -> str:
        """Third of the image that the centroid lies in, left to right."""
        return COLUMNS[min(int(self.x * 3), 2)]

    def mirrored(self) -> 'Fact':
        """The same in the image flipped left to right."""
        return replace(self, x=1 - self.x, motion=_MIRRORED.get(self.motion, self.motion))


def aside(a: Fact, b: Fact) -> str | None:
    """Whether `a` is to the 'left' or 'right' of `b`; None when neither is clear."""
    gap = a.x - b.x
    return None if abs(gap) < LEAST_ASIDE else 'left' if gap < 0 else 'right'


def depthwise(a: Fact, b: Fact) -> str | None:
    """Whether `a` is 'in front of' or 'behind' `b`; None when neither is clear."""
    gap = a.distance - b.distance
    return None if abs(gap) < LEAST_DEEPER else 'in front of' if gap < 0 else 'behind'
