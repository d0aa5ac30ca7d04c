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
#: Objects of which it is known that a description was asked for, the newest.
MOST_TRIED = 1024
IN_VIEW = (TrackedObject.TRACKED, TrackedObject.UNCERTAIN)


class Remembering:
    """Handlers of the services; each raises PixelReferError for what is wrong with a request.

    pipeline(): as of Services. done(reply), failed(reply, error): send it. As many requests may
    wait for the memory as questions may (parameter question_queue); more are BUSY.
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
        #: When objects were seen last whose description was asked for here.
        self._tried: dict[str, int] = {}
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
            self._go_on(reply, lambda: memory.recorder.submit(search), tell)

        def tell(hits: list) -> None:
            reply.response.objects = [conversions.remembered_message(
                hit, state=pipeline.table.states([hit.object.object_id])[0],
                earlier=hit.object.last_line != memory.recorder.store.line,
                history=models.history(memory, hit.object.object_id)) for hit in hits]
            self._done(reply)

        def describe(found: list[tuple[str, int]]) -> None:
            self._describe(pipeline, look, found)

        if request.words.strip():
            self._begin(pipeline, reply, lambda: memory.recorder.submit(partial(
                models.undescribed, key=pipeline.engine.encoder.key)), describe)
        else:
            self._begin(pipeline, reply, lambda: memory.recorder.submit(search), tell)

    def _describe(self, pipeline: Pipeline, then: Callable[[], None],
                  found: list[tuple[str, int]]) -> None:
        """Have objects described of which nothing was said yet; what cannot be is left out, and
        tried again when there is more of it. found: ids with when each was seen last."""
        with self._lock:
            wanted = [(i, last) for i, last in found if self._tried.get(i) != last][:MOST_DESCRIBED]
        if not wanted:
            then()
            return
        now = time.monotonic()
        pipeline.language.ask(AnswerRequest(
            [Query([object_id], models.task('phrase'), partial(
                pipeline.engine.prepare_description, object_id, 'phrase'))
             for object_id, _ in wanted],
            pipeline.table.epoch, '', now, now + pipeline.settings.answer_deadline,
            pipeline.encoder.ticket(), lambda _answers: then()))
        with self._lock:
            for object_id, last in wanted:
                self._tried.pop(object_id, None)
                self._tried[object_id] = last
            while len(self._tried) > MOST_TRIED:
                del self._tried[next(iter(self._tried))]

    # --- joining and splitting, all of it in the memory's turn: one after the other, each whole

    def _merge(self, request: MergeObjects.Request, reply: Reply) -> None:
        pipeline = self._pipeline()
        table, keep, merge = pipeline.table, request.keep, request.merge

        def check() -> None:
            pipeline.known([keep, merge])
            kept, merged = table.get(keep), table.get(merge)
            if kept and merged and kept.sight.state in IN_VIEW and merged.sight.state in IN_VIEW:
                raise PixelReferError(
                    'BAD_ID', f'{keep!r} and {merge!r} are both in view, so they are two objects; '
                    'one that is in view and one that is not are allowed')
            if merged:
                pipeline.cameras.object_id(merged.camera, keep)

        def act() -> int:
            with table.lock:
                check()
                moved = pipeline.engine.memory.join(keep, merge)
                kept, merged = table.get(keep), table.get(merge)
                if merged and not (kept and kept.sight.state in IN_VIEW):
                    table.rename(merge, keep)
                elif merged:
                    table.remove([merge])
                self._publishing.told(Event.MERGED, keep, merge)
            return moved

        check()
        self._begin(pipeline, reply, lambda: pipeline.engine.memory.in_turn(act),
                    partial(self._counted, reply))

    def _split(self, request: SplitObject.Request, reply: Reply) -> None:
        pipeline = self._pipeline()
        table, memory, object_id = pipeline.table, pipeline.engine.memory, request.id
        from_ns = conversions.nanoseconds(request.from_stamp)

        def named() -> str:
            pipeline.known([object_id])
            entry = table.get(object_id)
            camera = entry.camera if entry else pipeline.cameras.of(object_id)
            new_id = table.name(pipeline.cameras.object_id(camera, request.new_id),
                                pipeline.cameras.prefix(camera), memory.highest)
            # One that is made is free; that it is taken a moment later is no fault of the request.
            if request.new_id and (table.get(new_id) is not None or memory.knows(new_id)):
                raise PixelReferError(
                    'DUPLICATE_ID', f'object {new_id!r} exists; an id that is free is allowed, or '
                    'none')
            return new_id

        def act() -> int:
            with table.lock:
                reply.response.split_id = new_id = named()
                moved = memory.split(object_id, from_ns, new_id)
                if table.get(object_id) is not None:
                    table.rename(object_id, new_id)
                self._publishing.told(Event.SPLIT, object_id, new_id)
            return moved

        named()
        if not from_ns:
            raise PixelReferError(
                'BAD_WINDOW', 'from_stamp is 0; the stamp of the first image of the other object '
                'is allowed')
        self._begin(pipeline, reply, lambda: memory.in_turn(act), partial(self._counted, reply))

    def _counted(self, reply: Reply, count: int) -> None:
        reply.response.observations = count
        self._done(reply)

    # --- forgetting

    def _forget(self, request: Forget.Request, reply: Reply) -> None:
        pipeline = self._pipeline()
        memory, ids = pipeline.engine.memory, list(request.ids)
        pipeline.known(ids)
        newest = pipeline.newest()[0]
        window = conversions.window_span(request.window, newest)
        span = None if window is None else models.window(window)

        def act() -> tuple[int, PixelReferError | None]:
            try:
                return memory.forget(ids, span, newest), None
            except PixelReferError as refused:
                return 0, refused

        def gone(done: tuple[int, PixelReferError | None]) -> None:
            count, refused = done

            def answer(_: Any) -> None:
                if refused is not None:
                    raise refused
                for object_id in ids or ['']:
                    self._publishing.told(Event.FORGOTTEN, object_id)
                self._counted(reply, count)

            # Keys and values of prompts say what objects looked like, too; a disk that refuses is
            # no reason to keep these.
            self._go_on(reply, lambda: models.drop_prefixes(pipeline.engine, pipeline.language),
                        answer)

        def begin() -> Future:
            # What is on its way to the memory does not come there any more.
            memory.withhold(ids, span, newest)
            return memory.in_turn(act)

        self._begin(pipeline, reply, begin, gone)

    # --- replies that are made later

    def _begin(self, pipeline: Pipeline, reply: Reply, begin: Callable[[], Future],
               then: Callable[[Any], Any]) -> None:
        """Have something done by another thread, and go on with what comes of it. Raises
        PixelReferError BUSY where too much waits already."""
        with self._lock:
            if self._waiting >= pipeline.settings.question_queue:
                raise PixelReferError(
                    'BUSY', f'{self._waiting} requests wait for the memory; '
                    f'{pipeline.settings.question_queue} are allowed (parameter question_queue)')
            self._waiting += 1
        try:
            begin().add_done_callback(partial(self._finish, reply, then))
        except BaseException:
            self._ended()
            raise

    def _finish(self, reply: Reply, then: Callable[[Any], Any], future: Future) -> None:
        self._ended()
        self._go_on(reply, lambda: future, then)

    def _go_on(self, reply: Reply, begin: Callable[[], Future], then: Callable[[Any], Any]) -> None:
        """`then` with what comes of it; where that fails, the request is answered with it."""

        def come(future: Future) -> None:
            try:
                then(future.result())
            except BaseException as found:  # edge of another thread: whoever asked is answered
                self._failed(reply, internal(found))

        try:
            begin().add_done_callback(come)
        except BaseException as found:  # as above
            self._failed(reply, internal(found))

    def _ended(self) -> None:
        with self._lock:
            self._waiting -= 1
