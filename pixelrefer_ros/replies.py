# SPDX-License-Identifier: Apache-2.0
"""Replies that are made later, by another thread: the one way every service here answers.

An `async` service callback that awaits a future which a worker completes is resumed only when
something else wakes the executor, and a wake-up that comes while the callback is being polled is
lost: on a quiet wire the reply stays out. So no callback waits here. It leaves a Reply behind, and
whoever has the answer sends it from its own thread, with no executor in between.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node


class Reply:
    """The place of one request's answer. `send` may be called once, from any thread, before or
    after the callback returned; what is sent after the first is ignored."""

    def __init__(self, response: Any, on_failure: Callable[[Exception], None]) -> None:
        #: An empty response of the service's type, to be filled in and sent.
        self.response = response
        self._on_failure = on_failure
        self._lock = Lock()
        self._out: Callable[[Any], None] | None = None
        self._answer: Any = None
        self._answered = False

    @property
    def answered(self) -> bool:
        """Whether the answer was given."""
        return self._answered

    def send(self, response: Any) -> bool:
        """Answer; returns False if it was answered before."""
        with self._lock:
            if self._answered:
                return False
            self._answered = True
            self._answer = response
            out = self._out
        if out is not None:
            self._write(out)
        return True

    def bind(self, out: Callable[[Any], None]) -> None:
        """Say how the answer leaves; sends it if it is there already."""
        with self._lock:
            self._out = out
            answered = self._answered
        if answered:
            self._write(out)

    def _write(self, out: Callable[[Any], None]) -> None:
        try:
            out(self._answer)
        except Exception as error:  # the client may be gone: a worker must outlive that
            self._on_failure(error)


class LateService:
    """A service whose handler gets (request, Reply) and returns at once."""

    def __init__(self, node: Node, srv_type: type, name: str,
                 handler: Callable[[Any, Reply], None], group: CallbackGroup) -> None:
        self._handler = handler
        self._logger = node.get_logger()
        self._name = name
        self.service = node.create_service(srv_type, name, self._callback, callback_group=group)
        self._send_now = self.service.send_response
        # The executor hands what the callback returned to this, together with the request's
        # address, which nothing else gives out.
        self.service.send_response = self._send_later

    def _callback(self, request: Any, response: Any) -> Reply:
        reply = Reply(response, self._failed)
        self._handler(request, reply)
        return reply

    def _send_later(self, reply: Reply, address: Any) -> None:
        reply.bind(lambda response: self._send_now(response, address))

    def _failed(self, error: Exception) -> None:
        self._logger.warning(f'a reply of {self._name} could not be sent: {error}')
