# SPDX-License-Identifier: Apache-2.0
"""A worker: one thread, the only owner of one model, with one bounded queue."""

import os
import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable

from rclpy.logging import get_logger

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import models
from pixelrefer_ros.failures import Failures

#: How nice workers are to one another, and to tracking, where the CPU is busy: see `be_nice`.
OBSERVING, ANSWERING = 5, 10
#: Seconds that a worker rests after a fault.
PAUSE = 0.1


def shutting_down() -> PixelReferError:
    """What a request is told that the node's end overtakes."""
    return PixelReferError(
        'SHUTTING_DOWN', 'the node is being deactivated or ended; requests are allowed once it is '
        'active')


def cancelled() -> PixelReferError:
    """What a request is told that a reset overtakes."""
    return PixelReferError(
        'CANCELLED', 'a new epoch began (~/reset, or a jump in time) before this was done; it may '
        'be asked again')


def internal(found: BaseException) -> PixelReferError:
    """What a request is told of a fault of our own, or when the device's memory is full."""
    if isinstance(found, PixelReferError):
        return found
    if type(found).__name__ == 'OutOfMemoryError' or isinstance(found, MemoryError):
        return PixelReferError('OUT_OF_MEMORY', f'the device has no memory left: {found}')
    return PixelReferError(
        'INTERNAL', f'{type(found).__name__}: {found}; the log of the node has the trace')


def budget(threads: int, share: int) -> int:
    """CPU threads of a worker: as asked for, or for 0 the `share`-th part of the cores. Workers
    that each took all of them would wait for one another in every layer."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == 'linux' else os.cpu_count() or 1
    return threads or max(1, cores // share)


def be_nice(more: int) -> None:
    """Raise the calling thread's nice value, so that it gets less of a busy CPU than others of the
    process. Only Linux knows one for each thread."""
    if more and sys.platform == 'linux':
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + more)


class Worker(ABC):
    """Runs what `next_work` returns, and sleeps on `condition` while it returns None.

    Subclasses guard their queue with `condition` and notify it, and tell `failures` how their work
    went. threads: of PyTorch on the CPU in this worker. nice: how much of the CPU it leaves to more
    urgent ones, see `be_nice`. The worker is a context manager: it runs inside.
    """

    def __init__(self, name: str, threads: int, nice: int = 0) -> None:
        self.condition = threading.Condition()
        self.closed = False
        self.failures = Failures()
        self._threads = threads
        self._nice = nice
        self._thread = threading.Thread(target=self._run, name=name)

    @abstractmethod
    def next_work(self) -> Callable[[], None] | None:
        """The next piece of work; called with `condition` held, must not block."""

    @abstractmethod
    def give_up(self) -> list[Callable[[], None]]:
        """Take whatever still waits out of the queue; called once with `condition` held, by who
        closes. What it returns answers them, and is called when `condition` is free again: a reply
        may need locks whose holders wait for `condition`."""

    def next_time(self) -> float | None:
        """When (monotonic seconds) to look again though nobody notifies, or None."""
        return None

    def __enter__(self) -> 'Worker':
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.join()

    def wake(self) -> None:
        """Let the worker look again: something that it waits for may have come."""
        with self.condition:
            self.condition.notify_all()

    def close(self) -> None:
        """Take no more work, answer what waits, end after the piece of work in progress."""
        with self.condition:
            if self.closed:
                return
            self.closed = True
            answers = self.give_up()
            self.condition.notify_all()
        for answer in answers:
            answer()

    def join(self) -> None:
        """Wait for the end of the thread."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        # First, since the threads that PyTorch makes for this one are as nice as it is then.
        be_nice(self._nice)
        begun = False
        while not self.closed:
            try:
                if not begun:
                    models.limit_threads(self._threads)
                    begun = True
                work = self._wait()
                if work is not None:
                    work()
                    self.failures.succeeded('the worker')
            except BaseException as found:
                # Edge of the thread: it has to outlive one piece of work, whatever that raised. A
                # panic of a library that is written in Rust is no Exception.
                get_logger('pixelrefer').error(
                    f'{self._thread.name}: {traceback.format_exc()}')
                self.failures.failed(internal(found), 'the worker')
                self._pause()
            finally:
                work = None  # frames and tokens must not be held while sleeping

    def _pause(self) -> None:
        """So that a fault which comes back at once does not eat a core."""
        with self.condition:
            self.condition.wait_for(lambda: self.closed, PAUSE)

    def _wait(self) -> Callable[[], None] | None:
        with self.condition:
            while not self.closed:
                work = self.next_work()
                if work is not None:
                    return work
                until = self.next_time()
                self.condition.wait(
                    None if until is None else max(0.0, until - time.monotonic()))
            return None
