# SPDX-License-Identifier: Apache-2.0
"""A watcher of the node: what it publishes and when that comes, its counters, its services."""

import os
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from benchmarks.peers import late_ms
from pixelrefer.msg import Latency, TrackedObjectArray
from pixelrefer.srv import AddObjects, ListObjects
from pixelrefer_ros.conversions import nanoseconds

NAME = '/pixelrefer'
#: Ends what hangs.
WATCHDOG_S = 120.0


class Watcher:
    """A context manager: inside, a thread of its own listens to the node."""

    def __init__(self) -> None:
        #: By stamp in ns: how many milliseconds after it the message came, and objects in it.
        self.objects: dict[int, tuple[float, int]] = {}
        #: By topic: milliseconds from the stamp to the publishing, as the node says.
        self.ages: dict[str, list[float]] = {}
        #: The newest values of /diagnostics, and how many messages there were.
        self.diagnostics: dict[str, str] = {}
        self.reports = 0
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> 'Watcher':
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node('watcher', context=self._context)
        self.node.create_subscription(TrackedObjectArray, f'{NAME}/objects', self._objects, 50)
        self.node.create_subscription(Latency, f'{NAME}/debug/latency_ms', self._latency, 50)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._diagnostics, 10)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name='watcher')
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._executor.shutdown()
        rclpy.try_shutdown(context=self._context)
        self._thread.join()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _objects(self, message: TrackedObjectArray) -> None:
        self.objects[nanoseconds(message.header.stamp)] = late_ms(message), len(message.objects)

    def _latency(self, message: Latency) -> None:
        self.ages.setdefault(message.topic, []).append(message.age_ms)

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.diagnostics.update({pair.key: pair.value for pair in status.values})
        self.reports += 1

    def counters(self, *names: str) -> list[int]:
        """Values of /diagnostics from now, not before."""
        seen, end = self.reports, time.monotonic() + WATCHDOG_S
        while self.reports < seen + 2:
            if time.monotonic() > end:
                raise RuntimeError('the node reports nothing')
            time.sleep(0.05)
        return [int(self.diagnostics[name]) for name in names]

    def client(self, kind: type, name: str) -> Any:
        """A client of a service that is there."""
        if name not in self._clients:
            client = self.node.create_client(kind, name)
            self._executor.wake()
            if not client.wait_for_service(WATCHDOG_S):
                raise RuntimeError(f'there is no service {name}')
            self._clients[name] = client
        return self._clients[name]

    def call(self, kind: type, name: str, request: Any, seconds: float = WATCHDOG_S
             ) -> tuple[Any, float]:
        """A service's response, and the milliseconds from request to response. Raises
        RuntimeError when there is none within `seconds`."""
        client, done = self.client(kind, name), threading.Event()
        began = time.perf_counter()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(seconds):
            client.remove_pending_request(future)
            raise RuntimeError(f'{name} did not reply')
        return future.result(), 1e3 * (time.perf_counter() - began)

    def wait_active(self) -> None:
        """Wait until the node serves. Raises RuntimeError when it does not come to that."""
        end = time.monotonic() + WATCHDOG_S
        while time.monotonic() < end:
            # A reply may be lost while the node does not know this client yet.
            with suppress(RuntimeError):
                response, _ = self.call(
                    ListObjects, f'{NAME}/list_objects', ListObjects.Request(), 1.0)
                if not response.error_code:
                    return
            time.sleep(0.1)
        raise RuntimeError('the node did not become active')

    def add(self, request: AddObjects.Request) -> None:
        """Select objects. Raises RuntimeError when one cannot be."""
        response, _ = self.call(AddObjects, f'{NAME}/add_objects', request)
        if response.error_code:
            raise RuntimeError(response.error_msg)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, in user and system mode, of all its threads."""
    with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
        fields = file.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
