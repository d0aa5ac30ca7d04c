# SPDX-License-Identifier: Apache-2.0
"""How one frame lies in another: rotation and translation of points and of their errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelrefer_model.errors import PixelReferError


@dataclass(frozen=True)
class Pose:
    """A point p of the one frame is `rotation @ p + translation` in the other. rotation: [3, 3];
    translation: [3] m."""

    rotation: np.ndarray
    translation: np.ndarray

    @classmethod
    def of(cls, quaternion: Sequence[float], translation: Sequence[float]) -> 'Pose':
        """quaternion: x, y, z, w, of any length but 0; translation: x, y, z in metres. Raises
        PixelReferError NO_POSITION for what is no rotation or not finite."""
        turn, shift = np.asarray(quaternion, float), np.asarray(translation, float)
        length = float(np.linalg.norm(turn))
        if not (np.isfinite(turn).all() and np.isfinite(shift).all() and length > 1e-6):
            raise PixelReferError(
                'NO_POSITION', f'a transform of rotation {turn.tolist()} and translation '
                f'{shift.tolist()}; finite numbers and a rotation of length 1 are allowed')
        axis, w = turn[:3] / length, turn[3] / length
        x, y, z = axis
        crossed = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        # Rodrigues' formula, with the half angle's sine in `axis` and its cosine in `w`.
        return cls(np.eye(3) + 2 * w * crossed + 2 * crossed @ crossed, shift)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 3] of the one frame in the other."""
        return points @ self.rotation.T + self.translation

    def covariance(self, covariance: np.ndarray) -> np.ndarray:
        """The covariance [3, 3] of a point's error, along the axes of the other frame."""
        return self.rotation @ covariance @ self.rotation.T

    def deviations(self, deviations: np.ndarray) -> np.ndarray:
        """Deviations [3] that are independent along the axes of the one frame, along those of the
        other."""
        return np.sqrt(self.rotation ** 2 @ np.asarray(deviations) ** 2)


#: A frame lies so in itself.
SAME = Pose(np.eye(3), np.zeros(3))
