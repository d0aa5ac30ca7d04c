# SPDX-License-Identifier: Apache-2.0
"""One camera's tracking: newest frame in, tracks out; prompts are served between frames."""

import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import Condition
from typing import Any, Protocol

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_ros.camera import Slot
from pixelrefer_ros.cameras import Cameras
from pixelrefer_ros.conversions import sight_from
from pixelrefer_ros.counters import Counters
from pixelrefer_ros.encoding import EncodingWorker, Keyframe
from pixelrefer_ros.failures import Failures
from pixelrefer_ros.frame_ring import FrameRing, exact
from pixelrefer_ros.frame_slot import Waiting
from pixelrefer_ros.objects import Entry, ObjectTable, Sight
from pixelrefer_ros.observing import Observing
from pixelrefer_ros.selecting import AddRequest, Selected, Selection
from pixelrefer_ros.worker import cancelled, internal, shutting_down


class Output(Protocol):
    """Where tracks go. Every call is made by the tracking worker; arrived: monotonic seconds, when
    the frame came."""

    def tracked(self, frame: Frame, epoch: int, entries: list[Entry], arrived: float) -> bool: ...
    def state_changed(self, frame: Frame, epoch: int, before: Entry, after: Entry) -> None: ...
    def added(self, frame: Frame, epoch: int, entry: Entry) -> None: ...
    def fault(self, epoch: int, what: str, error: PixelReferError) -> None: ...
    def happened(self, frame: Frame, epoch: int, kind: int, object_id: str, other_id: str
                 ) -> None: ...


class Tracking:
    """Steps one camera's tracker on every frame it gets and serves prompts between frames.

    A reset needs no message: before each piece of work the tracker is brought into line with the
    table, and what was made for an epoch that is over by then goes nowhere.
    """

    def __init__(self, engine, cameras: Cameras, camera: str, table: ObjectTable, ring: FrameRing,
                 encoder: EncodingWorker, output: Output, counters: Counters, *,
                 condition: Condition, make_slot: Callable[..., Slot], queue: int, future_ns: int,
                 lockstep: bool, failures: Failures,
                 place: Callable[[Sight], Sight] = lambda sight: sight,
                 fixed_frame: str = '') -> None:
        """condition, failures: of the worker that does the work. place: gives a sight its
        position. fixed_frame: see Observing."""
        self.condition = condition
        self._failures = failures
        self._work = f'tracking of {camera}' if cameras.prefix(camera) else 'tracking'
        self.camera = camera
        self._tracker = engine.tracker_of(camera)
        self._cameras = cameras
        self._engine = engine
        self._table = table
        self._ring = ring
        self._encoder = encoder
        self._output = output
        self._counters = counters
        self._queue = queue
        self._future_ns = future_ns
        self._lockstep = lockstep
        self._place = place
        self._observing = Observing(engine, table, encoder, output, fixed_frame)
        self._requests: deque[AddRequest] = deque()
        self._epoch = table.epoch
        self._processed: Frame | None = None
        #: The newest frame that the tracker was given, by a step or by a prompt: what it tells of
        #: a prompt that was caught up is told of this frame.
        self._newest: Frame | None = None
        self._closed = False
        #: While it is true no frame is tracked: in lockstep a detector is looking for a prompt.
        self.hold: Callable[[], bool] = lambda: False
        self.slot: Slot = make_slot(condition)

    # --- by any thread

    def add(self, request: AddRequest, *, waited: bool = False) -> None:
        """Queue a request. waited: it had its place in the detector's queue, which is as long and
        gives two at most of each of its own, so that it is not refused for newer ones. Raises
        PixelReferError BUSY or SHUTTING_DOWN."""
        with self.condition:
            if self._closed:
                raise shutting_down()
            if len(self._requests) >= self._queue * (3 if waited else 1):
                raise PixelReferError(
                    'BUSY', f'{len(self._requests)} requests to add objects are waiting; '
                    f'{self._queue} are allowed of one camera (parameter prompt_queue)')
            self._requests.append(request)
            self.condition.notify_all()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._requests)

    def find(self, request: AddRequest, now: float,
             look: Callable[[int | None], Frame | None]) -> Frame | None:
        """The frame of a request, by `look`; None while it may still come. Raises PixelReferError
        CANCELLED, STAMP_IN_FUTURE where it did not come in time, or what FrameRing.find raises."""
        if request.epoch != self._table.epoch:
            raise cancelled()
        frame = look(request.stamp_ns)
        if frame is None and now >= request.expires:
            wanted = 'newest' if request.stamp_ns is None else f'{exact(request.stamp_ns)} s'
            raise PixelReferError(
                'STAMP_IN_FUTURE', f'no frame of stamp {wanted} came within the waiting time; '
                f'the newest has {exact(self._ring.newest().stamp_ns)} s, and the stamp of '
                'a frame is allowed')
        return frame

    def seen(self, stamp_ns: int | None) -> Frame | None:
        """The frame of a stamp, tracked or not; None where it may still come. Of no stamp the
        newest, in lockstep of those that were tracked. Raises what FrameRing.find raises."""
        newest = self._ring.newest()
        if stamp_ns is not None:
            return self._ring.find(stamp_ns, self._future_ns)
        return self._tracked() if self._lockstep else newest

    # --- the worker's thread

    def next_work(self) -> Callable[[], None] | None:
        """The next piece of work, or None; as in Worker."""
        now = time.monotonic()
        for request in list(self._requests):
            serve = self._servable(request, now)
            if serve is not None:
                self._requests.remove(request)
                return serve
        taken = None if self.hold() else self.slot.take()
        if taken is not None:
            return lambda: self._step_and_say(taken)
        return None

    def next_time(self) -> float | None:
        """When to look again, or None; as in Worker."""
        return min((request.expires for request in self._requests), default=None)

    def give_up(self) -> list[Callable[[], None]]:
        """Take no more, and give what answers whatever waits; as in Worker."""
        self._closed = True
        waiting = list(self._requests)
        self._requests.clear()
        self.slot.close()
        return [partial(request.failed, shutting_down()) for request in waiting]

    def _servable(self, request: AddRequest, now: float) -> Callable[[], None] | None:
        """What to do for a request now, or None while its frame may still come."""
        try:
            frame = self.find(request, now, self._frame)
        except PixelReferError as error:
            return lambda error=error: request.failed(error)
        return None if frame is None else lambda: self._serve(request, frame)

    def _frame(self, stamp_ns: int | None) -> Frame | None:
        frame = self.seen(stamp_ns)
        # In lockstep a prompt never runs ahead of the frames before it.
        if self._lockstep and frame is not None:
            tracked = self._tracked()
            return frame if tracked is not None and frame.stamp_ns <= tracked.stamp_ns else None
        return frame

    def _tracked(self) -> Frame | None:
        """The newest frame of this epoch that was tracked."""
        return self._processed if self._epoch == self._table.epoch else None

    def _align(self, stamp_ns: int) -> int:
        """Bring the tracker into line with the table, before work on a frame of `stamp_ns`;
        returns the epoch of what follows."""
        with self._table.lock:
            epoch = self._table.epoch
            wanted = {entry.object_id for entry in self._table.entries(self.camera)}
            self._take_renamed()
        for object_id in [i for i in self._tracker.ids if i not in wanted]:
            self._tracker.remove(object_id)
            self._observing.gone(object_id)
        if epoch != self._epoch:
            self._observing.begin(epoch)
            self._tracker.lose(stamp_ns)
            self._epoch = epoch
            self._processed = self._newest = None
        return epoch

    def _take_renamed(self) -> dict[str, str]:
        """Give objects the names that the table has for them now; what they are, by what they
        were."""
        names: dict[str, str] = {}
        for old, new in self._table.take_renamed(self.camera):
            if old not in self._tracker.ids:
                continue
            if new in self._tracker.ids:
                self._tracker.remove(new)
            self._tracker.rename(old, new)
            self._observing.rename(old, new)
            names = {first: new if last == old else last for first, last in names.items()}
            names[old] = new
        return names

    def _serve(self, request: AddRequest, frame: Frame) -> None:
        try:
            request.done(self._select_all(request, frame), frame.stamp_ns)
        except PixelReferError as error:
            request.failed(error)
        except BaseException as found:  # edge of the worker: whoever asked is answered in any case
            request.failed(internal(found))
            self._fault(request.epoch, 'adding objects', found)

    def _select_all(self, request: AddRequest, frame: Frame) -> list[Selected]:
        epoch = self._align(frame.stamp_ns)
        if request.epoch != epoch:
            raise cancelled()
        results = []
        keyframes: list[tuple[Frame, Keyframe]] = []
        for selection in request.selections:
            entry = error = None
            try:
                entry, shown, track = self._select(selection, request.on_existing, frame, epoch)
            except PixelReferError as found:
                error = found
            except BaseException as found:  # edge of the worker: one prompt must not end it
                error = self._fault(epoch, f'prompt of object {selection.object_id!r}', found)
            else:
                if shown is not None:
                    keyframes += [(shown, key) for key in self._observing.selected(entry, track)]
            named = entry.object_id if entry else selection.object_id
            results.append(Selected(named, error, entry))
        # Objects of one frame are encoded in one pass; an answer may be asked for right after.
        for shown in {id(shown): shown for shown, _ in keyframes}.values():
            self._encoder.submit(
                shown, epoch, [key for of, key in keyframes if of is shown])
        if self._lockstep:
            self._encoder.wait_idle()
            self._engine.memory.flush()
        return results

    def _select(self, selection: Selection, on_existing: str, frame: Frame,
                epoch: int) -> tuple[Entry, Frame | None, Any]:
        """Serve one prompt; returns its entry, and the track with the frame that it shows."""
        object_id = self._table.name(
            self._cameras.object_id(self.camera, selection.object_id),
            self._cameras.prefix(self.camera), self._engine.memory.highest)
        prompt = selection.prompt(frame.width, frame.height)
        if self._align(frame.stamp_ns) != epoch:
            raise cancelled()
        tracker = self._tracker
        exists = object_id in tracker.ids
        if exists and on_existing == 'REJECT':
            raise PixelReferError(
                'DUPLICATE_ID', f'object {object_id!r} exists; another id is allowed, or '
                'on_existing CORRECT or REPLACE')
        if not exists:
            self._table.check_room()
            act = tracker.add
        else:
            act = tracker.correct if on_existing == 'CORRECT' else tracker.replace
        # Before the prompt is served, since the tracker has the frame also when that fails.
        if self._newest is None or frame.stamp_ns > self._newest.stamp_ns:
            self._newest = frame
        track = act(object_id, prompt, frame)
        sight = self._place(sight_from(track))
        # One step, or a keyframe in the making could slip in between under the old generation.
        with self._table.lock:
            if on_existing == 'REPLACE':
                self._engine.erase(object_id)
                self._observing.gone(object_id)
            if not exists or on_existing == 'REPLACE':
                self._engine.memory.expect(object_id)
            self._engine.memory.pointed_at(object_id, track.stamp_ns)
            entry = self._table.put(
                object_id, sight, epoch, camera=self.camera, existed=exists)
        if entry is None:
            raise cancelled()
        if not exists:
            self._output.added(frame, epoch, entry)
        shown = next((one for one in (frame, self._newest) if one.stamp_ns == track.stamp_ns), None)
        return entry, shown, track

    def _step_and_say(self, waiting: Waiting) -> None:
        """`_step`, and let know whoever waits for the frame."""
        try:
            self._step(waiting)
        finally:
            self.slot.done()

    def _step(self, waiting: Waiting) -> None:
        frame, epoch, arrived = waiting
        if epoch != self._align(frame.stamp_ns) or self._older(frame):
            self._counters.add('dropped')
            return
        self._newest = frame
        try:
            self._track(frame, epoch, arrived)
        except PixelReferError as error:
            self._output.fault(epoch, 'tracking', error)
            self._failures.failed(error, self._work)
            self._counters.add('failed')
        except BaseException as found:  # edge of the worker: one frame must not end it
            self._failures.failed(self._fault(epoch, 'tracking', found), self._work)
            self._counters.add('failed')
        else:
            self._failures.succeeded(self._work)

    def _track(self, frame: Frame, epoch: int, arrived: float) -> None:
        """Step the tracker and let everybody know."""
        tracks = self._tracker.step(frame)
        self._processed = frame
        sights = [self._place(sight_from(track)) for track in tracks]
        with self._table.lock:
            # Names may have changed while the tracker was at work.
            if names := self._take_renamed():
                kept = [(replace(track, object_id=names.get(track.object_id, track.object_id)),
                         sight) for track, sight in zip(tracks, sights)
                        if track.object_id in names or track.object_id not in names.values()]
                tracks, sights = [track for track, _ in kept], [sight for _, sight in kept]
            changes = self._table.update(
                {track.object_id: sight for track, sight in zip(tracks, sights)}, epoch,
                (frame.stamp_ns, frame.frame_id), self.camera)
        if changes is None:
            self._counters.add('dropped')
            return
        self._observing.see(frame, epoch, tracks)
        if self._lockstep:
            self._encoder.wait_idle()
            self._engine.memory.flush()
        for before, after in changes:
            self._output.state_changed(frame, epoch, before, after)
        self._output.tracked(frame, epoch, self._table.entries(self.camera), arrived)
        self._counters.timed('tracked', time.monotonic() - arrived)

    def _older(self, frame: Frame) -> bool:
        # A frame that only a prompt has used so far is still to be tracked.
        done = self._processed is not None and frame.stamp_ns <= self._processed.stamp_ns
        return done or (self._newest is not None and frame.stamp_ns < self._newest.stamp_ns)

    def _fault(self, epoch: int, what: str, found: BaseException) -> PixelReferError:
        error = internal(found)
        self._output.fault(epoch, f'{what}: {traceback.format_exc()}', error)
        return error
