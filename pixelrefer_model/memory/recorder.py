# SPDX-License-Identifier: Apache-2.0
"""Recording off the tracking path: a thread that writes what it is given to the store."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.bounds import Bounds
from pixelrefer_model.memory.record import Record
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.trimming import trim

#: Records that may wait to be written; more are dropped and counted.
MOST_WAITING = 256
#: Seconds that a record waits at most for others to be written with.
GATHER_S = 0.25
#: After a write that failed nothing is written for so many seconds.
REST_S = 10.0

_log = logging.getLogger(__name__)


class Recorder:
    """Writes records in batches and keeps the store within its bounds. A context manager: leaving
    writes what waits. `put` never blocks and never raises; where the disk refuses, recording rests
    and is tried again later, and `problem` says why.

    act: any thread may have something done by the writing thread, with `call`.
    """

    def __init__(self, store: MemoryStore, bounds: Bounds = Bounds(), *,
                 most_waiting: int = MOST_WAITING) -> None:
        self.store = store
        self.bounds = bounds
        self.dropped = self.written = self.trimmed = 0
        #: Why nothing is recorded now, in a sentence; empty: it is.
        self.problem = ''
        self._most_waiting = most_waiting
        self._condition = threading.Condition()
        self._waiting: deque[Record] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._rest_until = 0.0
        self._busy = self._closed = False
        self._thread = threading.Thread(target=self._run, name='recorder')

    def __enter__(self) -> 'Recorder':
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._thread.join()

    def put(self, records: Sequence[Record]) -> None:
        """Leave records to be written; those for which there is no room are dropped and counted."""
        with self._condition:
            room = self._most_waiting - len(self._waiting)
            if self._closed or self.problem and time.monotonic() < self._rest_until:
                room = 0
            self.dropped += max(0, len(records) - room)
            self._waiting.extend(records[:max(0, room)])
            self._condition.notify_all()

    def flush(self) -> None:
        """Wait until all that was left is written, or could not be."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or not (self._waiting or self._busy))

    def call(self, act: Callable[[MemoryStore], object]) -> object:
        """Have `act(store)` done by the writing thread, after what waits; returns what it returns,
        or raises what it raises."""
        done = threading.Event()
        outcome: list[object] = [None, None]

        def run() -> None:
            try:
                outcome[0] = act(self.store)
            except BaseException as error:  # handed to whoever waits for it
                outcome[1] = error
            done.set()

        with self._condition:
            if self._closed:
                raise PixelReferError('SHUTTING_DOWN', 'the memory is being closed')
            self._calls.append(run)
            self._condition.notify_all()
        done.wait()
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    # --- the thread

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(
                    lambda: self._closed or self._waiting or self._calls)
                if not self._calls and self._waiting and not self._closed:
                    # Others may come; one transaction for all of them.
                    self._condition.wait_for(lambda: self._closed or self._calls, GATHER_S)
                batch, calls = list(self._waiting), list(self._calls)
                self._waiting.clear()
                self._calls.clear()
                if not batch and not calls and self._closed:
                    return
                self._busy = True
            if batch:
                self._write(batch)
            for act in calls:
                act()
            with self._condition:
                self._busy = False
                self._condition.notify_all()

    def _write(self, batch: list[Record]) -> None:
        written = 0
        try:
            self.store.write(batch)
            written = len(batch)
            self.trimmed += trim(self.store, self.bounds).observations
        except (PixelReferError, OSError) as error:
            said = error.message if isinstance(error, PixelReferError) else str(error)
            if not self.problem:
                _log.error('nothing is recorded for %g s: %s', REST_S, said)
            with self._condition:
                self.problem = f'nothing is recorded: {said}'
                self._rest_until = time.monotonic() + REST_S
        except Exception:  # edge of the thread: it has to outlive one batch
            _log.exception('recording')
        else:
            self.problem = ''
        with self._condition:
            self.written += written
            self.dropped += len(batch) - written
