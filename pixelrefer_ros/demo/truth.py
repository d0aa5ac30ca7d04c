# SPDX-License-Identifier: Apache-2.0
"""What is true in the packaged bag: who is who, where everything is in every frame, what happens.

It lies beside the bag as truth.json (objects and events, in words and seconds) and truth.npz (per
frame, by stamp: segmentation, visible share, positions). Nothing of it is ever sent to the node
but the prompts, which a person would give.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelrefer_ros.demo.grading import Scene
from pixelrefer_ros.demo.robot import NS

#: An object of fewer visible pixels, or of a smaller part of itself, does not count as visible.
LEAST_AREA, LEAST_SHARE = 80, 0.35
#: Two objects nearer to one another than this part of the image's width are side by side.
LEAST_ASIDE = 0.05


class TruthError(Exception):
    """The files beside the bag are missing or not what they should be; the message says how."""


@dataclass(frozen=True)
class Cast:
    """Who plays which part, by index, and when (stamps in ns)."""

    hider: int
    mover: int
    bystander: int
    select_ns: int
    hidden_ns: tuple[int, int]
    moved_ns: tuple[int, int]


@dataclass(frozen=True)
class Truth:
    """T frames of n objects, by the image's own stamps.

    seg: uint8 [T, H, W], 0 nothing, i + 1 object i. share: [T, n] part of the object's pixels that
    nothing hides. world: [T, n, 3] m, bottom middle. level: [T, 2, 3] the camera's level axes in
    the world: to its right, and away from it. support: int [T, n], index, -1 table, -2 in the air
    or away; inside: bool [T, n], in (True) or on it. still_m: a shorter way is no motion.
    """

    stamps_ns: np.ndarray
    seg: np.ndarray
    share: np.ndarray
    world: np.ndarray
    level: np.ndarray
    support: np.ndarray
    inside: np.ndarray
    words: list[dict[str, str]]
    cast: Cast
    rate_hz: float
    still_m: float

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return float(self.stamps_ns[-1] - self.stamps_ns[0]) / NS

    def mask(self, i: int, stamp_ns: int) -> np.ndarray:
        """The object's visible pixels, bool [H, W]."""
        return self.seg[self._row(stamp_ns)] == i + 1

    def visible(self, i: int, stamp_ns: int) -> bool:
        """Whether enough of the object is seen to expect a mask."""
        row = self._row(stamp_ns)
        return bool((self.seg[row] == i + 1).sum() >= LEAST_AREA
                    and self.share[row, i] >= LEAST_SHARE)

    def last_visible(self, i: int, stamp_ns: int) -> int:
        """The stamp of the last frame up to `stamp_ns` in which the object is visible. Raises
        TruthError where there is none."""
        for stamp in reversed(self.stamps_ns[:self._row(stamp_ns) + 1]):
            if self.visible(i, int(stamp)):
                return int(stamp)
        raise TruthError(f'object {i} is visible in no frame up to {stamp_ns}')

    def scene(self, i: int, stamp_ns: int) -> Scene:
        """What can be said of the object in a frame."""
        row = self._row(stamp_ns)
        rows, columns = np.nonzero(self.seg[row] == i + 1)
        height, width = self.seg.shape[1:]
        carrier = int(self.support[row, i])
        on = 'in' if self.inside[row, i] else 'on'
        support = f"{on} a {self.words[carrier]['category']}" if carrier >= 0 else (
            'on the table' if carrier == -1 else 'in the air')
        middle = (np.array([columns.mean(), rows.mean()]) + 0.5) / (width, height) if (
            len(rows)) else np.full(2, 0.5)
        words = self.words[i]
        return Scene(words['category'], words['colour'], words['pattern'], words['size'],
                     support, float(middle[0]), float(middle[1]))

    def side(self, i: int, j: int, stamp_ns: int) -> str:
        """Whether object i is to the left or to the right of object j in the image."""
        return 'left' if self.scene(i, stamp_ns).x < self.scene(j, stamp_ns).x else 'right'

    def side_clear(self, i: int, j: int, stamp_ns: int) -> bool:
        """Whether both are visible, and far enough apart that their sides are beyond doubt."""
        gap = self.scene(i, stamp_ns).x - self.scene(j, stamp_ns).x
        return self.visible(i, stamp_ns) and self.visible(j, stamp_ns) and (
            abs(gap) >= LEAST_ASIDE)

    def motion(self, i: int, start_ns: int, end_ns: int) -> str:
        """still, left, right, closer or away: the way from start to end, along the stronger of the
        camera's two level axes as it stands at the end."""
        first, last = self._row(start_ns), self._row(end_ns)
        step = self.world[last, i] - self.world[first, i]
        if np.linalg.norm(step) < self.still_m:
            return 'still'
        right, away = self.level[last] @ step
        if abs(right) >= abs(away):
            return 'right' if right > 0 else 'left'
        return 'away' if away > 0 else 'closer'

    def _row(self, stamp_ns: int) -> int:
        row = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if row == len(self.stamps_ns) or self.stamps_ns[row] != stamp_ns:
            raise TruthError(f'no frame of the bag has the stamp {stamp_ns}')
        return row

    @classmethod
    def load(cls, bag: Path) -> 'Truth':
        """Read truth.json and truth.npz in the bag's folder. Raises TruthError."""
        try:
            words = json.loads((bag / 'truth.json').read_text(encoding='utf-8'))
            with np.load(bag / 'truth.npz') as arrays:
                return cls(**{name: arrays[name] for name in (
                    'stamps_ns', 'seg', 'share', 'world', 'level', 'support', 'inside')},
                    words=words['objects'], cast=Cast(**words['cast']),
                    rate_hz=words['rate_hz'], still_m=words['still_m'])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise TruthError(f'{bag}: no truth beside the bag, or not of this form: {error}') from (
                error)
