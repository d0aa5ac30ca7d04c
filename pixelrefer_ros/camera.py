# SPDX-License-Identifier: Apache-2.0
"""From image messages to frames: what is refused, what is dropped, and when time began anew."""

import time
from collections.abc import Callable
from typing import Any, Protocol

from rclpy.logging import get_logger
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_ros import conversions
from pixelrefer_ros.counters import Counters
from pixelrefer_ros.frame_ring import FrameRing
from pixelrefer_ros.frame_slot import Waiting
from pixelrefer_ros.objects import ObjectTable
from pixelrefer_ros.parameters import Settings
from pixelrefer_ros.transport import trouble_with


#: Seconds after a jump in time that frames from before it may still come from another camera.
STRAGGLING = 1.0


class Slot(Protocol):
    """Where frames wait for the tracker."""

    dropped: int

    def put(self, frame: Frame, epoch: int) -> None: ...
    def take(self) -> Waiting | None: ...
    def done(self) -> None: ...
    def settle(self) -> None: ...
    def clear(self) -> None: ...
    def close(self) -> None: ...


class Camera:
    """Feeds the ring and the slot. Its callbacks come one at a time.

    begin_epoch(reason, back): called when stamps jump, back or ahead. on_reject(header, error):
    called for an image that cannot be used. settle(): called before a jump, with no lock held.
    """

    def __init__(self, name: str, settings: Settings, table: ObjectTable, ring: FrameRing,
                 slot: Slot, counters: Counters, begin_epoch: Callable[[str, bool], None],
                 on_reject: Callable[[Header, PixelReferError], None],
                 settle: Callable[[], None] = lambda: None) -> None:
        self._name = name
        self._settings = settings
        self._table = table
        self._ring = ring
        self._slot = slot
        self._counters = counters
        self._begin_epoch = begin_epoch
        self._on_reject = on_reject
        self._settle = settle
        #: Bytes of the largest raw image so far.
        self.largest = 0
        #: Stamp of the newest frame and when it came (monotonic seconds), within an epoch.
        self._last: tuple[int, float, int] | None = None
        #: Of a jump that another camera saw first: its epoch, and until when stragglers may come.
        self._jumped: tuple[int, float] = -1, 0.0

    def image(self, message: Image) -> None:
        """Subscription callback of `image`."""
        if len(message.data) > self.largest:
            self.largest = len(message.data)
            said = trouble_with(self.largest)
            if said:
                get_logger('pixelrefer').warning(said)
        self._accept(message, conversions.frame_from_image)

    def compressed(self, message: CompressedImage) -> None:
        """Subscription callback of `image/compressed`."""
        self._accept(message, conversions.frame_from_compressed)

    @property
    def quiet(self) -> float | None:
        """Seconds since the newest usable image came, or None before the first."""
        return None if self._last is None else time.monotonic() - self._last[1]

    def _accept(self, message: Any, to_frame: Callable[[Any, str], Frame]) -> None:
        now = time.monotonic()
        self._counters.add('seen')
        try:
            stamp = message.header.stamp
            # What is published carries the stamp of the image, so it has to be one.
            if stamp.sec < 0 or stamp.nanosec >= conversions.NANOSECONDS:
                raise PixelReferError(
                    'BAD_IMAGE', f'the stamp is {stamp.sec} s and {stamp.nanosec} ns; 0 s or more '
                    'and less than a second of ns are allowed')
            frame = to_frame(message, self._name)
        except PixelReferError as error:
            self._counters.add('rejected')
            self._on_reject(message.header, error)
            return
        if self._jump(frame.stamp_ns, now):
            # In lockstep what is of the time before is tracked to its end.
            self._settle()
        # One step, or a jump that the clock shows would come between, and the frame count as a new
        # one.
        with self._table.lock:
            if not self._in_time(frame.stamp_ns, now):
                self._counters.add('out_of_order')
                return
            epoch = self._table.epoch
            self._last = frame.stamp_ns, now, epoch
            self._ring.put(frame)
        self._slot.put(frame, epoch)

    def time_jumped(self, epoch: int) -> None:
        """Time jumped, as another camera or the clock says. Frames that go on where this camera was
        are from before, and would be taken for a jump back when the first new one comes."""
        self._jumped = epoch, time.monotonic() + STRAGGLING

    def _in_time(self, stamp_ns: int, now: float) -> bool:
        """Whether the frame is newer than the last; a jump starts a new epoch."""
        if self._last is None:
            return True
        step = (stamp_ns - self._last[0]) / 1e9
        if self._last[2] != self._table.epoch:
            epoch, until = self._jumped
            return not (epoch == self._table.epoch and now < until
                        and 0 < step <= now - self._last[1] + self._settings.jump_forward)
        if said := self._jump(stamp_ns, now):
            self._begin_epoch(said, step < 0)
            return True
        return step > 0

    def _jump(self, stamp_ns: int, now: float) -> str:
        """How time jumps with this frame, in words; empty: it does not."""
        if self._last is None or self._last[2] != self._table.epoch:
            return ''
        step = (stamp_ns - self._last[0]) / 1e9
        waited = now - self._last[1]
        if step < -self._settings.jump_backward:
            return f'image stamps went back by {-step:.3f} s'
        if step - waited > self._settings.jump_forward:
            return f'image stamps ran ahead by {step - waited:.3f} s'
        return ''

    def settled_at(self, clock_ns: int) -> bool:
        """Whether there is nothing to begin anew at this time of the ROS clock: no frame came in
        this epoch, or the newest is of the clock's own time line already."""
        if self._last is None or self._last[2] != self._table.epoch:
            return True
        ahead = (clock_ns - self._last[0]) / 1e9
        return -self._settings.jump_backward <= ahead <= self._settings.jump_forward
