# SPDX-License-Identifier: Apache-2.0
"""All that lives while the node is active: a stream for each camera and the workers."""

from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

from rclpy.clock import ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode

from pixelrefer_ros import models
from pixelrefer_ros.bonding import LifecycleBond
from pixelrefer_ros.camera_output import CameraOutput
from pixelrefer_ros.camera_stream import CameraStream
from pixelrefer_ros.cameras import Cameras
from pixelrefer_ros.counters import Counters
from pixelrefer_ros.detecting import DetectionWorker
from pixelrefer_ros.encoding import EncodingWorker
from pixelrefer_ros.objects import ObjectTable
from pixelrefer_ros.parameters import Settings
from pixelrefer_ros.precedence import Precedence
from pixelrefer_ros.publishing import Publishing
from pixelrefer_ros.questions import LanguageWorker
from pixelrefer_ros.recognizing import Recognizing
from pixelrefer_ros.target_frame import TargetFrame
from pixelrefer_ros.tracking_worker import TrackingWorker
from pixelrefer_ros.worker import budget


class Pipeline:
    """A context manager: inside, frames are tracked and questions answered. `close` makes it
    answer everything that waits with SHUTTING_DOWN; leaving joins the workers.

    outputs, seen: publishers and counters of each camera, by its name.
    """

    def __init__(self, node: LifecycleNode, engine: Any, settings: Settings, table: ObjectTable,
                 publishing: Publishing, outputs: dict[str, CameraOutput], counters: Counters,
                 seen: dict[str, Counters], *, refer_model: str) -> None:
        self._node = node
        self.engine = engine
        self.settings = settings
        self.table = table
        self.cameras = Cameras(tuple(settings.cameras))
        self.counters = counters
        self.lateness = publishing.lateness
        self._publishing = publishing
        self.encoder = EncodingWorker(
            engine, table, counters, publishing.fault, threads=budget(settings.encoder_threads, 4))
        # A GPU's driver shares its work out itself, and in lockstep frames wait for answers.
        shared = not settings.lockstep and models.on_cpu(settings.device)
        precedence = Precedence(settings.answers_give_way if shared else 0.0)
        self.tracker = TrackingWorker(budget(settings.tracker_threads, 2), precedence)
        self.language = LanguageWorker(
            engine, table, self.encoder, counters, publishing.answered, model=refer_model,
            queue=settings.question_queue, batch=settings.answer_batch, alone=settings.lockstep,
            threads=budget(settings.language_threads, 4), give_way=precedence.give_way)
        self.encoder.on_observed = self.language.wake
        self.encoder.on_remembered = Recognizing(
            engine, table, self.cameras, models.same_gate(settings), publishing.event).observed
        self.target = TargetFrame(node, settings.target_frame)
        self.bond = LifecycleBond(node, settings.bond_timeout)
        self.streams = {
            name: CameraStream(
                node, engine, settings, self.cameras, name, table, self.tracker, self.encoder,
                outputs[name], seen[name], self.target, self._time_jumped, self._settle)
            for name in self.cameras.names}
        #: None where the parameter detector_model names no detector.
        self.detection: DetectionWorker | None = None
        if engine.detector is not None:
            self.detection = DetectionWorker(
                engine.detector, counters, publishing.fault, queue=settings.prompt_queue,
                threads=budget(settings.encoder_threads, 4))
            if settings.lockstep:
                for stream in self.streams.values():
                    stream.tracking.hold = partial(self.detection.holds, stream.tracking)
        #: In the order in which they are told to close; last to start, first to be joined.
        self._workers = [worker for worker in (
            self.detection, self.tracker, self.encoder, self.language) if worker is not None]
        self._stack = ExitStack()

    def known(self, object_ids: list[str]) -> None:
        """Raise PixelReferError UNKNOWN_ID unless every id is tracked or remembered, DUPLICATE_ID
        unless each is there once."""
        gone = [i for i in object_ids
                if self.table.get(i) is None and self.engine.memory.knows(i)]
        self.table.known(object_ids, beside=gone)

    def stream(self, camera: str, object_ids: Iterable[str] = ()) -> CameraStream:
        """The stream that a request means by the name of a camera (empty: by its ids, or the only
        one). Raises PixelReferError UNKNOWN_CAMERA."""
        return self.streams[self.cameras.choose(camera, object_ids)]

    def newest(self, object_ids: Iterable[str] = ()) -> tuple[int, str]:
        """Stamp in nanoseconds and frame_id of the newest frame that came from a camera of these
        objects (none: from any), or 0 and empty."""
        entries = [self.table.get(object_id) for object_id in object_ids]
        names = {entry.camera for entry in entries if entry} or self.streams
        return max(self.streams[name].newest() for name in names)

    def __enter__(self) -> 'Pipeline':
        with ExitStack() as stack:
            # Before the worker that asks it, and so left after that has ended.
            stack.enter_context(self.target)
            for worker in reversed(self._workers):
                stack.enter_context(worker)
            for stream in self.streams.values():
                stack.enter_context(stream)
            jumps = self._node.get_clock().create_jump_callback(
                JumpThreshold(
                    min_forward=Duration(seconds=self.settings.jump_forward),
                    min_backward=Duration(seconds=-max(self.settings.jump_backward, 1e-3)),
                    on_clock_change=True),
                post_callback=self._clock_jumped)
            stack.callback(jumps.unregister)
            stack.enter_context(self.bond)
            # Closed first of all, so that whoever waits is answered before anything is joined.
            stack.callback(self.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def close(self) -> None:
        """Answer everything that waits with SHUTTING_DOWN and take nothing more."""
        for worker in self._workers:
            worker.close()

    def begin_epoch(self, reason: str, *, keep: bool = True, back: bool = False) -> list[str]:
        """Start a new epoch; returns the ids of the objects, which are LOST now or (with
        keep=False) removed. What was asked or tracked before goes nowhere. back: stamps went
        back, so that those of what is remembered are of another time."""
        with self.table.lock:
            ids = self.table.begin_epoch(keep=keep)
            epoch = self.table.epoch
            for stream in self.streams.values():
                stream.clear()
            self.engine.memory.clear(back=back, tracked=ids if keep else ())
            self._publishing.new_epoch(epoch, reason)
        # Frames in the slots carry the epoch they came in, so this may be late.
        self.tracker.wake()
        self.language.wake()
        if self.detection is not None:
            self.detection.wake()
        return ids

    def _settle(self) -> None:
        """Wait for the frames that are to be tracked before time jumps: in lockstep all."""
        for stream in self.streams.values():
            stream.tracking.slot.settle()

    def _time_jumped(self, reason: str, back: bool) -> None:
        """Start a new epoch, since stamps or the clock jumped."""
        self.target.clear()
        with self.table.lock:
            self.begin_epoch(reason, back=back)
            for stream in self.streams.values():
                stream.camera.time_jumped(self.table.epoch)

    def remove(self, object_ids: list[str]) -> None:
        """Stop tracking objects. Raises PixelReferError UNKNOWN_ID, removing none."""
        with self.table.lock:
            entries = self.table.remove(object_ids)
            for object_id in object_ids:
                self.engine.release(object_id)
            self._publishing.removed(self.table.epoch, entries)

    def _clock_jumped(self, jump: Any) -> None:
        clock = self._node.get_clock()
        # In lockstep frames of before may wait for as long as they like, and say it themselves.
        if clock.clock_type != ClockType.ROS_TIME or self.settings.lockstep:
            return
        # The jump of a bag that starts over is seen in its images and in its clock.
        with self.table.lock:
            now = clock.now().nanoseconds
            if all(stream.camera.settled_at(now) for stream in self.streams.values()):
                return
            self._time_jumped(f'the ROS clock jumped by {jump.delta.nanoseconds / 1e9:.3f} s',
                              jump.delta.nanoseconds < 0)
