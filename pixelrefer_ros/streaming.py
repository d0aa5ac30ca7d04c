# SPDX-License-Identifier: Apache-2.0
"""The action ~/ask_stream: an answer's text as it is made."""

import traceback
from collections.abc import Callable
from queue import SimpleQueue
from threading import BoundedSemaphore
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from pixelrefer.action import AskStream
from pixelrefer.msg import Answer
from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import conversions
from pixelrefer_ros.worker import internal

#: Seconds that a result is kept for a client that did not fetch it.
RESULT_KEPT = 60
#: ask(goal, told, cancelled, done): hands a goal to the language worker, which calls told(text,
#: tokens) as it goes and done(answer) once; raises PixelReferError.
Ask = Callable[[AskStream.Goal, Callable[[str, int], None], Callable[[], bool],
                Callable[[Answer], None]], None]


class _OnWallTime:
    """The node as the action server sees it. By simulated time, which may stand or start over, no
    result would ever expire."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._clock = Clock(clock_type=ClockType.SYSTEM_TIME)

    def get_clock(self) -> Clock:
        return self._clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)


class Streaming:
    """The action server. Each goal takes a thread of the executor until it is answered, at most
    `most` of them; one more is aborted with BUSY at once."""

    def __init__(self, node: Node, ask: Ask, epoch: Callable[[], int], group: CallbackGroup,
                 most: int) -> None:
        self._ask = ask
        self._epoch = epoch
        self._most = most
        self._places = BoundedSemaphore(most)
        self._logger = node.get_logger()
        self._server = ActionServer(
            _OnWallTime(node), AskStream, '~/ask_stream', self._execute, callback_group=group,
            cancel_callback=lambda _: CancelResponse.ACCEPT, result_timeout=RESULT_KEPT)

    def _execute(self, goal: ServerGoalHandle) -> AskStream.Result:
        try:
            if not self._places.acquire(blocking=False):
                raise PixelReferError(
                    'BUSY', f'{self._most} goals of ~/ask_stream are under way, which is what is '
                    'allowed (parameter stream_goals)')
            try:
                return self._answer(goal)
            finally:
                self._places.release()
        except PixelReferError as error:
            return self._failed(goal, error)
        except BaseException as found:  # edge of the callback: a goal must not end the node
            self._logger.error(traceback.format_exc())
            return self._failed(goal, internal(found))

    def _answer(self, goal: ServerGoalHandle) -> AskStream.Result:
        news: SimpleQueue[AskStream.Feedback | Answer] = SimpleQueue()
        self._ask(goal.request,
                  lambda text, tokens: news.put(AskStream.Feedback(text=text, tokens=tokens)),
                  lambda: goal.is_cancel_requested, news.put)
        # It ends: the worker answers every request, by its deadline or when it is closed.
        while not isinstance(found := news.get(), Answer):
            goal.publish_feedback(found)
        if not found.error_code:
            goal.succeed()
        elif goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        return AskStream.Result(answer=found, error_code=found.error_code,
                                error_msg=found.error_msg, epoch=self._epoch())

    def _failed(self, goal: ServerGoalHandle, error: PixelReferError) -> AskStream.Result:
        goal.abort()
        return AskStream.Result(error_code=conversions.error_number(error.code),
                                error_msg=error.message, epoch=self._epoch())
