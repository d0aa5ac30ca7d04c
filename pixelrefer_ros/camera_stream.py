# SPDX-License-Identifier: Apache-2.0
"""All that serves one camera while the node is active: what comes in, recent frames, tracking."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from geometry_msgs.msg import PointStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import overridable
from pixelrefer_ros.camera import Camera
from pixelrefer_ros.camera_output import CameraOutput
from pixelrefer_ros.camera_thread import CameraThread
from pixelrefer_ros.cameras import Cameras
from pixelrefer_ros.clicking import Clicks
from pixelrefer_ros.counters import Counters
from pixelrefer_ros.depth import Depth
from pixelrefer_ros.encoding import EncodingWorker
from pixelrefer_ros.frame_ring import FrameRing
from pixelrefer_ros.frame_slot import FrameQueue, FrameSlot
from pixelrefer_ros.objects import ObjectTable
from pixelrefer_ros.parameters import Settings
from pixelrefer_ros.silence import Silence
from pixelrefer_ros.target_frame import TargetFrame
from pixelrefer_ros.tracking import Tracking
from pixelrefer_ros.tracking_worker import TrackingWorker

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


class CameraStream:
    """A context manager: inside, the camera's topics are listened to.

    begin_epoch(reason, back): called when stamps jump, back or ahead; settle() before that, with no
    lock held.
    """

    def __init__(self, node: LifecycleNode, engine: Any, settings: Settings, cameras: Cameras,
                 name: str, table: ObjectTable, worker: TrackingWorker, encoder: EncodingWorker,
                 output: CameraOutput, counters: Counters, target: TargetFrame,
                 begin_epoch: Callable[[str, bool], None], settle: Callable[[], None]) -> None:
        self._node = node
        self._settings = settings
        self._table = table
        self._cameras = cameras
        self.name = name
        self.counters = counters
        self.ring = FrameRing(settings.frame_ring_mib * MIB)
        self.depth = Depth(round(settings.depth_slop * 1e9), output.rejected, target, name)
        self.tracking = Tracking(
            engine, cameras, name, table, self.ring, encoder, output, counters,
            condition=worker.condition, failures=worker.failures,
            make_slot=FrameQueue if settings.lockstep else FrameSlot,
            queue=settings.prompt_queue, future_ns=round(settings.stamp_wait * 1e9),
            lockstep=settings.lockstep, place=self.depth.placed,
            fixed_frame=settings.target_frame)
        worker.serve(self.tracking)
        self.camera = Camera(name, settings, table, self.ring, self.tracking.slot, counters,
                             begin_epoch, output.rejected, settle)
        self._clicks = Clicks(
            table, self.ring, self.tracking, settings.stamp_wait,
            lambda: self._corrected(node.get_parameter('click_corrects').value),
            lambda: node.get_parameter('click_label').value, output.fault)
        self._thread = CameraThread(node, f'camera {name}')
        #: The image topic, by its full name.
        self.topic = ''
        self._stack = ExitStack()

    @property
    def dropped(self) -> int:
        """Frames that were never tracked because a newer one came or time began anew."""
        return self.tracking.slot.dropped + self.counters['dropped']

    @property
    def unpublished(self) -> str:
        """That nobody publishes its images, of whatever QoS, in words; empty: somebody does."""
        count = self._node.count_publishers
        if count(self.topic):
            return ''
        raw = self._settings.image_transport == 'raw'
        other = self.topic + '/compressed' if raw else self.topic.removesuffix('/compressed')
        if other == self.topic or not count(other):
            return f'nobody publishes {self.topic}'
        transport = 'compressed' if raw else 'raw'
        return (f'nobody publishes {self.topic}, but somebody {other} '
                f'(image_transport:={transport})')

    def newest(self) -> tuple[int, str]:
        """Stamp in nanoseconds and frame_id of the newest frame that came, or 0 and empty."""
        try:
            frame = self.ring.newest()
        except PixelReferError:
            return 0, ''
        return frame.stamp_ns, frame.frame_id

    def clear(self) -> None:
        """Let go of frames and depth images: time began anew."""
        self.ring.clear()
        self.depth.clear()

    def __enter__(self) -> 'CameraStream':
        with ExitStack() as stack:
            # Depth before images, so that it is there when a frame is tracked.
            for subscribe in (self._subscribe_clicks, self._subscribe_info, self._subscribe_depth,
                              self._subscribe_images):
                subscription = subscribe()
                stack.callback(self._node.destroy_subscription, subscription)
            self.topic = subscription.topic_name
            self.silence = Silence(self._node.get_logger(), self.topic)
            stack.enter_context(self._thread)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        # The counters outlive the slot.
        self.counters.add('dropped', self.tracking.slot.dropped)
        self.tracking.slot.dropped = 0

    def _corrected(self, object_id: str) -> str:
        """The object that a click here corrects: the one that is to be, unless another camera sees
        it."""
        entry = self._table.get(object_id)
        return '' if entry is not None and entry.camera != self.name else object_id

    def _subscribe_clicks(self) -> Any:
        return overridable.subscription(
            self._node, PointStamped, self._cameras.own_topic(self.name, 'click'),
            self._clicks.point, CLICK_DEPTH, callback_group=MutuallyExclusiveCallbackGroup())

    def _subscribe_info(self) -> Any:
        return self._subscribe(CameraInfo, 'camera_info', self.depth.info)

    def _subscribe_depth(self) -> Any:
        if self._settings.depth_transport == 'compressed':
            return self._subscribe(CompressedImage, 'depth/compressedDepth', self.depth.compressed)
        return self._subscribe(Image, 'depth', self.depth.image)

    def _subscribe_images(self) -> Any:
        if self._settings.image_transport == 'compressed':
            return self._subscribe(CompressedImage, 'image/compressed', self.camera.compressed)
        return self._subscribe(Image, 'image', self.camera.image)

    def _subscribe(self, kind: type, name: str, callback: Callable[[Any], None]) -> Any:
        topic = self._cameras.topic(self.name, name)
        if self._settings.lockstep:
            # Not to be overridden: a parameter that was declared while live would win.
            return self._node.create_subscription(
                kind, topic, callback, LOCKSTEP_QOS, callback_group=self._thread.group)
        return overridable.subscription(
            self._node, kind, topic, callback, LIVE_QOS, callback_group=self._thread.group)
