# SPDX-License-Identifier: Apache-2.0
"""Truth as values: where objects are, what carries them, how two of them lie, how one moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.camera import Pose
from training.world.contract import Contract


@dataclass(frozen=True)
class Relation:
    """Object i compared to object j, from the camera.

    `side` is 'left' or 'right' (smaller or larger x of the camera frame), `depth` 'front' or
    'behind' (nearer or farther along the optical axis); each is `clear` when the difference is over
    the contract's margin, and, for the side, when the image agrees with it.
    """

    side: str
    side_clear: bool
    depth: str
    depth_clear: bool

    @classmethod
    def between(cls, i: np.ndarray, j: np.ndarray, contract: Contract) -> 'Relation':
        """From two points [3] in the camera frame, metres."""
        dx, dz = i[0] - j[0], i[2] - j[2]
        in_image = i[0] / max(i[2], 1e-3) - j[0] / max(j[2], 1e-3)
        clear = abs(dx) >= contract.relation['side_margin'] and dx * in_image > 0 \
            and abs(in_image) * contract.focal >= 8
        return cls('left' if dx < 0 else 'right', bool(clear),
                   'front' if dz < 0 else 'behind',
                   bool(abs(dz) >= contract.relation['depth_margin']))


@dataclass(frozen=True)
class ObjectTruth:
    """One object at one time.

    `world`, `camera` [3] metres: its middle in the world and in the optical camera frame; `pixel`
    [2] where that falls; `present` it is in the scene, `in_view` its middle is in the image too;
    `hidden` a board is in front of all of it; `support` index of what carries it, 'table', or None
    in the air; `relation` 'on', 'in' or None; `velocity` [3] m/s in the world.
    """

    index: int
    world: np.ndarray
    camera: np.ndarray
    pixel: np.ndarray
    present: bool
    in_view: bool
    hidden: bool
    support: int | str | None
    relation: str | None
    velocity: np.ndarray


@dataclass(frozen=True)
class Truth:
    """All objects of a scene at time `t`; index it like a sequence."""

    t: float
    objects: tuple[ObjectTruth, ...]

    def __getitem__(self, i: int) -> ObjectTruth:
        return self.objects[i]

    def __len__(self) -> int:
        return len(self.objects)


def direction(step: np.ndarray, pose: Pose, contract: Contract) -> tuple[str, bool]:
    """The word for a displacement [3] in the world, and whether it is beyond doubt.

    Still under `events.still` metres; otherwise the stronger of the camera's two level axes.
    Doubtful are moves between still and 4 cm, diagonals, and those mainly upward.
    """
    right, forward = pose.horizontal()
    x, z = float(step @ right), float(step @ forward)
    length = float(np.linalg.norm(step))
    if length < contract.events['still']:
        return 'still', True
    strong, weak = max(abs(x), abs(z)), min(abs(x), abs(z))
    clear = bool(strong >= .04 and strong >= contract.events['dominance'] * weak
                 and strong >= abs(step[2]))
    if abs(x) >= abs(z):
        return ('left' if x < 0 else 'right'), clear
    return ('closer' if z < 0 else 'away'), clear
