# SPDX-License-Identifier: Apache-2.0
"""Signals and the order of ending: answers first, then the workers, then ROS.

rclpy's own handlers shut its context down at once, after which no reply can leave; so they are
not installed.
"""

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.exceptions import InvalidHandle, ParameterException
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros.camera_thread import NodeExecutor

SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: For callbacks that only hand over, and a lifecycle transition; what waits in its callback has a
#: thread beside these.
EXECUTOR_THREADS = 4


class StartBrokenOff(KeyboardInterrupt):
    """A signal came while the node started.

    A class of its own: where KeyboardInterrupt itself passes through the `exec` of a string, as
    dataclasses run one for each class that a loading library defines, CPython notes it as
    unhandled and kills the process with SIGINT at its end, although it was caught.
    """


class Stop(threading.Event):
    """Set by SIGINT or SIGTERM. While `starting`, the signal also breaks off what the main thread
    does, with StartBrokenOff: loading models may take long, and nobody waits for an answer."""

    starting = False

    def handle(self, number: int, _frame: object) -> None:
        """The signal handler. The same signal again ends the process the usual way."""
        self.set()
        signal.signal(number, signal.SIG_DFL)
        if self.starting:
            raise StartBrokenOff


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A Stop that listens to the signals inside."""
    stop = Stop()
    before = {number: signal.signal(number, stop.handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(make_node: Callable[[], Node], args: list[str] | None = None) -> None:
    """Run a node that has `start()`, `finish()` and `waiting_callbacks` until a signal comes.

    `finish` answers what is pending and joins the workers while the executor still serves; only
    then the executor stops and rclpy is shut down.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    with stop_on_signals() as stop:
        node = _made(make_node)
        executor = NodeExecutor(EXECUTOR_THREADS + node.waiting_callbacks)
        executor.add_node(node)
        spinner = threading.Thread(target=_spin, args=(executor, stop), name='executor')
        spinner.start()
        try:
            _start(node, stop)
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


def _made(make_node: Callable[[], Node]) -> Node:
    """The node. Ends the process with status 1, and a line that says why, where a parameter or a
    QoS override cannot be used."""
    try:
        return make_node()
    # rclpy has no class of its own for a QoS override that names no policy.
    except (ParameterException, PixelReferError, RuntimeError) as error:
        get_logger('pixelrefer').fatal(f'not started: {error}')
        get_logger('pixelrefer').debug(traceback.format_exc())
        rclpy.try_shutdown()
        sys.exit(1)


def _start(node: Node, stop: Stop) -> None:
    try:
        stop.starting = True
        if not stop.is_set():
            node.start()
        stop.starting = False
    except StartBrokenOff:
        stop.starting = False
        node.get_logger().warning('stopped while starting')


def _spin(executor: Executor, stop: Stop) -> None:
    """Serve callbacks; one that raises is logged and the others go on."""
    while rclpy.ok():
        try:
            executor.spin()
            return
        except ExternalShutdownException:
            return
        except BaseException as error:  # edge of the executor's thread
            if isinstance(error, InvalidHandle):
                # Something was destroyed while the executor looked whether there is work for it.
                get_logger('pixelrefer').debug(traceback.format_exc())
            else:
                get_logger('pixelrefer').error(f'a callback failed:\n{traceback.format_exc()}')
            # A pause, so that a fault which comes back at once does not eat a core.
            if stop.wait(0.1):
                return
