# SPDX-License-Identifier: Apache-2.0
"""~/click: a person's click on the image that was shown selects an object on exactly that image."""

import time
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PointStamped

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import Click
from pixelrefer_ros.conversions import nanoseconds
from pixelrefer_ros.frame_ring import FrameRing
from pixelrefer_ros.objects import ObjectTable
from pixelrefer_ros.selecting import AddRequest, Selected, Selection
from pixelrefer_ros.tracking import Tracking


class Clicks:
    """Turns clicks into requests to the camera's tracking.

    corrects(), label(): the parameters click_corrects and click_label as they are now. on_error(
    epoch, what, error): called for a click that cannot be served; there is nobody to reply to.
    """

    def __init__(self, table: ObjectTable, ring: FrameRing, tracker: Tracking, wait_s: float,
                 corrects: Callable[[], str], label: Callable[[], int],
                 on_error: Callable[[int, str, PixelReferError], None]) -> None:
        self._table = table
        self._ring = ring
        self._tracker = tracker
        self._wait_s = wait_s
        self._corrects = corrects
        self._label = label
        self._on_error = on_error

    def point(self, message: PointStamped) -> None:
        """Subscription callback. point.x, point.y: pixels; header.stamp: of the image that was
        shown, zero for the newest."""
        epoch, object_id = self._table.epoch, self._corrects()
        what = f'a click at ({message.point.x:g}, {message.point.y:g})'
        click = Click(np.array([[message.point.x, message.point.y]]),
                      np.array([self._label() if object_id else 1]))

        def prompt(width: int, height: int) -> Click:
            click.check(width, height)
            return click

        def done(results: list[Selected], _stamp_ns: int) -> None:
            for result in results:
                if result.error is not None:
                    self._on_error(epoch, what, result.error)

        stamp_ns = nanoseconds(message.header.stamp) or None
        try:
            if object_id:
                self._table.known([object_id])
            if stamp_ns is None:
                self._ring.newest()
            else:
                self._ring.find(stamp_ns, round(self._wait_s * 1e9))
            self._tracker.add(AddRequest(
                [Selection(object_id, prompt)], stamp_ns, 'CORRECT' if object_id else 'REJECT',
                epoch, time.monotonic() + self._wait_s, done,
                lambda error: self._on_error(epoch, what, error)))
        except PixelReferError as error:
            self._on_error(epoch, what, error)
