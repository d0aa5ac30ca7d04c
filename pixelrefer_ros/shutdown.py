# SPDX-License-Identifier: Apache-2.0
"""Signals and the order of ending: answers first, then the workers, then ROS.

rclpy's own handlers shut its context down at once, after which no reply can leave; so they are
not installed.
"""

import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Callbacks only hand over; one thread more may be busy with a lifecycle transition.
EXECUTOR_THREADS = 4


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets. A second one ends the process the usual way."""
    stop = threading.Event()

    def handle(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(make_node: Callable[[], 'rclpy.node.Node'], args: list[str] | None = None) -> None:
    """Run a node that has `start()` and `finish()` until a signal comes.

    `finish` answers what is pending and joins the workers while the executor still serves; only
    then the executor stops and rclpy is shut down.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    with stop_on_signals() as stop:
        executor = MultiThreadedExecutor(EXECUTOR_THREADS)
        node = make_node()
        executor.add_node(node)
        spinner = threading.Thread(target=_spin, args=(executor, stop), name='executor')
        spinner.start()
        try:
            node.start()
            # Not forever: a wait with no bound cannot be interrupted on every platform.
            while not stop.wait(1.0):
                pass
        finally:
            stop.set()
            node.finish()
            executor.shutdown()
            spinner.join()
            node.destroy_node()
            rclpy.try_shutdown()


def _spin(executor: MultiThreadedExecutor, stop: threading.Event) -> None:
    """Serve callbacks; one that raises is logged and the others go on."""
    while rclpy.ok():
        try:
            executor.spin()
            return
        except ExternalShutdownException:
            return
        except Exception:  # edge of the executor's thread
            get_logger('pixelrefer').error(f'a callback failed:\n{traceback.format_exc()}')
            # A pause, so that a fault which comes back at once does not eat a core.
            if stop.wait(0.1):
                return
