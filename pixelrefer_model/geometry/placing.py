# SPDX-License-Identifier: Apache-2.0
"""The position and size of the visible surface of an object, in the camera's optical frame or in
another whose pose is known.

The optical frame is that of REP 103: x to the right, y down, z forward, metres. Depth is that of
REP 118: metres along z, registered to the image; 0, NaN and infinity mean that there is none. A
pixel's centre has whole coordinates, as in sensor_msgs/CameraInfo.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.geometry.pose import SAME, Pose

#: Of an object at least so many pixels need depth.
LEAST_PIXELS = 12
#: Depth further from the median than so many robust deviations is of something else, but nothing
#: nearer to it than the second figure, metres, or the third, a share of the distance.
FAR_OFF, NEAR_M, NEAR_SHARE = 3.5, 0.02, 0.01
#: Errors of depth are alike within patches of so many pixels, so that these count as one.
PATCH = 64
#: Of a normal distribution the deviation is so many times the median absolute deviation.
MAD = 1.4826
#: The ends of an extent, percent of the pixels: single ones that are wrong lie outside.
ENDS = (2.0, 98.0)


@dataclass(frozen=True)
class Pinhole:
    """A rectified camera: focal lengths and principal point in pixels, size in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int


@dataclass(frozen=True)
class Placed:
    """The visible surface of an object, in one frame.

    position: [3] m, the median of its points. covariance: [3, 3] m^2, of the error of the position,
    from the spread of the points; it knows nothing of an error that all of them share. size: [3]
    m, its extent along the axes x, y and z of the frame; middle: [3] m, of that extent.
    size_deviation: [3] m. spread: m, robust deviation of its depth. pixels: how many had depth and
    agreed; seen: how many the mask has.
    """

    position: np.ndarray
    covariance: np.ndarray
    size: np.ndarray
    size_deviation: np.ndarray
    spread: float
    pixels: int
    seen: int
    middle: np.ndarray


@dataclass(frozen=True)
class Surface:
    """The points of an object that had depth and agreed, in the optical frame.

    points: [N, 3] m. edges: [3] m, deviation of an extent along x, y and z. spread: m, robust
    deviation of the depth. seen: how many pixels the mask has.
    """

    points: np.ndarray
    edges: np.ndarray
    spread: float
    seen: int

    def placed(self, pose: Pose = SAME) -> Placed:
        """Where it is in the frame in which the optical frame has this pose.

        The extents are measured along that frame's axes, not turned: a box that is turned and put
        into an upright one again grows. The position is the same point in every frame.
        """
        turned = self.points if pose is SAME else pose.points(self.points)
        low, high = np.percentile(turned, ENDS, axis=0)
        # The median of n has pi / 2 times the variance of their mean.
        patches = max(1.0, len(self.points) / PATCH)
        return Placed(
            pose.points(np.median(self.points, axis=0)),
            pose.covariance(np.cov(self.points.T) * (np.pi / 2) / patches),
            (high - low) * 100 / (ENDS[1] - ENDS[0]), pose.deviations(self.edges), self.spread,
            len(self.points), self.seen, (low + high) / 2)


def locate(mask: np.ndarray, depth: np.ndarray, camera: Pinhole) -> Placed:
    """Where the object of `mask` is in the optical frame; as `surface`, which says the rest."""
    return surface(mask, depth, camera).placed()


def surface(mask: np.ndarray, depth: np.ndarray, camera: Pinhole) -> Surface:
    """The visible surface of the object of `mask` (bool [H, W]), from `depth` (float [H, W],
    metres).

    The rim of the mask is left out where enough is left without it: there depth is often that of
    what is behind. Raises PixelReferError NO_POSITION in words, MASK_SIZE for sizes that differ.
    """
    if mask.shape != depth.shape or mask.shape != (camera.height, camera.width):
        raise PixelReferError(
            'MASK_SIZE', f'the mask is {mask.shape[1]}x{mask.shape[0]}, the depth image '
            f'{depth.shape[1]}x{depth.shape[0]} and the calibration of {camera.width}x'
            f'{camera.height}; the same size is allowed')
    seen = int(mask.sum())
    rows, columns = _inner(mask)
    z = depth[rows, columns].astype(np.float64)
    valid = np.isfinite(z) & (z > 0)
    rows, columns, z = rows[valid], columns[valid], z[valid]
    if len(z) < LEAST_PIXELS:
        raise PixelReferError(
            'NO_POSITION', f'{len(z)} of the {seen} pixels of the object have depth; at least '
            f'{LEAST_PIXELS} are needed')
    middle = float(np.median(z))
    deviation = MAD * float(np.median(np.abs(z - middle)))
    kept = np.abs(z - middle) <= max(FAR_OFF * deviation, NEAR_M, NEAR_SHARE * middle)
    rows, columns, z = rows[kept], columns[kept], z[kept]
    points = np.stack([(columns - camera.cx) * z / camera.fx,
                       (rows - camera.cy) * z / camera.fy, z], axis=1)
    # An edge is known to a pixel either way, and depth to its own noise.
    pixel = np.array([middle / camera.fx, middle / camera.fy])
    edges = np.sqrt(2) * np.append(pixel, MAD * np.median(np.abs(z - np.median(z))))
    return Surface(points, edges, deviation, seen)


def _inner(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the mask's pixels without its rim, or of all where that leaves few."""
    all_rows, all_columns = np.nonzero(mask)
    if not len(all_rows):
        raise PixelReferError('NO_POSITION', 'the object has no pixel in this image')
    top, left = all_rows.min(), all_columns.min()
    part = mask[top:all_rows.max() + 1, left:all_columns.max() + 1].astype(np.uint8)
    # Zero outside of the part, so that an object at the edge of the image loses its rim there too.
    eroded = cv2.erode(part, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT,
                       borderValue=0)
    rows, columns = np.nonzero(eroded)
    if len(rows) < 2 * LEAST_PIXELS:
        return all_rows, all_columns
    return rows + top, columns + left
