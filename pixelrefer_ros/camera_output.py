# SPDX-License-Identifier: Apache-2.0
"""What is published of one camera's frames: objects, label image, overlay, and vision_msgs."""

from contextlib import ExitStack

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from pixelrefer.msg import Event, TrackedObjectArray
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_ros import conversions, overlay, overridable
from pixelrefer_ros.cameras import Cameras
from pixelrefer_ros.objects import Entry
from pixelrefer_ros.publishing import DEPTH, Publishing
from pixelrefer_ros.vision_outputs import VisionOutputs


class CameraOutput:
    """The publishers of one camera, a context manager. Everything goes out under the header of the
    image that it belongs to, and nothing of an epoch after its end; silent unless the node is
    active. `tracked`, `state_changed` and `added` are called by the tracking
    worker, the others by any thread."""

    def __init__(self, node: LifecycleNode, cameras: Cameras, camera: str,
                 publishing: Publishing) -> None:
        self._camera = camera
        self._publishing = publishing
        with ExitStack() as stack:
            def publisher(kind: type, name: str) -> LifecyclePublisher:
                made = overridable.publisher(node, kind, cameras.own_topic(camera, name), DEPTH)
                stack.callback(node.destroy_lifecycle_publisher, made)
                return made

            self._objects = publisher(TrackedObjectArray, 'objects')
            self._labels = publisher(Image, 'label_image')
            self._overlay = publisher(CompressedImage, 'overlay/compressed')
            self._vision = stack.enter_context(VisionOutputs(node, cameras, camera))
            self._stack = stack.pop_all()

    def __enter__(self) -> 'CameraOutput':
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def tracked(self, frame: Frame, epoch: int, entries: list[Entry], arrived: float) -> bool:
        """Publish the objects of one frame; returns whether its epoch still lasts."""
        publishing = self._publishing
        header = conversions.header_message(frame.stamp_ns, frame.frame_id)
        array = TrackedObjectArray(
            header=header, epoch=epoch, camera=self._camera, height=frame.height,
            width=frame.width, objects=publishing.messages(entries))
        going_out = [(self._objects, array), *self._vision.messages(header, entries)]
        if self._labels.get_subscription_count():
            going_out.append((self._labels, conversions.label_image(
                header, (frame.height, frame.width), entries)))
        if self._overlay.get_subscription_count():
            going_out.append((self._overlay, conversions.jpeg_message(
                header, overlay.draw(frame.image, entries), publishing.overlay_quality)))

        def publish() -> None:
            for publisher, message in going_out:
                publisher.publish(message)

        lasts = publishing.while_current(epoch, publish)
        if lasts:
            self._vision.published(entries)
            for publisher, _ in going_out:
                publishing.lateness.note(publisher.topic_name, header, arrived)
        return lasts

    def state_changed(self, frame: Frame, epoch: int, before: Entry, after: Entry) -> None:
        """Publish that an object is seen otherwise than before."""
        self._event(Event.STATE_CHANGED, epoch, frame, object_id=after.object_id,
                    previous_state=before.sight.state, state=after.sight.state)

    def added(self, frame: Frame, epoch: int, entry: Entry) -> None:
        """Publish that an object is new."""
        self._event(Event.OBJECT_ADDED, epoch, frame, object_id=entry.object_id,
                    state=entry.sight.state)

    def happened(self, frame: Frame, epoch: int, kind: int, object_id: str, other_id: str) -> None:
        """Publish an event of an object, see Event."""
        self._event(kind, epoch, frame, object_id=object_id, other_id=other_id)

    def fault(self, epoch: int, what: str, error: PixelReferError) -> None:
        """Log and publish that the worker failed on something and goes on."""
        self._publishing.fault(epoch, what, error, self._camera)

    def rejected(self, header: Header, error: PixelReferError) -> None:
        """Log and publish that an image could not be used. By any thread."""
        self._publishing.rejected(header, error, self._camera)

    def _event(self, kind: int, epoch: int, frame: Frame, **values: object) -> None:
        self._publishing.event(
            kind, epoch, conversions.header_message(frame.stamp_ns, frame.frame_id),
            camera=self._camera, **values)
