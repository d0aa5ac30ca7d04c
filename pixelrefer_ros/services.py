# SPDX-License-Identifier: Apache-2.0
"""The services: what is asked over the wire, checked and handed to the workers."""

import re
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode

from pixelrefer.action import AskStream
from pixelrefer.msg import Answer, PromptResult, TimeWindow
from pixelrefer.srv import (
    AddObjects, Ask, Describe, ListObjects, Measure, RemoveObjects, Reset)
from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import conversions, models
from pixelrefer_ros.detecting import selection_of
from pixelrefer_ros.measuring import facts_of, measured, positions
from pixelrefer_ros.pipeline import Pipeline
from pixelrefer_ros.publishing import Publishing
from pixelrefer_ros.questions import AnswerRequest, Query
from pixelrefer_ros.remembering import Remembering
from pixelrefer_ros.replies import LateService, Reply
from pixelrefer_ros.selecting import AddRequest, Selected
from pixelrefer_ros.streaming import Streaming
from pixelrefer_ros.worker import internal

ON_EXISTING = {AddObjects.Request.REJECT: 'REJECT', AddObjects.Request.CORRECT: 'CORRECT',
               AddObjects.Request.REPLACE: 'REPLACE'}
_NAMED = re.compile(r'<object:([^<>]*)>')


class Services:
    """Service servers from the start of the node to its end.

    pipeline(): the running one; raises PixelReferError NOT_ACTIVE or SHUTTING_DOWN. epoch(): of
    now. streams: goals of ~/ask_stream that may be under way.
    """

    def __init__(self, node: LifecycleNode, pipeline: Callable[[], Pipeline],
                 epoch: Callable[[], int], publishing: Publishing, streams: int) -> None:
        self._node = node
        self._pipeline = pipeline
        self._epoch = epoch
        self._publishing = publishing
        self._logger = node.get_logger()
        self._group = ReentrantCallbackGroup()
        for name, kind, handler in (
                ('~/add_objects', AddObjects, self._add),
                ('~/remove_objects', RemoveObjects, self._remove),
                ('~/list_objects', ListObjects, self._list),
                ('~/reset', Reset, self._reset),
                ('~/measure', Measure, self._measure),
                ('~/describe', Describe, self._describe),
                ('~/ask', Ask, self._ask)):
            LateService(node, kind, name, self._guarded(handler), self._group)
        for name, (kind, handler) in Remembering(
                pipeline, publishing, self._done, self._fail).services.items():
            LateService(node, kind, name, self._guarded(handler), self._group)
        self._streaming = Streaming(node, self._stream, epoch, self._group, streams)

    def _guarded(self, handler: Callable[[Any, Reply], None]) -> Callable[[Any, Reply], None]:
        """The handler, with whatever it raises sent as the answer."""

        def guarded(request: Any, reply: Reply) -> None:
            try:
                handler(request, reply)
            except PixelReferError as error:
                self._fail(reply, error)
            except BaseException as found:  # edge of the callback: a request must not end the node
                self._logger.error(traceback.format_exc())
                self._fail(reply, internal(found))

        return guarded

    def _fail(self, reply: Reply, error: PixelReferError) -> None:
        response = reply.response
        response.error_code = conversions.error_number(error.code)
        response.error_msg = error.message
        response.epoch = self._epoch()
        reply.send(response)

    def _done(self, reply: Reply) -> None:
        reply.response.epoch = self._epoch()
        reply.send(reply.response)

    # --- objects

    def _add(self, request: AddObjects.Request, reply: Reply) -> None:
        pipeline = self._pipeline()
        settings = pipeline.settings
        stream = pipeline.stream(request.camera, [prompt.id for prompt in request.prompts])
        if request.on_existing not in ON_EXISTING:
            raise PixelReferError(
                'BAD_ON_EXISTING', f'on_existing is {request.on_existing}; '
                + ', '.join(f'{key} ({word})' for key, word in ON_EXISTING.items())
                + ' are allowed')
        if not request.prompts:
            raise PixelReferError(
                'NO_PROMPT', 'the request has no prompt; at least one is allowed')
        if len(request.prompts) > settings.max_objects:
            raise PixelReferError(
                'TOO_MANY_OBJECTS', f'{len(request.prompts)} prompts in one request; '
                f'{settings.max_objects} are allowed (parameter max_objects)')
        stamp_ns = None if request.use_newest else conversions.nanoseconds(request.stamp)
        if stamp_ns is None:
            stream.ring.newest()
        elif stream.ring.find(stamp_ns, round(settings.stamp_wait * 1e9)) is None:
            self._logger.debug(f'waiting for the frame of {stamp_ns} ns')
        detects = pipeline.detection is not None
        selections = [selection_of(prompt, detects=detects) for prompt in request.prompts]
        add = stream.tracking.add
        if any(selection.words for selection in selections):
            add = partial(pipeline.detection.add, tracking=stream.tracking)
        add(AddRequest(
            selections, stamp_ns, ON_EXISTING[request.on_existing], pipeline.table.epoch,
            time.monotonic() + (
                settings.answer_deadline if settings.lockstep else settings.stamp_wait),
            done=lambda results, used: self._added(reply, results, used),
            failed=lambda error: self._fail(reply, error)))

    def _added(self, reply: Reply, results: list[Selected], stamp_ns: int) -> None:
        response = reply.response
        response.stamp_used = conversions.time_message(stamp_ns)
        response.results = [self._result(result) for result in results]
        failed = next((result for result in results if result.error), None)
        if failed is not None:
            response.error_code = conversions.error_number(failed.error.code)
            response.error_msg = failed.error.message
            if len(results) > 1:
                response.error_msg = f'prompt {failed.object_id!r}: {failed.error.message}'
        self._done(reply)

    def _result(self, result: Selected) -> PromptResult:
        tracked = self._publishing.messages([result.entry])[0] if result.entry else None
        return conversions.prompt_result(
            result.object_id, result.error, tracked, result.candidates)

    def _remove(self, request: RemoveObjects.Request, reply: Reply) -> None:
        pipeline = self._pipeline()
        ids = list(request.ids)
        if bool(ids) == request.every:
            raise PixelReferError(
                'BAD_ID', 'ids together with `every`; one of the two is allowed' if ids else
                'no id to remove; at least one id, or `every`, is allowed')
        if request.every:
            ids = [entry.object_id for entry in pipeline.table.entries()]
        pipeline.remove(ids)
        reply.response.removed = ids
        self._done(reply)

    def _list(self, request: ListObjects.Request, reply: Reply) -> None:
        pipeline = self._pipeline()
        if request.camera:
            pipeline.stream(request.camera)
        with pipeline.table.lock:
            frame = pipeline.table.frame(request.camera)
            entries = pipeline.table.entries(request.camera)
        reply.response.header = conversions.header_message(*frame)
        reply.response.objects = self._publishing.messages(entries)
        self._done(reply)

    def _reset(self, request: Reset.Request, reply: Reply) -> None:
        reply.response.ids = self._pipeline().begin_epoch(
            '~/reset was asked for', keep=not request.remove_objects)
        self._done(reply)

    def _measure(self, request: Measure.Request, reply: Reply) -> None:
        pipeline = self._pipeline()
        pair = positions(pipeline.table, [request.first, request.second])
        found = measured(*pair, round(pipeline.settings.measure_slop * 1e9))
        conversions.fill_measure(reply.response, *pair, found)
        self._done(reply)

    # --- answers

    def _describe(self, request: Describe.Request, reply: Reply) -> None:
        pipeline = self._pipeline()
        ids = list(request.ids) or [entry.object_id for entry in pipeline.table.entries()]
        pipeline.known(ids)
        detail = request.detail or 'sentence'
        question = models.task(detail)
        max_frames = request.max_frames or pipeline.settings.max_frames
        window = self._window(pipeline, ids, request.window)
        queries = [
            Query([object_id], question, lambda object_id=object_id:
                  pipeline.engine.prepare_description(
                      object_id, detail, window(), max_frames=max_frames))
            for object_id in ids]
        if not queries:
            raise PixelReferError(
                'NO_OBSERVATION', 'there is no object to describe; objects that ~/add_objects '
                'selected are allowed')

        def done(answers: list[Answer]) -> None:
            reply.response.answers = answers
            failed = next((answer for answer in answers if answer.error_code), None)
            if failed is not None:
                reply.response.error_code = failed.error_code
                reply.response.error_msg = failed.error_msg
            self._done(reply)

        self._queue(pipeline, queries, request.deadline, done)

    def _ask(self, request: Ask.Request, reply: Reply) -> None:
        def done(answers: list[Answer]) -> None:
            answer = answers[0]
            reply.response.answer = answer
            reply.response.error_code = answer.error_code
            reply.response.error_msg = answer.error_msg
            self._done(reply)

        pipeline = self._pipeline()
        self._queue(pipeline, [self._question(pipeline, request)], request.deadline, done)

    def _stream(self, goal: AskStream.Goal, told: Callable[[str, int], None],
                cancelled: Callable[[], bool], done: Callable[[Answer], None]) -> None:
        """As `_ask`, with what comes of it on the way. Raises PixelReferError."""
        pipeline = self._pipeline()
        self._queue(pipeline, [self._question(pipeline, goal)], goal.deadline,
                    lambda answers: done(answers[0]), told=told, cancelled=cancelled)

    def _question(self, pipeline: Pipeline, request: Ask.Request | AskStream.Goal) -> Query:
        """The one query of a request. Raises PixelReferError for what is wrong with it."""
        models.check_text(request.question)
        ids = list(request.ids) or _named(request.question, pipeline)
        pipeline.known(ids)
        settings = pipeline.settings
        max_frames = request.max_frames or settings.max_frames
        max_tokens = request.max_tokens or settings.max_tokens
        window = self._window(pipeline, ids, request.window)
        now = request.window == TimeWindow()

        def prepare() -> Any:
            over, facts = window(), []
            if self._node.get_parameter('history_in_prompt').value:
                facts += pipeline.engine.memory.history(ids, over, settings.target_frame)
            if now and self._node.get_parameter('facts_in_prompt').value:
                facts += facts_of(pipeline.table, ids)
            return pipeline.engine.prepare(
                request.question, ids, over, max_frames=max_frames, max_new_tokens=max_tokens,
                facts=facts)

        return Query(ids, request.question, prepare)

    def _queue(self, pipeline: Pipeline, queries: list[Query], deadline: Any,
               done: Callable[[list[Answer]], None], **stream: Callable) -> None:
        now = time.monotonic()
        seconds = conversions.nanoseconds(deadline) / 1e9 or pipeline.settings.answer_deadline
        ids = [object_id for query in queries for object_id in query.object_ids]
        pipeline.language.ask(AnswerRequest(
            queries, pipeline.table.epoch, pipeline.newest(ids)[1], now, now + seconds,
            pipeline.encoder.ticket(), done, **stream))

    def _window(self, pipeline: Pipeline, object_ids: list[str],
                window: TimeWindow) -> Callable[[], Any]:
        """The window of a request, checked now and counted back from the newest frame of now."""
        span = conversions.window_span(window, pipeline.newest(object_ids)[0])
        return lambda: models.window(span)


def _named(question: str, pipeline: Pipeline) -> list[str]:
    """The objects that a question names, in order, or all of them when it names none.

    Raises PixelReferError UNKNOWN_OBJECT_REFERENCE.
    """
    have = [entry.object_id for entry in pipeline.table.entries()]
    named = list(dict.fromkeys(_NAMED.findall(question)))
    for name in named:
        if name not in have and not pipeline.engine.memory.knows(name):
            raise PixelReferError(
                'UNKNOWN_OBJECT_REFERENCE', f'the question names <object:{name[:64]}>; the objects '
                f'are: {", ".join(map(repr, have)) if have else "there is none"}')
    return named or have
