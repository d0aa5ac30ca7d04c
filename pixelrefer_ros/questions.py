# SPDX-License-Identifier: Apache-2.0
"""The language worker: the only owner of the language model. Questions in, answers out."""

import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rclpy.logging import get_logger

from pixelrefer.msg import Answer
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.settling import settle
from pixelrefer_ros import conversions
from pixelrefer_ros.counters import Counters
from pixelrefer_ros.encoding import EncodingWorker
from pixelrefer_ros.objects import ObjectTable
from pixelrefer_ros.worker import ANSWERING, Worker, cancelled, internal, shutting_down

#: Codes of errors that are no fault of the question.
FAULTS = ('OUT_OF_MEMORY', 'NOT_FINITE', 'INTERNAL')


@dataclass(frozen=True)
class Query:
    """One question, or one description, of a request. prepare(): the engine's checked question,
    or PixelReferError. text: as the answer will carry it."""

    object_ids: list[str]
    text: str
    prepare: Callable[[], Any] = field(repr=False)


@dataclass
class AnswerRequest:
    """Queries of one client. done(answers) is called once, with one answer for each in order.

    deadline, arrived: monotonic seconds. ticket: of the encoder; what was handed in for these
    objects before it is waited for, so that an object can be asked about as soon as it is added.
    told(text, tokens): called with what came of the only query of a stream, while it is made.
    cancelled(): whether the client wants no answer any more.
    """

    queries: list[Query]
    epoch: int
    frame_id: str
    arrived: float
    deadline: float
    ticket: int
    done: Callable[[list[Answer]], None]
    told: Callable[[str, int], None] = lambda _text, _tokens: None
    cancelled: Callable[[], bool] = lambda: False
    answers: dict[int, Answer] = field(default_factory=dict)
    taken: int = 0

    @property
    def left(self) -> int:
        """Queries that are not being answered yet."""
        return len(self.queries) - self.taken


@dataclass(frozen=True)
class Turn:
    """A query of a request whose turn it is."""

    request: AnswerRequest
    number: int

    @property
    def query(self) -> Query:
        return self.request.queries[self.number]


class LanguageWorker(Worker):
    """Answers what waits as batches of up to `batch` queries: one of each request in turn, so that
    a request of many does not hold up the others, then more of them while there is room. At most
    `queue` requests wait; more are BUSY.

    alone: a batch is of one request, so that an answer does not depend on who else asks: batches of
    other sizes round otherwise. publish(answer, arrived): called for every answer given, before its
    reply; false if its epoch is over. give_way(): called before each token of a batch; returns when
    it may be made.
    """

    def __init__(self, engine, table: ObjectTable, encoder: EncodingWorker, counters: Counters,
                 publish: Callable[[Answer, float], bool], *, model: str, queue: int, batch: int,
                 alone: bool, threads: int, give_way: Callable[[], None] = lambda: None) -> None:
        super().__init__('language', threads, ANSWERING)
        self._give_way = give_way
        self._engine = engine
        self._table = table
        self._encoder = encoder
        self._counters = counters
        self._publish = publish
        self._model = model
        self._queue = queue
        self._batch = batch
        self._alone = alone
        #: In the order in which they have their turn.
        self._requests: deque[AnswerRequest] = deque()
        self._active: list[AnswerRequest] = []
        #: Bounded by who calls, see `call`.
        self._acts: deque[tuple[Callable[[], Any], Future]] = deque()

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

    def call(self, act: Callable[[], Any]) -> Future:
        """Have something done by the worker before its next batch, since it alone may touch the
        language model. The future has what it returns. Raises PixelReferError SHUTTING_DOWN."""
        made: Future = Future()
        with self.condition:
            if self.closed:
                raise shutting_down()
            self._acts.append((act, made))
            self.condition.notify_all()
        return made

    @property
    def waiting(self) -> int:
        """Requests that wait or are being answered."""
        with self.condition:
            return len({id(request) for request in (*self._requests, *self._active)})

    # --- the worker's thread

    def next_work(self) -> Callable[[], None] | None:
        if self._acts:
            act, made = self._acts.popleft()
            return partial(settle, made, act)
        for request in list(self._requests):
            error = self._overtaken(request)
            if error is not None:
                self._requests.remove(request)
                return lambda: self._fail_rest(request, error)
        turns = self._turns()
        return (lambda: self._answer(turns)) if turns else None

    def next_time(self) -> float | None:
        return min((request.deadline for request in self._requests), default=None)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        # Nobody else touches the model now: what was asked about is not kept while nobody asks.
        self._engine.language.prefixes.clear()

    def give_up(self) -> list[Callable[[], None]]:
        waiting = list(self._requests)
        self._requests.clear()
        acts = [made for _, made in self._acts]
        self._acts.clear()
        return [*(partial(self._fail_rest, request, shutting_down()) for request in waiting),
                *(partial(made.set_exception, shutting_down()) for made in acts)]

    def _turns(self) -> list[Turn]:
        """The next batch, taken from the queue; requests with more to answer go to its end."""
        ready = [request for request in self._requests if self._encoder.done(
            request.ticket, request.queries[request.taken].object_ids)]
        if self._alone:
            ready = ready[:1]
        turns: list[Turn] = []
        while ready and len(turns) < self._batch:
            for request in ready[:self._batch - len(turns)]:
                turns.append(Turn(request, request.taken))
                request.taken += 1
            ready = [request for request in ready if request.left and self._encoder.done(
                request.ticket, request.queries[request.taken].object_ids)]
        self._active = list({id(turn.request): turn.request for turn in turns}.values())
        for request in self._active:
            self._requests.remove(request)
            if request.left:
                self._requests.append(request)
        return turns

    def _overtaken(self, request: AnswerRequest) -> PixelReferError | None:
        """Why a request can no longer be answered, or None."""
        if self.closed:
            return shutting_down()
        if request.epoch != self._table.epoch:
            return cancelled()
        if request.cancelled():
            return PixelReferError('CANCELLED', 'the client cancelled this; it may be asked again')
        if time.monotonic() >= request.deadline:
            return PixelReferError(
                'DEADLINE_EXCEEDED', f'no answer within {request.deadline - request.arrived:.3f} '
                's; a longer deadline is allowed')
        return None

    def _answer(self, turns: list[Turn]) -> None:
        """Answer a batch; one after the other where the device has no memory for all of it, or one
        of them spoils it."""
        prepared = []
        for turn in turns:
            question = self._guarded(turn, turn.query.prepare)
            if question is not None:
                prepared.append((turn, question))
        try:
            self._stream(prepared)
        except PixelReferError as found:
            rest = [(turn, question) for turn, question in prepared
                    if turn.number not in turn.request.answers]
            several = len(rest) > 1 and found.code in ('OUT_OF_MEMORY', 'NOT_FINITE')
            for turn, question in rest:
                if several:
                    self._guarded(turn, lambda: self._stream([(turn, question)]))
                else:
                    self._finish(turn, self._failed(turn, found))
        except BaseException as found:  # edge of the worker: one batch must not end it
            get_logger('pixelrefer').error(f'answering: {traceback.format_exc()}')
            for turn, _ in prepared:
                if turn.number not in turn.request.answers:
                    self._finish(turn, self._failed(turn, internal(found)))
        with self.condition:
            self._active = []

    def _guarded(self, turn: Turn, act: Callable[[], Any]) -> Any:
        """What `act` gives; None, and the query is answered with the error, where it raises."""
        try:
            return act()
        except PixelReferError as found:
            self._finish(turn, self._failed(turn, found))
        except BaseException as found:  # edge of the worker: one question must not end it
            get_logger('pixelrefer').error(f'answering: {traceback.format_exc()}')
            self._finish(turn, self._failed(turn, internal(found)))
        return None

    def _stream(self, prepared: list[tuple[Turn, Any]]) -> None:
        asked: set[int] = set()

        def ended(index: int) -> str:
            # All that are not ended are asked before each token that they get together.
            if not asked or index in asked:
                asked.clear()
                self._give_way()
            asked.add(index)
            return 'cancelled' if self._stop(prepared[index][0].request) else ''

        for told in self._engine.stream([question for _, question in prepared], ended):
            turn = prepared[told.index][0]
            if told.text or told.tokens:
                turn.request.told(told.text, told.tokens)
            if told.answer is not None:
                self._guarded(turn, lambda: self._answered(turn, told.answer))

    def _answered(self, turn: Turn, answer: Any) -> None:
        """Publish an answer, and reply. Raises PixelReferError where it is overtaken."""
        request, query = turn.request, turn.query
        error = self._overtaken(request)
        if error is not None:
            raise error
        latency = time.monotonic() - request.arrived
        message = conversions.answer_message(
            answer, question=query.text, frame_id=request.frame_id, epoch=request.epoch,
            states=self._table.states(query.object_ids), latency=latency, model=self._model)
        if not self._publish(message, request.arrived):
            raise cancelled()
        self._engine.memory.record([answer.told(query.text, request.epoch, self._model)])
        self._counters.timed('answered', latency)
        self.failures.succeeded('answering')
        self._finish(turn, message)

    def _stop(self, request: AnswerRequest) -> bool:
        """Asked before every token; also lets go of requests that wait in vain."""
        with self.condition:
            late = [r for r in self._requests if self._overtaken(r) is not None]
            for other in late:
                self._requests.remove(other)
        for other in late:
            self._fail_rest(other, self._overtaken(other))
        return self._overtaken(request) is not None

    def _finish(self, turn: Turn, answer: Answer) -> None:
        """Note the answer of a query, and reply when it is the last; the first one counts."""
        request = turn.request
        # Held, since who closes the worker finishes what waits while a batch is being answered.
        with self.condition:
            if turn.number in request.answers:
                return
            request.answers[turn.number] = answer
            whole = len(request.answers) == len(request.queries)
        if whole:
            request.done([request.answers[n] for n in range(len(request.queries))])

    def _fail_rest(self, request: AnswerRequest, error: PixelReferError) -> None:
        """Answer what nobody is answering of a request with an error."""
        first, request.taken = request.taken, len(request.queries)
        for number in range(first, len(request.queries)):
            turn = Turn(request, number)
            self._finish(turn, self._failed(turn, error))

    def _failed(self, turn: Turn, error: PixelReferError) -> Answer:
        self._counters.add('unanswered')
        if error.code in FAULTS:
            self.failures.failed(error, 'answering')
        query, request = turn.query, turn.request
        return conversions.failed_answer(
            error, question=query.text, object_ids=query.object_ids,
            states=self._table.states(query.object_ids), epoch=request.epoch,
            latency=time.monotonic() - request.arrived)
