# SPDX-License-Identifier: Apache-2.0
"""Where frames wait for the tracker: a slot of one, or in lockstep a queue that blocks."""

import time
from collections import deque
from threading import Condition
from typing import NamedTuple

from pixelrefer_model.frame import Frame


class Waiting(NamedTuple):
    """A frame, the epoch it came in, and when it came (monotonic seconds)."""

    frame: Frame
    epoch: int
    arrived: float


class FrameSlot:
    """The newest frame waits, one that is still there is dropped and counted.

    Shares `condition` with whoever takes from it.
    """

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._waiting: Waiting | None = None
        self.dropped = 0

    def put(self, frame: Frame, epoch: int) -> None:
        """Leave a frame; never blocks."""
        with self._condition:
            self.dropped += self._waiting is not None
            self._waiting = Waiting(frame, epoch, time.monotonic())
            self._condition.notify_all()

    def take(self) -> Waiting | None:
        """The waiting frame, or None; never blocks."""
        with self._condition:
            taken, self._waiting = self._waiting, None
            return taken

    def done(self) -> None:
        """The frame that was taken has been tracked."""

    def settle(self) -> None:
        """Nobody waits for what was left here: the newest wins."""

    def clear(self) -> None:
        """Drop what waits, counted."""
        with self._condition:
            self.dropped += self._waiting is not None
            self._waiting = None

    def close(self) -> None:
        """Nothing waits after this, and nobody."""
        self.clear()


class FrameQueue:
    """Every frame in order: `put` blocks while `most` frames wait. For lockstep, where the source
    waits for the tracker and not the other way round."""

    def __init__(self, condition: Condition, most: int = 16) -> None:
        self._condition = condition
        self._waiting: deque[Waiting] = deque()
        self._most = most
        self._closed = self._tracking = False
        self.dropped = 0

    def put(self, frame: Frame, epoch: int) -> None:
        """Leave a frame, after the others."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or len(self._waiting) < self._most)
            if self._closed:
                self.dropped += 1
                return
            self._waiting.append(Waiting(frame, epoch, time.monotonic()))
            self._condition.notify_all()

    def take(self) -> Waiting | None:
        """The oldest waiting frame, or None; never blocks."""
        with self._condition:
            if not self._waiting:
                return None
            taken = self._waiting.popleft()
            self._tracking = True
            self._condition.notify_all()
            return taken

    def done(self) -> None:
        """The frame that was taken has been tracked."""
        with self._condition:
            self._tracking = False
            self._condition.notify_all()

    def settle(self) -> None:
        """Wait until every frame that was left has been tracked."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._closed or not (self._waiting or self._tracking))

    def clear(self) -> None:
        """Drop what waits, counted."""
        with self._condition:
            self.dropped += len(self._waiting)
            self._waiting.clear()
            self._condition.notify_all()

    def close(self) -> None:
        """Drop what waits and let go of who is blocked."""
        with self._condition:
            self._closed = True
            self.clear()
