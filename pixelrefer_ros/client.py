# SPDX-License-Identifier: Apache-2.0
"""PixelReferClient: what a planner calls, in Python. Needs rclpy and the messages, no PyTorch.

    with PixelReferClient() as pixelrefer:
        pixelrefer.add('mug', click=(320, 240))
        print(pixelrefer.ask('What colour is <object:mug>?').text)
        for text in pixelrefer.stream('What is <object:mug> used for?'):
            print(text, end='')

Every call has a twin that returns at once, `add_async` and so on, with a concurrent.futures.Future.
"""

import traceback
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Any
from weakref import WeakSet

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from pixelrefer.action import AskStream
from pixelrefer.msg import Answer, TrackedObject
from pixelrefer.srv import (
    AddObjects, Ask, Describe, ListObjects, Measure, RemoveObjects, Reset)
from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import client_waiting
from pixelrefer_ros.client_memory import MemoryCalls
from pixelrefer_ros.client_requests import asked, budgeted, selection
from pixelrefer_ros.client_stream import AnswerStream, LockedActionClient, error_of

#: Seconds that the client's thread rests after a callback failed.
PAUSE = 0.1


class PixelReferClient(MemoryCalls):
    """Calls one node. A context manager.

    Without a `node` of the caller it has one of its own, spun by a thread of its own; with one,
    somebody else has to spin that while calls wait. name: of the PixelRefer node. timeout: seconds
    that a call waits for the node to appear and then for its reply.

    Calls raise PixelReferError with the node's code and message, UNSUPPORTED for arguments that
    cannot be combined, and TimeoutError where no reply came. Pixels are those of the image that
    `stamp` names (of the newest image where it is None). A window is `seconds` up to now, or (first
    stamp, last stamp) as messages; None is now.
    """

    def __init__(self, node: Node | None = None, name: str = '/pixelrefer',
                 timeout: float = 60.0) -> None:
        self._own = node is None
        self._closed = Event()
        if self._own:
            self._context = rclpy.Context()
            rclpy.init(context=self._context)
            node = rclpy.create_node('pixelrefer_client', context=self._context)
            self._executor = SingleThreadedExecutor(context=self._context)
            self._executor.add_node(node)
            self._thread = Thread(target=self._spin, name='pixelrefer_client', daemon=True)
        self.node, self.name, self.timeout = node, name, timeout
        self._making = Lock()       # calls come from several threads
        self._clients: dict[str, Any] = {}
        self._pending: set[Future] = set()
        self._streams: WeakSet[AnswerStream] = WeakSet()
        self._actions = LockedActionClient(node, AskStream, f'{name}/ask_stream')
        if self._own:
            self._thread.start()

    def __enter__(self) -> 'PixelReferClient':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what was made here; a node of the caller stays. Calls that wait fail with
        SHUTTING_DOWN, streams are cancelled."""
        if self._closed.is_set():
            return
        self._closed.set()
        error = PixelReferError('SHUTTING_DOWN', 'the client was closed')
        for stream in list(self._streams):
            stream.fail(error)
        for made in list(self._pending):
            _settle(made, error)
        if self._own:
            # First: an executor that waits on what is being destroyed fails.
            self._executor.shutdown()
            self._thread.join()
        self._actions.destroy()
        for client in self._clients.values():
            self.node.destroy_client(client)
        self._clients.clear()
        if self._own:
            self.node.destroy_node()
            rclpy.try_shutdown(context=self._context)

    def wait_ready(self, timeout: float = 300.0) -> None:
        """Wait until the node is active and has tracked an image. What is waited for is logged
        after some seconds. Raises TimeoutError with what it said last."""
        client_waiting.wait_ready(self, timeout)

    # --- objects

    def add(self, object_id: str = '', **how: Any) -> TrackedObject:
        """Track an object; see `add_async`."""
        return self._wait(self.add_async(object_id, **how))

    def add_async(self, object_id: str = '', **how: Any) -> Future:
        """Track what `how` selects, all in pixels: click (x, y), points with labels (1 on it, 0
        off it), box (x0, y0, x1, y1), scribble, mask (bool [H, W]) or text. An empty id lets the
        node make one. stamp: of the image that was seen, None for the newest; camera: of several,
        the one whose image is meant, where the id does not say; on_existing: reject, correct or
        replace. Gives a TrackedObject."""
        return self._call(AddObjects, 'add_objects', selection(object_id, **how),
                          lambda reply: reply.results[0].object)

    def select(self, object_id: str = '', **how: Any) -> AddObjects.Response:
        """As `add`; gives the whole reply, in which `stamp_used` says on which image it was."""
        return self._wait(self.select_async(object_id, **how))

    def select_async(self, object_id: str = '', **how: Any) -> Future:
        return self._call(AddObjects, 'add_objects', selection(object_id, **how),
                          lambda reply: reply)

    def remove(self, *object_ids: str) -> list[str]:
        """Stop tracking objects, or all of them when none is named; gives the ids that are gone."""
        return self._wait(self.remove_async(*object_ids))

    def remove_async(self, *object_ids: str) -> Future:
        return self._call(RemoveObjects, 'remove_objects', RemoveObjects.Request(
            ids=list(object_ids), every=not object_ids), lambda reply: list(reply.removed))

    def objects(self, camera: str = '') -> list[TrackedObject]:
        """Every object, or those of one camera, as of the newest frame that was tracked."""
        return self._wait(self.objects_async(camera))

    def objects_async(self, camera: str = '') -> Future:
        return self._call(ListObjects, 'list_objects', ListObjects.Request(camera=camera),
                          lambda reply: list(reply.objects))

    def listed(self, timeout: float) -> ListObjects.Response:
        """The whole reply of list_objects, waited for so long instead of `timeout`."""
        return self._wait(self._call(
            ListObjects, 'list_objects', ListObjects.Request(), lambda reply: reply,
            timeout=timeout), timeout)

    def reset(self, remove_objects: bool = False) -> int:
        """Begin a new epoch; gives its number."""
        return self._wait(self.reset_async(remove_objects))

    def reset_async(self, remove_objects: bool = False) -> Future:
        return self._call(Reset, 'reset', Reset.Request(remove_objects=remove_objects),
                          lambda reply: reply.epoch)

    def measure(self, first: str, second: str) -> Measure.Response:
        """How two objects lie to one another, from depth."""
        return self._wait(self.measure_async(first, second))

    def measure_async(self, first: str, second: str) -> Future:
        return self._call(Measure, 'measure', Measure.Request(first=first, second=second),
                          lambda reply: reply)

    # --- answers

    def ask(self, question: str, *object_ids: str, **how: Any) -> Answer:
        """Answer a question about objects: those named by id, else those that it names as
        <object:ID>, else all. how: window, max_frames, max_tokens, deadline (seconds)."""
        return self._wait(self.ask_async(question, *object_ids, **how))

    def ask_async(self, question: str, *object_ids: str, **how: Any) -> Future:
        return self._call(Ask, 'ask', asked(Ask.Request(), question, object_ids, **how),
                          lambda reply: reply.answer)

    def describe(self, *object_ids: str, detail: str = 'sentence', **how: Any) -> list[Answer]:
        """Describe objects, or all of them; each answer has an error_code of its own. how: window,
        max_frames, deadline (seconds)."""
        return self._wait(self.describe_async(*object_ids, detail=detail, **how))

    def describe_async(self, *object_ids: str, detail: str = 'sentence', **how: Any) -> Future:
        request = budgeted(Describe.Request(ids=list(object_ids), detail=detail), **how)
        return self._call(Describe, 'describe', request, lambda reply: list(reply.answers),
                          fails=lambda reply: reply.error_code and not reply.answers)

    def stream(self, question: str, *object_ids: str, **how: Any) -> AnswerStream:
        """As `ask`, told as it is made: iterate over the pieces of its text. Leaving the iteration
        cancels it."""
        goal = asked(AskStream.Goal(), question, object_ids, **how)
        if not self._actions.wait_for_server(self.timeout):
            raise TimeoutError(f'no action {self.name}/ask_stream within {self.timeout:g} s')
        stream = AnswerStream(self._actions, goal, self.timeout)
        self._streams.add(stream)
        return stream

    # --- the wire

    def _call(self, kind: type, name: str, request: Any, take: Callable[[Any], Any],
              fails: Callable[[Any], Any] = lambda reply: reply.error_code,
              timeout: float | None = None) -> Future:
        timeout = self.timeout if timeout is None else timeout
        with self._making:
            client = self._clients.get(name)
            if client is None:
                client = self._clients[name] = self.node.create_client(kind, f'{self.name}/{name}')
        if not client.wait_for_service(timeout):
            raise TimeoutError(f'no service {self.name}/{name} within {timeout:.3g} s')
        made: Future = Future()
        self._pending.add(made)

        def done(future: Any) -> None:
            try:
                reply = future.result()
                if fails(reply):
                    raise error_of(reply)
                _settle(made, None, take(reply))
            except Exception as error:  # edge of the callback: the caller is told
                _settle(made, error)

        sent = client.call_async(request)

        def forget(_: Future) -> None:
            self._pending.discard(made)
            client.remove_pending_request(sent)

        made.add_done_callback(forget)
        sent.add_done_callback(done)
        return made

    def _wait(self, future: Future, timeout: float | None = None) -> Any:
        timeout = self.timeout if timeout is None else timeout
        try:
            return future.result(timeout)
        except FutureTimeout:   # another class than TimeoutError before Python 3.11
            future.cancel()     # a reply that comes later is not waited for any more
            raise TimeoutError(f'no reply of {self.name} within {timeout:.3g} s') from None

    def _spin(self) -> None:
        """Serve the replies; a callback that fails, or something that is destroyed while the
        executor waits on it, is logged and the others go on."""
        while not self._closed.is_set():
            try:
                self._executor.spin()
                return
            except ExternalShutdownException:
                return
            except Exception:  # edge of the thread: without it every later call would time out
                if not self._closed.wait(PAUSE):
                    self.node.get_logger().error(f'a callback failed:\n{traceback.format_exc()}')


def _settle(made: Future, error: Exception | None, result: Any = None) -> None:
    """Give a future its outcome, unless it has one, or nobody waits for it any more."""
    with suppress(InvalidStateError):
        if error is None:
            made.set_result(result)
        else:
            made.set_exception(error)
