# SPDX-License-Identifier: Apache-2.0
"""All that lives while the node is active: camera, ring, slot and the three workers."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from geometry_msgs.msg import PointStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros.camera import Camera
from pixelrefer_ros.clicking import Clicks
from pixelrefer_ros.counters import Counters
from pixelrefer_ros.depth import Depth
from pixelrefer_ros.encoding import EncodingWorker
from pixelrefer_ros.frame_ring import FrameRing
from pixelrefer_ros.frame_slot import FrameQueue, FrameSlot
from pixelrefer_ros.objects import ObjectTable
from pixelrefer_ros.parameters import Settings
from pixelrefer_ros.publishing import Publishing
from pixelrefer_ros.questions import LanguageWorker
from pixelrefer_ros.tracking import TrackingWorker
from pixelrefer_ros.worker import budget

MIB = 1 << 20
#: Frames that may wait for the subscription's callback. The newest wins in the slot behind it,
#: which counts what it drops; with a depth of 1 a busy machine would lose frames here, uncounted,
#: that somebody has seen and is about to name in a prompt.
LIVE_DEPTH = 10
#: Clicks that may wait for their callback.
CLICK_DEPTH = 10
LIVE_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=LIVE_DEPTH,
    reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)
#: No depth: a reliable reader that keeps the last N replaces its oldest frame by a newer one and
#: tells nobody. One that keeps all takes no more when the middleware's bound is reached (Fast DDS:
#: `max_samples`, 5000). A writer that is reliable and keeps all, which is its duty here, then
#: fills up to the same bound and its publishing fails, which it hears of and may try again.
LOCKSTEP_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE)


class Pipeline:
    """A context manager: inside, frames are tracked and questions answered. `close` makes it
    answer everything that waits with SHUTTING_DOWN; leaving joins the workers."""

    def __init__(self, node: LifecycleNode, engine: Any, settings: Settings, table: ObjectTable,
                 publishing: Publishing, counters: Counters, *, refer_model: str) -> None:
        self._node = node
        self.engine = engine
        self.settings = settings
        self.table = table
        self.counters = counters
        self._publishing = publishing
        self.ring = FrameRing(settings.frame_ring_mib * MIB)
        self.encoder = EncodingWorker(
            engine, table, counters, publishing.fault, threads=budget(settings.encoder_threads, 4))
        self.language = LanguageWorker(
            engine, table, self.encoder, counters, publishing.answered, model=refer_model,
            queue=settings.question_queue, batch=settings.answer_batch, alone=settings.lockstep,
            threads=budget(settings.language_threads, 4))
        self.encoder.on_observed = self.language.wake
        self.depth = Depth(round(settings.depth_slop * 1e9), publishing.rejected)
        self.tracker = TrackingWorker(
            engine, table, self.ring, self.encoder, publishing, counters,
            make_slot=FrameQueue if settings.lockstep else FrameSlot,
            queue=settings.prompt_queue, future_ns=self.stamp_wait_ns,
            lockstep=settings.lockstep, threads=budget(settings.tracker_threads, 2),
            place=self.depth.placed)
        self.camera = Camera(settings, table, self.ring, self.tracker.slot, counters,
                             self.begin_epoch, publishing.rejected)
        self._clicks = Clicks(
            table, self.ring, self.tracker, settings.stamp_wait,
            lambda: node.get_parameter('click_corrects').value,
            lambda: node.get_parameter('click_label').value, publishing.fault)
        self.topic = ''
        self._stack = ExitStack()

    @property
    def stamp_wait_ns(self) -> int:
        """How far ahead of the newest frame a prompt's stamp may lie."""
        return round(self.settings.stamp_wait * 1e9)

    @property
    def dropped(self) -> int:
        """Frames that were never tracked because a newer one came or time began anew."""
        return self.tracker.slot.dropped + self.counters['dropped']

    def newest(self) -> tuple[int, str]:
        """Stamp in nanoseconds and frame_id of the newest frame that came, or 0 and empty."""
        try:
            frame = self.ring.newest()
        except PixelReferError:
            return 0, ''
        return frame.stamp_ns, frame.frame_id

    def __enter__(self) -> 'Pipeline':
        with ExitStack() as stack:
            for worker in (self.language, self.encoder, self.tracker):
                stack.enter_context(worker)
            # Depth before images, so that it is there when a frame is tracked.
            clicks = self._node.create_subscription(
                PointStamped, '~/click', self._clicks.point, CLICK_DEPTH,
                callback_group=MutuallyExclusiveCallbackGroup())
            subscriptions = [clicks, *self._subscribe_depth(), self._subscribe()]
            self.topic = subscriptions[-1].topic_name
            for subscription in subscriptions:
                stack.callback(self._node.destroy_subscription, subscription)
            jumps = self._node.get_clock().create_jump_callback(
                JumpThreshold(
                    min_forward=Duration(seconds=self.settings.jump_forward),
                    min_backward=Duration(seconds=-max(self.settings.jump_backward, 1e-3)),
                    on_clock_change=True),
                post_callback=self._clock_jumped)
            stack.callback(jumps.unregister)
            # Closed first of all, so that whoever waits is answered before anything is joined.
            stack.callback(self.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def close(self) -> None:
        """Answer everything that waits with SHUTTING_DOWN and take nothing more."""
        for worker in (self.tracker, self.encoder, self.language):
            worker.close()

    def begin_epoch(self, reason: str, *, keep: bool = True) -> list[str]:
        """Start a new epoch; returns the ids of the objects, which are LOST now or (with
        keep=False) removed. What was asked or tracked before goes nowhere."""
        with self.table.lock:
            ids = self.table.begin_epoch(keep=keep)
            epoch = self.table.epoch
            self.ring.clear()
            self.depth.clear()
            self.engine.memory.clear()
            self._publishing.new_epoch(epoch, reason)
        # Frames in the slot carry the epoch they came in, so this may be late.
        self.tracker.wake()
        self.language.wake()
        return ids

    def remove(self, object_ids: list[str]) -> None:
        """Take objects out and forget them. Raises PixelReferError UNKNOWN_ID, removing none."""
        with self.table.lock:
            self.table.remove(object_ids)
            for object_id in object_ids:
                self.engine.forget(object_id)
            self._publishing.removed(self.table.epoch, object_ids)

    def _subscriber(self) -> Callable[..., Any]:
        return partial(
            self._node.create_subscription,
            qos_profile=LOCKSTEP_QOS if self.settings.lockstep else LIVE_QOS,
            callback_group=MutuallyExclusiveCallbackGroup(),
            qos_overriding_options=QoSOverridingOptions.with_default_policies())

    def _subscribe_depth(self) -> list[Any]:
        subscribe = self._subscriber()
        return [subscribe(CameraInfo, 'camera_info', self.depth.info),
                subscribe(Image, 'depth', self.depth.image)]

    def _subscribe(self) -> Any:
        subscribe = self._subscriber()
        if self.settings.image_transport == 'compressed':
            return subscribe(CompressedImage, 'image/compressed', self.camera.compressed)
        return subscribe(Image, 'image', self.camera.image)

    def _clock_jumped(self, jump: Any) -> None:
        clock = self._node.get_clock()
        if clock.clock_type != ClockType.ROS_TIME:
            return
        # The jump of a bag that starts over is seen in its images and in its clock.
        if self.camera.settled_at(clock.now().nanoseconds):
            return
        self.begin_epoch(f'the ROS clock jumped by {jump.delta.nanoseconds / 1e9:.3f} s')
