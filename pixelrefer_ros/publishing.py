# SPDX-License-Identifier: Apache-2.0
"""What the node publishes of itself: objects, label image, overlay, answers and events."""

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float64, Header

from pixelrefer.msg import Answer, Event, TrackedObject, TrackedObjectArray
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_ros import conversions, overlay
from pixelrefer_ros.objects import Entry, ObjectTable
from pixelrefer_ros.parameters import Settings

#: Reliable, volatile; deep enough that a reader that is busy for a moment misses nothing.
DEPTH = 10


class Publishing:
    """The publishers. Everything goes out under the header of the image that it belongs to, and
    nothing of an epoch after its end. Silent unless the node is active."""

    def __init__(self, node: LifecycleNode, table: ObjectTable) -> None:
        self._table = table
        self._logger = node.get_logger()
        publisher = node.create_lifecycle_publisher
        self._objects = publisher(TrackedObjectArray, '~/objects', DEPTH)
        self._labels = publisher(Image, '~/label_image', DEPTH)
        self._overlay = publisher(CompressedImage, '~/overlay/compressed', DEPTH)
        self._answers = publisher(Answer, '~/answers', DEPTH)
        self._events = publisher(Event, '~/events', 10 * DEPTH)
        self._latency = publisher(Float64, '~/debug/latency_ms', DEPTH)
        self._settings: Settings | None = None
        self._model = ''

    def configure(self, settings: Settings, model: str) -> None:
        """Take the settings, and the identity of the tracker's checkpoint."""
        self._settings = settings
        self._model = model

    def messages(self, entries: list[Entry]) -> list[TrackedObject]:
        """Objects as messages."""
        settings = self._settings
        return [conversions.object_message(
            entry, settings.camera, self._model, with_mask=settings.publish_masks)
            for entry in entries]

    # --- by the tracking worker

    def tracked(self, frame: Frame, epoch: int, entries: list[Entry]) -> bool:
        """Publish the objects of one frame; returns whether its epoch still lasts."""
        header = conversions.header_message(frame.stamp_ns, frame.frame_id)
        array = TrackedObjectArray(
            header=header, epoch=epoch, camera=self._settings.camera, height=frame.height,
            width=frame.width, objects=self.messages(entries))
        going_out = [(self._objects, array)]
        if self._labels.get_subscription_count():
            going_out.append((self._labels, conversions.label_image(
                header, (frame.height, frame.width), entries)))
        if self._overlay.get_subscription_count():
            going_out.append((self._overlay, conversions.jpeg_message(
                header, overlay.draw(frame.image, entries), self._settings.overlay_quality)))

        def publish() -> None:
            for publisher, message in going_out:
                publisher.publish(message)

        return self._table.while_current(epoch, publish)

    def latency(self, seconds: float) -> None:
        """Publish how long a frame took from its arrival to its tracks."""
        self._latency.publish(Float64(data=1000 * seconds))

    def state_changed(self, frame: Frame, epoch: int, before: Entry, after: Entry) -> None:
        """Publish that an object is seen otherwise than before."""
        self._event(Event.STATE_CHANGED, epoch, self._header(frame), object_id=after.object_id,
                    previous_state=before.sight.state, state=after.sight.state)

    def added(self, frame: Frame, epoch: int, entry: Entry) -> None:
        """Publish that an object is new."""
        self._event(Event.OBJECT_ADDED, epoch, self._header(frame), object_id=entry.object_id,
                    state=entry.sight.state)

    def fault(self, epoch: int, what: str, error: PixelReferError) -> None:
        """Log and publish that a worker failed on something and goes on."""
        self._logger.error(f'{error}\n{what}')
        self._event(Event.FAULT, epoch, Header(), error_code=conversions.error_number(error.code),
                    error_msg=error.message)

    # --- by any thread

    def answered(self, answer: Answer) -> bool:
        """Publish an answer; returns whether its epoch still lasts."""
        return self._table.while_current(
            answer.epoch, lambda: self._answers.publish(answer))

    def removed(self, epoch: int, object_ids: list[str]) -> None:
        """Publish that objects are gone."""
        for object_id in object_ids:
            self._event(Event.OBJECT_REMOVED, epoch, Header(), object_id=object_id)

    def new_epoch(self, epoch: int, reason: str) -> None:
        """Log and publish that time began anew."""
        self._logger.warning(f'epoch {epoch} begins: {reason}')
        self._event(Event.NEW_EPOCH, epoch, Header(), error_msg=reason)

    def rejected(self, header: Header, error: PixelReferError) -> None:
        """Log and publish that an image could not be used."""
        self._logger.warning(f'an image was rejected: {error}', throttle_duration_sec=5.0)
        self._event(Event.FRAME_REJECTED, self._table.epoch, header,
                    error_code=conversions.error_number(error.code), error_msg=error.message)

    def _header(self, frame: Frame) -> Header:
        return conversions.header_message(frame.stamp_ns, frame.frame_id)

    def _event(self, kind: int, epoch: int, header: Header, **values: object) -> None:
        event = Event(header=header, epoch=epoch, kind=kind, **values)
        self._table.while_current(epoch, lambda: self._events.publish(event))
