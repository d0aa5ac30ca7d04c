# SPDX-License-Identifier: Apache-2.0
"""The language worker: the only owner of the language model. Questions in, answers out."""

import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rclpy.logging import get_logger

from pixelrefer.msg import Answer
from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import conversions
from pixelrefer_ros.counters import Counters
from pixelrefer_ros.encoding import EncodingWorker
from pixelrefer_ros.objects import ObjectTable
from pixelrefer_ros.worker import Worker, cancelled, internal, shutting_down


@dataclass(frozen=True)
class Query:
    """One question, or one description, of a request. prepare(): the engine's checked question,
    or PixelReferError. text: as the answer will carry it."""

    object_ids: list[str]
    text: str
    prepare: Callable[[], Any] = field(repr=False)


@dataclass
class AnswerRequest:
    """Queries that are answered together, in order. done(answers) is called once.

    deadline, arrived: monotonic seconds. ticket: of the encoder; what was handed in for these
    objects before it is waited for, so that an object can be asked about as soon as it is added.
    """

    queries: list[Query]
    epoch: int
    frame_id: str
    arrived: float
    deadline: float
    ticket: int
    done: Callable[[list[Answer]], None]
    answers: list[Answer] = field(default_factory=list)

    @property
    def current(self) -> Query:
        """The query whose turn it is."""
        return self.queries[len(self.answers)]


class LanguageWorker(Worker):
    """Answers one query of each request in turn, so that a request of many does not hold up the
    others. At most `queue` requests wait; more are BUSY.

    publish(answer): called for every answer given, before its reply; false if its epoch is over.
    """

    def __init__(self, engine, table: ObjectTable, encoder: EncodingWorker, counters: Counters,
                 publish: Callable[[Answer], bool], *, model: str, queue: int,
                 threads: int) -> None:
        super().__init__('language', threads)
        self._engine = engine
        self._table = table
        self._encoder = encoder
        self._counters = counters
        self._publish = publish
        self._model = model
        self._queue = queue
        self._requests: deque[AnswerRequest] = deque()
        self._active: AnswerRequest | None = None

    # --- by any thread

    def ask(self, request: AnswerRequest) -> None:
        """Queue a request. Raises PixelReferError BUSY or SHUTTING_DOWN."""
        with self.condition:
            if self.closed:
                raise shutting_down()
            if len(self._requests) >= self._queue:
                raise PixelReferError(
                    'BUSY', f'{len(self._requests)} requests for answers are waiting; '
                    f'{self._queue} are allowed (parameter question_queue)')
            self._requests.append(request)
            self.condition.notify_all()

    @property
    def waiting(self) -> int:
        """Requests that wait or are being answered."""
        return len(self._requests) + (self._active is not None)

    # --- the worker's thread

    def next_work(self) -> Callable[[], None] | None:
        for request in list(self._requests):
            error = self._overtaken(request)
            if error is not None:
                self._requests.remove(request)
                return lambda: self._fail_rest(request, error)
            if self._encoder.done(request.ticket, request.current.object_ids):
                self._requests.remove(request)
                self._active = request
                return lambda: self._answer(request)
        return None

    def next_time(self) -> float | None:
        return min((request.deadline for request in self._requests), default=None)

    def give_up(self) -> None:
        for request in self._requests:
            self._fail_rest(request, shutting_down())
        self._requests.clear()

    def _overtaken(self, request: AnswerRequest) -> PixelReferError | None:
        """Why a request can no longer be answered, or None."""
        if self.closed:
            return shutting_down()
        if request.epoch != self._table.epoch:
            return cancelled()
        if time.monotonic() >= request.deadline:
            return PixelReferError(
                'DEADLINE_EXCEEDED', f'no answer within {request.deadline - request.arrived:.3f} '
                's; a longer deadline is allowed')
        return None

    def _answer(self, request: AnswerRequest) -> None:
        query = request.current
        try:
            message = self._answered(request, query)
        except PixelReferError as found:
            message = self._failed(request, query, found)
        except Exception as found:  # edge of the worker: one question must not end it
            get_logger('pixelrefer').error(f'answering: {traceback.format_exc()}')
            message = self._failed(request, query, internal(found))
        request.answers.append(message)
        with self.condition:
            self._active = None
            if len(request.answers) < len(request.queries) and not self.closed:
                self._requests.append(request)
                return
        self._fail_rest(request, shutting_down())

    def _answered(self, request: AnswerRequest, query: Query) -> Answer:
        """Answer and publish. Raises PixelReferError where that is overtaken or not possible."""
        answer = self._engine.answer(query.prepare(), lambda: self._stop(request))
        error = self._overtaken(request)
        if error is not None:
            raise error
        latency = time.monotonic() - request.arrived
        message = conversions.answer_message(
            answer, question=query.text, frame_id=request.frame_id, epoch=request.epoch,
            states=self._table.states(query.object_ids), latency=latency, model=self._model)
        if not self._publish(message):
            raise cancelled()
        self._counters.timed('answered', latency)
        return message

    def _stop(self, request: AnswerRequest) -> bool:
        """Asked before every token; also lets go of requests that wait in vain."""
        with self.condition:
            late = [r for r in self._requests if self._overtaken(r) is not None]
            for other in late:
                self._requests.remove(other)
        for other in late:
            self._fail_rest(other, self._overtaken(other))
        return self._overtaken(request) is not None

    def _fail_rest(self, request: AnswerRequest, error: PixelReferError) -> None:
        """Answer what is left of a request with an error, and reply."""
        for query in request.queries[len(request.answers):]:
            request.answers.append(self._failed(request, query, error))
        request.done(request.answers)

    def _failed(self, request: AnswerRequest, query: Query, error: PixelReferError) -> Answer:
        self._counters.add('unanswered')
        return conversions.failed_answer(
            error, question=query.text, object_ids=query.object_ids,
            states=self._table.states(query.object_ids), epoch=request.epoch,
            latency=time.monotonic() - request.arrived)
