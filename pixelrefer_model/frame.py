# SPDX-License-Identifier: Apache-2.0
"""A frame: an image with its own stamp. Nothing downstream has another time."""

from dataclasses import dataclass, field

import numpy as np

from pixelrefer_model.errors import PixelReferError

#: Sides outside this range are refused: below, no patch fits; above, memory is at risk.
SMALLEST_SIDE, LARGEST_SIDE = 16, 8192


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole intrinsics of the rectified image, in pixels (REP-104, `CameraInfo.p`)."""

    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True)
class Frame:
    """One image of one camera.

    image: uint8 [H, W, 3], RGB. stamp_ns: nanoseconds, the image's own stamp. frame_id: the
    optical frame (REP-103: z forward, x right, y down). depth: float32 [H, W] in metres,
    registered to the image, 0 or NaN where unknown (REP-117, REP-118), or None.

    Raises PixelReferError BAD_IMAGE for any other shape, type or size.
    """

    image: np.ndarray = field(repr=False)
    stamp_ns: int
    camera: str = 'camera'
    frame_id: str = ''
    depth: np.ndarray | None = field(default=None, repr=False)
    intrinsics: Intrinsics | None = None

    def __post_init__(self) -> None:
        shape = self.image.shape
        if self.image.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
            raise PixelReferError(
                'BAD_IMAGE',
                f'the image is {self.image.dtype} {shape}; uint8 [H, W, 3] is allowed')
        if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in shape[:2]):
            raise PixelReferError(
                'BAD_IMAGE', f'the image is {shape[1]}x{shape[0]} pixels; each side may be '
                f'{SMALLEST_SIDE} to {LARGEST_SIDE}')

    @property
    def height(self) -> int:
        return self.image.shape[0]

    @property
    def width(self) -> int:
        return self.image.shape[1]
