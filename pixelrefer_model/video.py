# SPDX-License-Identifier: Apache-2.0
"""Pictures from files: images, and videos frame by frame with the times they have."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pixelrefer_model.errors import PixelReferError

#: Assumed where a file does not say how fast it is.
USUAL_FPS = 30.0


@dataclass(frozen=True)
class VideoFrame:
    """bgr: uint8 [H, W, 3]. at_s: its own time, seconds from the start of the file."""

    bgr: np.ndarray
    at_s: float


class VideoFile:
    """Decodes a file frame by frame. A context manager. size: (width, height) to scale to.

    Raises PixelReferError BAD_IMAGE when there is no such file or none of its frames can be
    decoded.
    """

    def __init__(self, path: Path, size: tuple[int, int] | None = None) -> None:
        _check_is_file(path)
        self.path = path
        self._capture = cv2.VideoCapture(str(path))
        found, first = self._capture.read()
        if not found:
            self._capture.release()
            raise PixelReferError(
                'BAD_IMAGE', f'{path}: no frame can be decoded; it is no video, or in a codec that '
                'this OpenCV does not have (convert it to H.264 or MJPEG)')
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if np.isfinite(fps) and 0 < fps <= 1000 else USUAL_FPS
        #: As the file says, which need not be so; 0 where it does not say.
        self.duration_s = max(0.0, self._capture.get(cv2.CAP_PROP_FRAME_COUNT) / self.fps)
        self.size = size or (first.shape[1], first.shape[0])
        self._first: np.ndarray | None = first

    def __enter__(self) -> 'VideoFile':
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def frames(self) -> Iterator[VideoFrame]:
        """Every frame once, from the beginning each time this is called. Times only go forward:
        where the file has none, frames are 1 / fps apart."""
        if self._first is None:
            # Reopening works for every container; seeking back does not.
            self._capture.open(str(self.path))
        bgr, self._first = self._first, None
        at_s = -1 / self.fps
        while True:
            if bgr is None:
                found, bgr = self._capture.read()
                if not found:
                    return
            own_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            at_s = own_s if np.isfinite(own_s) and own_s > at_s else at_s + 1 / self.fps
            if (bgr.shape[1], bgr.shape[0]) != self.size:
                bgr = cv2.resize(bgr, self.size, interpolation=cv2.INTER_AREA)
            yield VideoFrame(bgr, at_s)
            bgr = None


def is_image(path: Path) -> bool:
    """Whether a file holds one picture and not a film; raises PixelReferError BAD_IMAGE where
    there is no such file. Told by its content; a GIF is a film."""
    _check_is_file(path)
    return path.suffix.lower() != '.gif' and cv2.haveImageReader(str(path))


def read_image(path: Path) -> np.ndarray:
    """The picture in a file, uint8 [H, W, 3] RGB. Raises PixelReferError BAD_IMAGE."""
    _check_is_file(path)
    bgr = _decoded(path, cv2.IMREAD_COLOR)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def read_mask(path: Path) -> np.ndarray:
    """The mask in an image file, bool [H, W]: every pixel that is not black. Raises
    PixelReferError BAD_IMAGE."""
    _check_is_file(path)
    # Unchanged: a label of 1 in 16 bits would be 0 in 8.
    values = _decoded(path, cv2.IMREAD_UNCHANGED)
    return (values if values.ndim == 2 else values[:, :, :3].max(2)) > 0


def _decoded(path: Path, how: int) -> np.ndarray:
    try:
        values = cv2.imread(str(path), how)
    except cv2.error as error:  # as when it says that it is larger than OpenCV takes
        raise PixelReferError('BAD_IMAGE', f'{path}: cannot be decoded ({error.err})') from error
    if values is None:
        raise PixelReferError('BAD_IMAGE', f'{path}: is damaged, or no image')
    return values


def _check_is_file(path: Path) -> None:
    try:
        there = path.is_file()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise PixelReferError('BAD_IMAGE', f'{path}: {error.strerror}') from error
    if not there:
        raise PixelReferError('BAD_IMAGE', f'{path}: no such file')
