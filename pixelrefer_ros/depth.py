# SPDX-License-Identifier: Apache-2.0
"""Registered depth and calibration of the camera: what gives objects a place in 3D."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.geometry import Pinhole, surface
from pixelrefer_ros import compressed_depth
from pixelrefer_ros.conversions import nanoseconds
from pixelrefer_ros.images import check_size
from pixelrefer_ros.objects import Position, Sight
from pixelrefer_ros.target_frame import TargetFrame

#: So many depth images are kept, the newest, or fewer where they are large: until a frame that
#: waited and was tracked asks for its own. More than wait in lockstep.
KEPT, KEPT_BYTES = 64, 128 << 20
#: Encodings of depth (REP 118): type of a pixel, metres of one unit.
ENCODINGS = {'32FC1': ('f4', 1.0), '16UC1': ('u2', 0.001), 'mono16': ('u2', 0.001)}
NO_DEPTH = 'no depth image has come (topic `depth`)'
NO_CALIBRATION = 'no calibration has come (topic `camera_info`)'


@dataclass(frozen=True)
class DepthImage:
    """values: [H, W], `unit` metres each, as the message has them."""

    stamp_ns: int
    frame_id: str
    values: np.ndarray
    unit: float


class Depth:
    """The newest depth images and the newest calibration. Bounded by KEPT images.

    near_ns: how far the stamp of a depth image may lie from that of the image. on_reject(header,
    error): called for a message that cannot be used. target: the frame that positions are wanted
    in; without one, or with an empty one, that of the depth image.
    """

    def __init__(self, near_ns: int, on_reject: Callable[[Header, PixelReferError], None],
                 target: TargetFrame | None = None, camera: str = '') -> None:
        self._near_ns = near_ns
        self._name = camera
        self._on_reject = on_reject
        self._target = target
        self._lock = Lock()
        self._images: deque[DepthImage] = deque(maxlen=KEPT)
        self._camera: Pinhole | None = None
        #: What was wrong with the newest calibration and the newest depth image, or empty.
        self._bad_info = self._bad_image = ''

    def info(self, message: CameraInfo) -> None:
        """Subscription callback of `camera_info`."""
        fx, fy, cx, cy = (float(message.k[place]) for place in (0, 4, 2, 5))
        if not (fx > 0 and fy > 0 and np.isfinite((fx, fy, cx, cy)).all()):
            error = PixelReferError(
                'BAD_IMAGE', f'camera_info has focal lengths of {fx:g} and {fy:g} px; those of a '
                'calibrated camera are allowed')
            # It comes with every image, and is no news after the first.
            if error.message != self._bad_info:
                self._on_reject(message.header, error)
            self._bad_info = error.message
            return
        self._bad_info = ''
        self._camera = Pinhole(fx, fy, cx, cy, message.width, message.height)

    def image(self, message: Image) -> None:
        """Subscription callback of `depth`."""
        self._take(message, depth_from)

    def compressed(self, message: CompressedImage) -> None:
        """Subscription callback of `depth/compressedDepth`."""
        self._take(message, depth_from_compressed)

    def _take(self, message: Any, to_depth: Callable[[Any], DepthImage]) -> None:
        try:
            image = to_depth(message)
        except PixelReferError as error:
            self._bad_image = error.message
            self._on_reject(message.header, error)
            return
        with self._lock:
            self._images.append(image)
            while len(self._images) > 1 and self._bytes() > KEPT_BYTES:
                self._images.popleft()
            self._bad_image = ''

    def clear(self) -> None:
        """Let go of every depth image: time began anew. The calibration stays."""
        with self._lock:
            self._images.clear()
            self._bad_image = ''

    def _bytes(self) -> int:
        return sum(image.values.nbytes for image in self._images)

    def placed(self, sight: Sight) -> Sight:
        """The sight with its position, or with the reason why there is none."""
        if sight.mask is None:
            return replace(sight, position=None, position_error='the object is not seen')
        try:
            return replace(sight, position=self._locate(sight), position_error='')
        except PixelReferError as error:
            return replace(sight, position=None, position_error=error.message)

    def _locate(self, sight: Sight) -> Position:
        camera, image = self._camera, self._near(sight.stamp_ns)
        if camera is None:
            raise PixelReferError('NO_POSITION', self._bad_info or NO_CALIBRATION)
        # Only within the box are numbers made of what the message holds.
        x, y, width, height = sight.box
        part = (slice(y, y + height), slice(x, x + width))
        if not image.values.shape == sight.mask.shape == (camera.height, camera.width):
            sizes = ', '.join(f'{what} {shape[1]}x{shape[0]}' for what, shape in (
                ('the image is', sight.mask.shape), ('the depth image', image.values.shape),
                ('the calibration of', (camera.height, camera.width))))
            raise PixelReferError(
                'NO_POSITION', f'{sizes}; depth registered to the image, of its size, is needed')
        depth = image.values[part].astype(np.float32) * np.float32(image.unit)
        found = surface(sight.mask[part], depth, Pinhole(
            camera.fx, camera.fy, camera.cx - x, camera.cy - y, width, height))
        seen = Position(image.frame_id, image.stamp_ns, found.placed(), camera=self._name)
        if self._target is None or self._target.frame in ('', image.frame_id):
            return seen
        # Without a transform there is no position at all: one in another frame than before would be
        # taken for one in this.
        pose = self._target.pose(image.frame_id, image.stamp_ns)
        return Position(self._target.frame, image.stamp_ns, found.placed(pose), seen, self._name)

    def _near(self, stamp_ns: int) -> DepthImage:
        with self._lock:
            images = list(self._images)
        if not images:
            raise PixelReferError('NO_POSITION', self._bad_image or NO_DEPTH)
        best = min(images, key=lambda image: abs(image.stamp_ns - stamp_ns))
        off = (best.stamp_ns - stamp_ns) / 1e9
        if abs(best.stamp_ns - stamp_ns) > self._near_ns:
            raise PixelReferError(
                'NO_POSITION', self._bad_image or f'the nearest depth image lies {abs(off):.3f} s '
                f'{"after" if off > 0 else "before"} the image; {self._near_ns / 1e9:g} s are '
                'allowed (parameter depth_slop)')
        return best


def depth_from(message: Image) -> DepthImage:
    """A depth image of a message. Raises PixelReferError BAD_ENCODING or BAD_IMAGE."""
    if message.encoding not in ENCODINGS:
        raise PixelReferError(
            'BAD_ENCODING', f'depth of encoding {message.encoding[:40]!r}; '
            f'{", ".join(ENCODINGS)} are allowed')
    check_size(message.width, message.height)
    kind, unit = ENCODINGS[message.encoding]
    pixel = np.dtype(kind).newbyteorder('>' if message.is_bigendian else '<')
    row = message.width * pixel.itemsize
    step = message.step or row
    if step < row or step * (message.height - 1) + row > len(message.data):
        raise PixelReferError(
            'BAD_IMAGE', f'the depth image has {len(message.data)} bytes and a step of '
            f'{message.step}; {message.width}x{message.height} {message.encoding} takes a step of '
            f'at least {row}')
    values = np.ndarray((message.height, message.width), pixel, bytes(message.data),
                        strides=(step, pixel.itemsize))
    return DepthImage(nanoseconds(message.header.stamp), message.header.frame_id, values, unit)


def depth_from_compressed(message: CompressedImage) -> DepthImage:
    """A depth image of a compressed one. Raises PixelReferError BAD_ENCODING or BAD_IMAGE."""
    values, encoding = compressed_depth.decode(message.data.tobytes(), message.format)
    return DepthImage(nanoseconds(message.header.stamp), message.header.frame_id, values,
                      ENCODINGS[encoding][1])
