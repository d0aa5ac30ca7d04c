# SPDX-License-Identifier: Apache-2.0
"""An answer that is told as it is made, on the client's side of ~/ask_stream."""

from collections.abc import Iterator
from queue import Empty, SimpleQueue
from threading import RLock
from typing import Any

from rclpy.action import ActionClient

from pixelrefer.action import AskStream
from pixelrefer.msg import Answer, ErrorCode
from pixelrefer_model.errors import PixelReferError

#: Names of the error codes by their numbers.
_CODES = {getattr(ErrorCode, name): name for name in dir(ErrorCode)
          if name.isupper() and isinstance(getattr(ErrorCode, name), int)}


class LockedActionClient(ActionClient):
    """rclpy's notes what it waits for after it has sent, and loses a reply that the executor's
    thread takes in between; here it takes none meanwhile."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._asking = RLock()
        super().__init__(*args, **options)

    def send_goal_async(self, *args: Any, **options: Any) -> Any:
        with self._asking:
            return super().send_goal_async(*args, **options)

    def _get_result_async(self, goal_handle: Any) -> Any:
        with self._asking:
            return super()._get_result_async(goal_handle)

    def _cancel_goal_async(self, goal_handle: Any) -> Any:
        with self._asking:
            return super()._cancel_goal_async(goal_handle)

    def take_data(self) -> Any:
        with self._asking:
            return super().take_data()


class AnswerStream:
    """The pieces of an answer's text as they come; afterwards `answer` is the whole of it.

    Iterating raises PixelReferError where the goal fails, TimeoutError where nothing comes.
    """

    def __init__(self, actions: ActionClient, goal: AskStream.Goal, timeout: float) -> None:
        self.answer: Answer | None = None
        self._timeout = timeout
        self._news: SimpleQueue[Any] = SimpleQueue()
        self._handle: Any = None
        self._cancelled = self._closed = False
        actions.send_goal_async(goal, feedback_callback=lambda told: self._news.put(
            told.feedback)).add_done_callback(self._accepted)

    def cancel(self) -> None:
        """Ask for the end of it; the node stops within a token."""
        self._cancelled = True
        if self._handle is not None and self.answer is None and not self._closed:
            self._handle.cancel_goal_async()

    def fail(self, error: PixelReferError) -> None:
        """Cancel it and let the iteration end with this error; the client is used no more."""
        self.cancel()
        self._closed = True
        self._news.put(error)

    def __iter__(self) -> Iterator[str]:
        told = ''
        try:
            while True:
                try:
                    found = self._news.get(timeout=self._timeout)
                except Empty:
                    raise TimeoutError(f'nothing came within {self._timeout:g} s') from None
                if isinstance(found, PixelReferError):
                    raise found
                if isinstance(found, AskStream.Feedback):
                    told += found.text
                    if found.text:
                        yield found.text
                    continue
                if found.error_code:
                    raise error_of(found)
                self.answer = found.answer
                # The result may overtake the last feedback, which comes another way.
                text, told = found.answer.text, told.lstrip()
                if told and told != text and text.startswith(told):
                    yield text[len(told):]
                return
        finally:
            if self.answer is None:
                self.cancel()

    def _accepted(self, future: Any) -> None:
        if self._closed:
            return
        self._handle = future.result()
        self._handle.get_result_async().add_done_callback(
            lambda done: self._news.put(done.result().result))
        if self._cancelled:
            self.cancel()


def error_of(reply: Any) -> PixelReferError:
    """The error that a reply carries."""
    return PixelReferError(_CODES.get(reply.error_code, str(reply.error_code)), reply.error_msg)
