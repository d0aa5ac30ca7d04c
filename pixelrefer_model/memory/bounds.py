# SPDX-License-Identifier: Apache-2.0
"""How much the stored memory may hold, and what goes first."""

import math
from dataclasses import dataclass

from pixelrefer_model.errors import PixelReferError


@dataclass(frozen=True)
class ThinOut:
    """Old detail goes before old objects. When a segment has to go, what it holds of an object is
    thinned: its first and last sighting and its events stay, and of the rest every `every`-th; so
    what is old is thinned again and again. Where that no longer makes room worth mentioning, events
    are half of what is kept, and are thinned with the rest. Where nothing is left to be thinned,
    the objects that were seen longest ago go wholly."""

    every: int = 2

    def __post_init__(self) -> None:
        if self.every < 2:
            raise PixelReferError('BAD_BUDGET', f'every is {self.every}; 2 or more are allowed')


@dataclass(frozen=True)
class Bounds:
    """bytes: of the database and the segment files together. age_s: observations are let go of so
    many seconds of image time after they were made, 0: never. observations: of one object, 0: any
    number. first: what goes first where there is too much."""

    bytes: int = 2 << 30
    age_s: float = 0.0
    observations: int = 0
    first: ThinOut = ThinOut()

    #: Less than this holds no segment and no database.
    LEAST = 1 << 20

    def __post_init__(self) -> None:
        if self.bytes < self.LEAST or not 0 <= self.age_s < math.inf or self.observations < 0:
            raise PixelReferError(
                'BAD_BUDGET', f'a memory of {self.bytes} bytes, {self.age_s:g} s and '
                f'{self.observations} observations; at least {self.LEAST} bytes, and 0 or more of '
                'the others, are allowed')
