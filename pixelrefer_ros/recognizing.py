# SPDX-License-Identifier: Apache-2.0
"""Whether an object that appeared is one that is remembered: offered as an event, never decided."""

import traceback
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Any

from rclpy.logging import get_logger

from pixelrefer.msg import Event, TrackedObject
from pixelrefer_ros import conversions, models
from pixelrefer_ros.cameras import Cameras
from pixelrefer_ros.objects import ObjectTable

#: Observations that tell of an object that was not there before.
FIRST = ('appeared', 'back')
#: Comparisons that may wait for the memory; what comes beside them is not offered.
MOST_WAITING = 32
IN_VIEW = (TrackedObject.TRACKED, TrackedObject.UNCERTAIN)


class Recognizing:
    """Compares what appeared, or is back, with what is remembered. It is done by the recorder's
    thread, and told by `tell(kind, epoch, header, **fields of Event)`.

    gate: see SameGate; None: nothing is compared.
    """

    def __init__(self, engine: Any, table: ObjectTable, cameras: Cameras, gate: Any,
                 tell: Callable[..., None]) -> None:
        self._engine = engine
        self._table = table
        self._cameras = cameras
        self._gate = gate
        self._tell = tell
        self._lock = Lock()
        self._waiting = 0

    def observed(self, observations: list[Any]) -> None:
        """Observations were remembered; called by the encoding worker alone."""
        recorder = getattr(self._engine.memory, 'recorder', None)
        if recorder is None or self._gate is None:
            return
        for seen in observations:
            if seen.reason in FIRST and self._waiting < MOST_WAITING:
                self._count(1)
                recorder.submit(partial(
                    models.recognize, seen, self._in_view(), self._gate)).add_done_callback(
                        partial(self._told, seen))

    def _in_view(self) -> list[str]:
        return [entry.object_id for entry in self._table.entries()
                if entry.sight.state in IN_VIEW]

    def _count(self, more: int) -> None:
        # The encoder's thread counts up and the recorder's down.
        with self._lock:
            self._waiting += more

    def _told(self, seen: Any, future: Future) -> None:
        self._count(-1)
        try:
            agreement, offers = future.result()
        except Exception:  # edge of the recorder's thread: nothing is offered
            get_logger('pixelrefer').warning(
                f'not compared with what is remembered: {traceback.format_exc()}')
            return
        header = conversions.header_message(seen.stamp_ns, self._table.frame(seen.camera)[1])
        tell = partial(self._tell, epoch=seen.epoch, header=header, camera=seen.camera,
                       object_id=seen.object_id)
        if agreement is None:
            for offer in offers:
                if self._cameras.of(offer.object_id) == self._cameras.of(seen.object_id):
                    tell(Event.MAYBE_SAME, other_id=offer.object_id, score=offer.likeness)
        elif agreement < self._gate.likeness:
            tell(Event.MAYBE_OTHER, score=agreement)
