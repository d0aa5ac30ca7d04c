# SPDX-License-Identifier: Apache-2.0
"""The tracking worker: the only owner of the tracker. It serves the cameras in turn."""

from collections import deque
from collections.abc import Callable
from functools import partial

from pixelrefer_ros.precedence import Precedence
from pixelrefer_ros.tracking import Tracking
from pixelrefer_ros.worker import Worker


class TrackingWorker(Worker):
    """Does the work of one camera after that of another, so that none of them waits for long: a
    frame or a request of each that has one, then the first again. precedence: held meanwhile."""

    def __init__(self, threads: int, precedence: Precedence) -> None:
        super().__init__('tracker', threads)
        self._precedence = precedence
        #: In the order in which they have their turn.
        self._cameras: deque[Tracking] = deque()

    def serve(self, camera: Tracking) -> None:
        """Serve one more camera; before the worker is started."""
        self._cameras.append(camera)

    @property
    def waiting(self) -> int:
        """Requests to add objects that wait, of all cameras."""
        with self.condition:
            return sum(camera.waiting for camera in self._cameras)

    def next_work(self) -> Callable[[], None] | None:
        for _ in range(len(self._cameras)):
            work = self._cameras[0].next_work()
            self._cameras.rotate(-1)
            if work is not None:
                return partial(self._first, work)
        return None

    def _first(self, work: Callable[[], None]) -> None:
        with self._precedence:
            work()

    def next_time(self) -> float | None:
        times = [camera.next_time() for camera in self._cameras]
        return min((time for time in times if time is not None), default=None)

    def give_up(self) -> list[Callable[[], None]]:
        return [answer for camera in self._cameras for answer in camera.give_up()]
