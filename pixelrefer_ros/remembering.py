# SPDX-License-Identifier: Apache-2.0
"""The services about what is remembered: finding, joining, splitting and forgetting objects."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Any

from pixelrefer.msg import Event, TrackedObject
from pixelrefer.srv import FindObjects, Forget, MergeObjects, SplitObject
from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import conversions, models
from pixelrefer_ros.pipeline import Pipeline
from pixelrefer_ros.publishing import Publishing
from pixelrefer_ros.questions import AnswerRequest, Query
from pixelrefer_ros.replies import Reply
from pixelrefer_ros.worker import internal

#: Objects that are described before words are looked for, those seen last first.
MOST_DESCRIBED = 16
IN_VIEW = (TrackedObject.TRACKED, TrackedObject.UNCERTAIN)


class Remembering:
    """Handlers of the services; each raises PixelReferError for what is wrong with a request.

    pipeline(): as of Services. done(reply), failed(reply, error): send it. At most `queue` requests
    wait for the memory; more are BUSY.
    """

    def __init__(self, pipeline: Callable[[], Pipeline], publishing: Publishing,
                 done: Callable[[Reply], None],
                 failed: Callable[[Reply, PixelReferError], None]) -> None:
        self._pipeline = pipeline
        self._publishing = publishing
        self._done = done
        self._failed = failed
        self._lock = Lock()
        self._waiting = 0
        #: Service by name: type and handler.
        self.services = {
            '~/find_objects': (FindObjects, self._find),
            '~/merge_objects': (MergeObjects, self._merge),
            '~/split_object': (SplitObject, self._split),
            '~/forget': (Forget, self._forget)}

    # --- finding

    def _find(self, request: FindObjects.Request, reply: Reply) -> None:
        pipeline = self._pipeline()
        memory = models.lasting(pipeline.engine)
        search = models.search(
            pipeline.engine, request.words, request.like_id,
            conversions.window_span(request.window, pipeline.newest()[0]), request.frame_id,
            conversions.vector_from(request.center), request.radius, request.max_results)

        def look() -> None:
            try:
                self._later(pipeline, reply, partial(memory.recorder.submit, search), tell)
            except PixelReferError as error:
                self._failed(reply, error)

        def tell(hits: list) -> None:
            reply.response.objects = [conversions.remembered_message(
                hit, state=pipeline.table.states([hit.object.object_id])[0],
                earlier=hit.object.last_line != memory.recorder.store.line,
                history=models.history(memory, hit.object.object_id)) for hit in hits]

        if request.words.strip():
            self._later(pipeline, reply, partial(
                memory.recorder.submit, partial(models.undescribed, most=MOST_DESCRIBED)),
                partial(self._describe, pipeline, look), replies=False)
        else:
            look()

    def _describe(self, pipeline: Pipeline, then: Callable[[], None], ids: list[str]) -> None:
        """Have objects described of which nothing was said yet; what cannot be is left out."""
        if not ids:
            return then()
        now = time.monotonic()
        return pipeline.language.ask(AnswerRequest(
            [Query([object_id], models.task('phrase'), partial(
                pipeline.engine.prepare_description, object_id, 'phrase')) for object_id in ids],
            pipeline.table.epoch, '', now, now + pipeline.settings.answer_deadline,
            pipeline.encoder.ticket(), lambda _answers: then()))

    # --- joining and splitting

    def _merge(self, request: MergeObjects.Request, reply: Reply) -> None:
        pipeline = self._pipeline()
        table, keep, merge = pipeline.table, request.keep, request.merge
        pipeline.known([keep, merge])
        with table.lock:
            kept, merged = table.get(keep), table.get(merge)
            if kept and merged and kept.sight.state in IN_VIEW and merged.sight.state in IN_VIEW:
                raise PixelReferError(
                    'BAD_ID', f'{keep!r} and {merge!r} are both in view, so they are two objects; '
                    'one that is in view and one that is not are allowed')
            if merged:
                pipeline.cameras.object_id(merged.camera, keep)
            future = pipeline.engine.memory.join(keep, merge)
            if merged and not (kept and kept.sight.state in IN_VIEW):
                table.rename(merge, keep)
            elif merged:
                table.remove([merge])
            self._publishing.told(Event.MERGED, keep, merge)
        self._changed(pipeline, reply, future)

    def _split(self, request: SplitObject.Request, reply: Reply) -> None:
        pipeline = self._pipeline()
        table, object_id = pipeline.table, request.id
        pipeline.known([object_id])
        from_ns = conversions.nanoseconds(request.from_stamp)
        if not from_ns:
            raise PixelReferError(
                'BAD_WINDOW', 'from_stamp is 0; the stamp of the first image of the other object '
                'is allowed')
        memory = pipeline.engine.memory
        with table.lock:
            entry = table.get(object_id)
            camera = entry.camera if entry else pipeline.cameras.of(object_id)
            prefix = pipeline.cameras.prefix(camera)
            new_id = table.name(pipeline.cameras.object_id(camera, request.new_id), prefix,
                                memory.highest)
            if table.get(new_id) is not None or memory.knows(new_id):
                raise PixelReferError(
                    'DUPLICATE_ID', f'object {new_id!r} exists; an id that is free is allowed, or '
                    'none')
            future = memory.split(object_id, from_ns, new_id)
            if entry is not None:
                table.rename(object_id, new_id)
            self._publishing.told(Event.SPLIT, object_id, new_id)
        reply.response.split_id = new_id
        self._changed(pipeline, reply, future)

    # --- forgetting

    def _forget(self, request: Forget.Request, reply: Reply) -> None:
        pipeline = self._pipeline()
        ids = list(request.ids)
        pipeline.known(ids)
        newest = pipeline.newest()[0]
        span = conversions.window_span(request.window, newest)
        with pipeline.table.lock:
            future = pipeline.engine.memory.forget(ids, span and models.window(span), newest)
            for object_id in ids or ['']:
                self._publishing.told(Event.FORGOTTEN, object_id)

        # Keys and values of prompts say what objects looked like, too.
        def purge(gone: int) -> None:
            self._later(pipeline, reply, lambda: pipeline.language.call(
                pipeline.engine.language.prefixes.clear), lambda _: counted(gone))

        def counted(gone: int) -> None:
            reply.response.observations = gone

        self._later(pipeline, reply, lambda: future, purge, replies=False)

    # --- replies that are made later

    def _changed(self, pipeline: Pipeline, reply: Reply, future: Future) -> None:
        def tell(count: int) -> None:
            reply.response.observations = count

        self._later(pipeline, reply, lambda: future, tell)

    def _later(self, pipeline: Pipeline, reply: Reply, begin: Callable[[], Future],
               tell: Callable[[Any], Any], *, replies: bool = True) -> None:
        """Have something done by another thread, and go on with what comes of it; with it the
        request is answered, unless `tell` sees to that. Raises PixelReferError BUSY."""
        with self._lock:
            if self._waiting >= pipeline.settings.question_queue:
                raise PixelReferError(
                    'BUSY', f'{self._waiting} requests wait for the memory; '
                    f'{pipeline.settings.question_queue} are allowed (parameter question_queue)')
            self._waiting += 1
        try:
            future = begin()
        except BaseException:
            self._ended()
            raise
        future.add_done_callback(partial(self._finish, reply, tell, replies))

    def _finish(self, reply: Reply, tell: Callable[[Any], Any], replies: bool,
                future: Future) -> None:
        self._ended()
        try:
            tell(future.result())
            if replies:
                self._done(reply)
        except BaseException as found:  # edge of another thread: whoever asked is answered
            self._failed(reply, internal(found))

    def _ended(self) -> None:
        with self._lock:
            self._waiting -= 1
