# SPDX-License-Identifier: Apache-2.0
"""The detection worker: the only owner of the detector. Words in, box prompts out.

It looks on the frame that a request names and hands the box, with that frame's stamp, to the
camera's tracking, which catches the object up to now. Tracking never waits for it, but in lockstep.
"""

import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any

from pixelrefer.msg import Prompt as PromptMessage
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_model.prompt import Prompt
from pixelrefer_ros import conversions, models
from pixelrefer_ros.counters import Counters
from pixelrefer_ros.selecting import AddRequest, Selected, Selection
from pixelrefer_ros.tracking import Tracking
from pixelrefer_ros.worker import OBSERVING, Worker, internal, shutting_down

#: Seconds between looks whether an awaited frame has come; nobody notifies of frames.
LOOK_EVERY = 0.02
Candidates = tuple[tuple[Any, float], ...]


def selection_of(message: PromptMessage, *, detects: bool) -> Selection:
    """A prompt as a selection, by words where it has some and there is a detector. What is wrong
    with it is said when its turn comes, so that others of the request are served."""
    if detects and message.text.strip():
        try:
            return Selection(message.id, partial(conversions.prompt_from, message),
                             models.check_words(conversions.words_of(message)))
        except PixelReferError as error:
            return Selection.refused(message.id, error)
    return Selection(message.id, partial(conversions.prompt_from, message))


class DetectionWorker(Worker):
    """Serves requests that hold words, one after the other, at most `queue` of them waiting.

    fault(epoch, what, error): told of a fault of the detector.
    """

    def __init__(self, detector: Any, counters: Counters,
                 fault: Callable[[int, str, PixelReferError], None], *, queue: int,
                 threads: int) -> None:
        super().__init__('detector', threads, nice=OBSERVING)
        self._detector = detector
        self._counters = counters
        self._fault = fault
        self._queue = queue
        self._requests: deque[tuple[AddRequest, Tracking]] = deque()
        self._running: tuple[AddRequest, Tracking] | None = None

    # --- by any thread

    def add(self, request: AddRequest, tracking: Tracking) -> None:
        """Queue a request about a camera's frame. Raises PixelReferError BUSY or SHUTTING_DOWN."""
        with self.condition:
            if self.closed:
                raise shutting_down()
            if len(self._requests) >= self._queue:
                raise PixelReferError(
                    'BUSY', f'{len(self._requests)} requests with words are waiting for the '
                    f'detector; {self._queue} are allowed (parameter prompt_queue)')
            self._requests.append((request, tracking))
            self.condition.notify_all()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._requests)

    @property
    def looking(self) -> bool:
        """Whether a request is being served."""
        return self._running is not None

    def holds(self, tracking: Tracking) -> bool:
        """Whether something is being looked for on a frame of a camera that is there: in lockstep
        no frame is tracked meanwhile, so that it does not matter how long that takes."""
        with self.condition:
            if self._running is not None and self._running[1] is tracking:
                return True
            return any(own is tracking and self._frame(request, own) is not None
                       for request, own in self._requests)

    # --- the worker's thread

    def next_work(self) -> Callable[[], None] | None:
        now = time.monotonic()
        for waiting in list(self._requests):
            request, tracking = waiting
            try:
                frame = tracking.find(request, now, tracking.seen)
            except PixelReferError as error:
                self._requests.remove(waiting)
                return partial(request.failed, error)
            if frame is not None:
                self._requests.remove(waiting)
                self._running = waiting
                return partial(self._serve, request, tracking, frame)
        return None

    def next_time(self) -> float | None:
        return time.monotonic() + LOOK_EVERY if self._requests else None

    def give_up(self) -> list[Callable[[], None]]:
        # The one in progress too: its detection goes on to its end, for nobody.
        waiting = [*self._requests, *([self._running] if self._running else [])]
        self._requests.clear()
        return [partial(request.failed, shutting_down()) for request, _ in waiting]

    @staticmethod
    def _frame(request: AddRequest, tracking: Tracking) -> Frame | None:
        try:
            return tracking.find(request, time.monotonic(), tracking.seen)
        except PixelReferError:
            return None

    def _serve(self, request: AddRequest, tracking: Tracking, frame: Frame) -> None:
        try:
            self._look(request, tracking, frame)
        except PixelReferError as error:
            request.failed(error)
        finally:
            with self.condition:
                self._running = None
            with tracking.condition:
                tracking.condition.notify_all()

    def _look(self, request: AddRequest, tracking: Tracking, frame: Frame) -> None:
        """Hand what needs no detector to the tracking at once, then what it finds."""
        wait = request.expires - time.monotonic()
        by_words = [n for n, one in enumerate(request.selections) if one.words]
        others = [n for n, one in enumerate(request.selections) if not one.words]
        join = Join(request, [by_words, others] if others else [by_words])
        if others:
            self._hand_on(replace(
                request, selections=[request.selections[n] for n in others],
                stamp_ns=frame.stamp_ns, done=partial(join.done, others),
                failed=partial(join.failed, others)), tracking)
        found = []
        for n in by_words:
            if self.closed:
                return join.failed(by_words, shutting_down())
            try:
                tracking.find(request, 0.0, lambda _stamp_ns: frame)
            except PixelReferError as error:  # a reset came between
                return join.failed(by_words, error)
            found.append(self._found(request.selections[n], frame, request.epoch))
        candidates = [one for _, one in found]
        self._hand_on(replace(
            request, selections=[selection for selection, _ in found], stamp_ns=frame.stamp_ns,
            expires=time.monotonic() + max(wait, 0.0),
            done=lambda results, stamp_ns: join.done(by_words, [
                replace(result, candidates=own)
                for result, own in zip(results, candidates, strict=True)], stamp_ns),
            failed=lambda error: self._late(join, by_words, found, frame, error)), tracking)

    @staticmethod
    def _late(join: 'Join', places: Sequence[int], found: Sequence[tuple[Selection, Candidates]],
              frame: Frame, error: PixelReferError) -> None:
        """What was found cannot be tracked any more: each prompt is told so, with its candidates,
        unless it selects nothing in any case."""
        if error.code not in ('STAMP_TOO_OLD', 'BUSY'):
            join.failed(places, error)  # time began anew, or the node ends
            return
        if error.code == 'STAMP_TOO_OLD':
            error = PixelReferError(
                error.code, f'{error.message}; the frame left the ring while the detector looked '
                'at it, a larger one may do (parameter frame_ring_mib)')
        results = []
        for selection, candidates in found:
            own = error
            try:
                selection.prompt(frame.width, frame.height)
            except PixelReferError as refused:
                own = refused
            results.append(Selected(selection.object_id, own, None, candidates))
        join.done(places, results, frame.stamp_ns)

    @staticmethod
    def _hand_on(request: AddRequest, tracking: Tracking) -> None:
        try:
            tracking.add(request, waited=True)
        except PixelReferError as error:
            request.failed(error)

    def _found(self, selection: Selection, frame: Frame, epoch: int
               ) -> tuple[Selection, Candidates]:
        """The selection with the box that its words mean, or with the reason why there is none; and
        the candidates."""
        words, started = selection.words, time.monotonic()
        try:
            matches = self._detector.detect(frame.image, words)
        except PixelReferError as error:
            return Selection.refused(selection.object_id, error, words), ()
        except Exception as found:  # edge of the worker: one prompt must not end it
            error = internal(found)
            self.failures.failed(error, 'detecting')
            self._fault(epoch, f'looking for {words!r}: {traceback.format_exc()}', error)
            return Selection.refused(selection.object_id, error, words), ()
        self.failures.succeeded('detecting')
        self._counters.timed('detected', time.monotonic() - started)
        policy = self._detector.policy
        candidates = tuple((one.box, one.score) for one in policy.candidates(matches))
        try:
            box = policy.choose(words, matches).box
        except PixelReferError as error:
            return Selection.refused(selection.object_id, error, words), candidates
        return Selection(selection.object_id, partial(_checked, box), words), candidates


class Join:
    """Prompts of one request that are served apart: one answer when all are there, in the order of
    the request. A part that fails as a whole fails each of its prompts, and the request only where
    every part does."""

    def __init__(self, request: AddRequest, parts: Sequence[Sequence[int]]) -> None:
        self._request = request
        self._left = len(parts)
        self._results: dict[int, Selected] = {}
        self._stamp_ns: int | None = None
        self._lock = Lock()

    def done(self, places: Sequence[int], results: Sequence[Selected], stamp_ns: int) -> None:
        """The prompts at these places of the request were served on this frame."""
        self._take(places, results, stamp_ns, None)

    def failed(self, places: Sequence[int], error: PixelReferError) -> None:
        """They were not."""
        self._take(places, [Selected(self._request.selections[n].object_id, error, None)
                            for n in places], None, error)

    def _take(self, places: Sequence[int], results: Sequence[Selected], stamp_ns: int | None,
              error: PixelReferError | None) -> None:
        with self._lock:
            self._results.update(zip(places, results, strict=True))
            self._stamp_ns = self._stamp_ns if stamp_ns is None else stamp_ns
            self._left -= 1
            if self._left:
                return
        if self._stamp_ns is None:
            self._request.failed(error)
        else:
            self._request.done(
                [self._results[n] for n in range(len(self._results))], self._stamp_ns)


def _checked(prompt: Prompt, width: int, height: int) -> Prompt:
    prompt.check(width, height)
    return prompt
