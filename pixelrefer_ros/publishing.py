# SPDX-License-Identifier: Apache-2.0
"""What the node publishes of all its cameras together: answers and events."""

from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from pixelrefer.msg import Answer, Event, TrackedObject
from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import conversions, overridable
from pixelrefer_ros.lateness import Lateness
from pixelrefer_ros.objects import Entry, ObjectTable
from pixelrefer_ros.parameters import Settings

#: Reliable, volatile; deep enough that a reader that is busy for a moment misses nothing.
DEPTH = 10


class Publishing:
    """The publishers. Nothing of an epoch goes out after its end; silent unless the node is
    active. Any thread may publish."""

    def __init__(self, node: LifecycleNode, table: ObjectTable) -> None:
        self._table = table
        self._logger = node.get_logger()
        self._answers = overridable.publisher(node, Answer, '~/answers', DEPTH)
        self._events = overridable.publisher(node, Event, '~/events', 10 * DEPTH)
        self.lateness = Lateness(node)
        self._settings: Settings | None = None
        self._model = ''

    def configure(self, settings: Settings, model: str) -> None:
        """Take the settings, and the identity of the tracker's checkpoint."""
        self._settings = settings
        self._model = model

    @property
    def overlay_quality(self) -> int:
        """JPEG quality of overlays."""
        return self._settings.overlay_quality

    def messages(self, entries: list[Entry]) -> list[TrackedObject]:
        """Objects as messages."""
        return [conversions.object_message(
            entry, self._model, with_mask=self._settings.publish_masks) for entry in entries]

    def while_current(self, epoch: int, publish: Callable[[], None]) -> bool:
        """Run `publish` unless `epoch` is over; returns whether it ran."""
        return self._table.while_current(epoch, publish)

    def answered(self, answer: Answer, arrived: float) -> bool:
        """Publish an answer that was asked for at `arrived` (monotonic seconds); returns whether
        its epoch still lasts."""
        lasts = self.while_current(answer.epoch, lambda: self._answers.publish(answer))
        if lasts:
            self.lateness.note(self._answers.topic_name, answer.header, arrived)
        return lasts

    def removed(self, epoch: int, entries: list[Entry]) -> None:
        """Publish that objects are gone."""
        for entry in entries:
            self.event(Event.OBJECT_REMOVED, epoch, Header(), object_id=entry.object_id,
                       camera=entry.camera)

    def told(self, kind: int, object_id: str, other_id: str = '') -> None:
        """Publish what was asked for of objects."""
        self.event(kind, self._table.epoch, Header(), object_id=object_id, other_id=other_id)

    def new_epoch(self, epoch: int, reason: str) -> None:
        """Log and publish that time began anew."""
        self._logger.warning(f'epoch {epoch} begins: {reason}')
        self.event(Event.NEW_EPOCH, epoch, Header(), error_msg=reason)

    def fault(self, epoch: int, what: str, error: PixelReferError, camera: str = '') -> None:
        """Log and publish that a worker failed on something and goes on."""
        self._logger.error(f'{error}\n{what}')
        self.event(Event.FAULT, epoch, Header(), error_code=conversions.error_number(error.code),
                   error_msg=error.message, camera=camera)

    def rejected(self, header: Header, error: PixelReferError, camera: str = '') -> None:
        """Log and publish that an image could not be used."""
        self._logger.warning(f'an image was rejected: {error}', throttle_duration_sec=5.0)
        self.event(Event.FRAME_REJECTED, self._table.epoch, header, camera=camera,
                   error_code=conversions.error_number(error.code), error_msg=error.message)

    def event(self, kind: int, epoch: int, header: Header, **values: object) -> None:
        """Publish an event of `epoch`."""
        event = Event(header=header, epoch=epoch, kind=kind, **values)
        self.while_current(epoch, lambda: self._events.publish(event))
