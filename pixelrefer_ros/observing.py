# SPDX-License-Identifier: Apache-2.0
"""What a camera's tracks are worth remembering: events, and keyframes for the encoder."""

from typing import Any, Protocol

from pixelrefer.msg import Event
from pixelrefer_model.frame import Frame
from pixelrefer_ros import models
from pixelrefer_ros.encoding import EncodingWorker, Keyframe
from pixelrefer_ros.objects import Entry, ObjectTable

#: Events that are published; of the others the change of an object's state tells.
KINDS = {'moved': Event.MOVED, 'at_rest': Event.AT_REST, 'touched': Event.TOUCHED}


class Output(Protocol):
    """Where events go."""

    def happened(self, frame: Frame, epoch: int, kind: int, object_id: str, other_id: str
                 ) -> None: ...


class Observing:
    """Of one camera; called by the tracking worker. fixed_frame: tf frame in which it is known
    whether something moved."""

    def __init__(self, engine: Any, table: ObjectTable, encoder: EncodingWorker, output: Output,
                 fixed_frame: str = '') -> None:
        self._engine = engine
        self._table = table
        self._encoder = encoder
        self._output = output
        self._fixed_frame = fixed_frame
        self._watch = models.watch(table.epoch, fixed_frame)

    def begin(self, epoch: int) -> None:
        """A new epoch: every object is seen for the first time."""
        self._watch = models.watch(epoch, self._fixed_frame)

    def rename(self, old: str, new: str) -> None:
        """An object has another id now."""
        self._watch.rename(old, new)

    def gone(self, object_id: str) -> None:
        """An object is tracked no longer, or is another now."""
        self._watch.gone(object_id)

    def see(self, frame: Frame, epoch: int, tracks: list) -> None:
        """A frame was tracked: tell what happened, and hand in what is due."""
        entries = {entry.object_id: entry for entry in map(
            self._table.get, (track.object_id for track in tracks)) if entry is not None}
        where = {object_id: place for object_id, entry in entries.items()
                 if (place := place_of(entry)) is not None}
        # Also of those that have no entry any more, which may have another name by now.
        due, happened = self._watch.see(
            frame.image, tracks, self._engine.settings.keyframes, where)
        due = [one for one in due if one.track.object_id in entries]
        self._engine.memory.record(happened)
        for event in happened:
            if event.kind in KINDS:
                self._output.happened(
                    frame, epoch, KINDS[event.kind], event.object_id, event.other)
        if due:
            self._encoder.submit(frame, epoch, [
                Keyframe(one.track.object_id, entries[one.track.object_id].generation, one)
                for one in due])

    def selected(self, entry: Entry, track: Any) -> list[Keyframe]:
        """An object was prompted: the keyframe that shows it, if it is clearly seen."""
        due, happened = self._watch.selected(track, place_of(entry))
        self._engine.memory.record(happened)
        return [Keyframe(entry.object_id, entry.generation, one) for one in due]


def place_of(entry: Entry) -> Any:
    """Where an object is, as the memory keeps it; None: that is not known."""
    position = entry.sight.position
    return None if position is None else models.whereabouts(position.frame_id, position.placed)
