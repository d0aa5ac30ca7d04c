# SPDX-License-Identifier: Apache-2.0
"""Recording off the tracking path: a thread that writes what it is given to the store."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.bounds import Bounds
from pixelrefer_model.memory.record import Record
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.trimming import trim
from pixelrefer_model.settling import settle

#: Records that may wait to be written; more are dropped and counted.
MOST_WAITING = 256
#: Seconds that a record waits at most for others to be written with.
GATHER_S = 0.25
#: After a write that failed nothing is written for so many seconds.
REST_S = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Act:
    """Something to be done with the store, in its turn."""

    act: Callable[[MemoryStore], Any]
    made: Future = field(default_factory=Future)


class Recorder:
    """Writes records in batches and keeps the store within its bounds. A context manager: leaving
    writes what waits. `put` never blocks and never raises; where the disk refuses, recording rests
    and is tried again later, and `problem` says why.

    `submit` has something done by the writing thread, in its turn between the records. Who
    submits sees to it that not too much waits.
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
        self._waiting: deque[Record | _Act] = deque()
        self._records = 0
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
            room = self._most_waiting - self._records
            if self._closed or self.problem and time.monotonic() < self._rest_until:
                room = 0
            taken = records[:max(0, room)]
            self.dropped += len(records) - len(taken)
            self._waiting.extend(taken)
            self._records += len(taken)
            self._condition.notify_all()

    def submit(self, act: Callable[[MemoryStore], Any]) -> Future:
        """Have `act(store)` done by the writing thread, after what was left before and before what
        comes later. The future has what it returns or raises, and is done by that thread. Raises
        PixelReferError SHUTTING_DOWN."""
        wanted = _Act(act)
        with self._condition:
            if self._closed:
                raise PixelReferError('SHUTTING_DOWN', 'the memory is being closed')
            self._waiting.append(wanted)
            self._condition.notify_all()
        return wanted.made

    def call(self, act: Callable[[MemoryStore], Any]) -> Any:
        """As `submit`, waited for: what it returns, or what it raises."""
        return self.submit(act).result()

    def flush(self) -> None:
        """Wait until all that was left is written, or could not be; not for others to come."""
        with suppress(PixelReferError):     # it is being closed, which writes everything too
            self.call(lambda _store: None)

    # --- the thread

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._closed or self._waiting)
                if not self._acts() and not self._closed:
                    # Others may come; one transaction for all of them.
                    self._condition.wait_for(lambda: self._closed or self._acts(), GATHER_S)
                waiting = list(self._waiting)
                self._waiting.clear()
                self._records = 0
                if not waiting and self._closed:
                    return
                self._busy = True
            self._work(waiting)
            with self._condition:
                self._busy = False
                self._condition.notify_all()

    def _acts(self) -> bool:
        """Whether somebody waits for something to be done."""
        return len(self._waiting) > self._records

    def _work(self, waiting: list[Record | _Act]) -> None:
        batch: list[Record] = []
        for each in waiting:
            if isinstance(each, _Act):
                self._write(batch)
                batch = []
                settle(each.made, partial(each.act, self.store))
            else:
                batch.append(each)
        self._write(batch)

    def _write(self, batch: list[Record]) -> None:
        if not batch:
            return
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
