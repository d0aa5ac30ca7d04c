# SPDX-License-Identifier: Apache-2.0
"""The ring of recent frames, so that a prompt can name the frame that was seen."""

from threading import Lock

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame


def exact(stamp_ns: int) -> str:
    """Seconds of a stamp, to the nanosecond: as a float it would be rounded, and no frame has it."""
    return f'{stamp_ns // 1_000_000_000}.{stamp_ns % 1_000_000_000:09}'


class FrameRing:
    """The last frames of the camera by stamp, whether they were tracked or not.

    Bounded by `most_bytes` of pixels; the newest frame is always held.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._frames: dict[int, Frame] = {}
        self._bytes = 0

    def put(self, frame: Frame) -> None:
        """Hold a frame; stamps come in rising order."""
        with self._lock:
            self._frames[frame.stamp_ns] = frame
            self._bytes += frame.image.nbytes
            while self._bytes > self._most_bytes and len(self._frames) > 1:
                oldest = next(iter(self._frames))
                self._bytes -= self._frames.pop(oldest).image.nbytes

    def newest(self) -> Frame:
        """The newest frame. Raises PixelReferError NO_FRAME before the first."""
        with self._lock:
            return self._newest()

    def find(self, stamp_ns: int, future_ns: int) -> Frame | None:
        """The frame of exactly this stamp; None if it lies at most `future_ns` after the newest
        and may still come.

        Raises PixelReferError NO_FRAME, STAMP_TOO_OLD (also for a stamp between two frames) or
        STAMP_IN_FUTURE.
        """
        with self._lock:
            if stamp_ns in self._frames:
                return self._frames[stamp_ns]
            newest, oldest = self._newest().stamp_ns, next(iter(self._frames))
        held = f'held are {exact(oldest)} to {exact(newest)} s'
        if stamp_ns < newest:
            raise PixelReferError(
                'STAMP_TOO_OLD', f'no frame of stamp {exact(stamp_ns)} s is held; {held}, and '
                'only the exact stamp of one of these is allowed')
        if stamp_ns > newest + future_ns:
            raise PixelReferError(
                'STAMP_IN_FUTURE', f'stamp {exact(stamp_ns)} s lies '
                f'{(stamp_ns - newest) / 1e9:.3f} s after the newest frame; {held}, and at most '
                f'{future_ns / 1e9:g} s ahead is allowed')
        return None

    def clear(self) -> None:
        """Let go of every frame."""
        with self._lock:
            self._frames.clear()
            self._bytes = 0

    def held(self) -> tuple[int, int]:
        """Frames held, and bytes of their pixels."""
        with self._lock:
            return len(self._frames), self._bytes

    def _newest(self) -> Frame:
        if not self._frames:
            raise PixelReferError(
                'NO_FRAME', 'no image has come yet in this epoch; requests are allowed after the '
                'first')
        return self._frames[next(reversed(self._frames))]
