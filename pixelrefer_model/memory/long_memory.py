# SPDX-License-Identifier: Apache-2.0
"""The memory that lasts: what is recent in RAM, all else in the store."""

from collections.abc import Sequence

from pixelrefer_model.memory.choosing import Mark, choose
from pixelrefer_model.memory.object_memory import KeepLast, ObjectMemory, Selection, nothing_seen
from pixelrefer_model.memory.observation import Observation
from pixelrefer_model.memory.record import Moment, Record
from pixelrefer_model.memory.recorder import Recorder
from pixelrefer_model.memory.window import Now, Span, Window

#: Stamps from the beginning to the end of time.
ALWAYS = Span(0, (1 << 63) - 1)


class LongMemory(ObjectMemory):
    """An ObjectMemory whose observations are recorded too, and questions about the past rest on
    what is stored. Its seconds count from an object's first sighting in this line of time. Whoever
    made the recorder ends it."""

    def __init__(self, keep: KeepLast, recorder: Recorder) -> None:
        super().__init__(keep)
        self.recorder = recorder
        self._store = recorder.store

    def observe(self, observations: list[Observation]) -> None:
        """Remember, here and in the store."""
        super().observe(observations)
        self.recorder.put(observations)

    def record(self, records: Sequence[Record]) -> None:
        """Remember events and answers."""
        self.recorder.put(records)

    def select_all(self, object_ids: Sequence[str], window: Window, most: int,
                   key: str) -> list[Selection]:
        """As ObjectMemory, with what is stored. `Now` is the newest that there is of an object,
        also where that is long ago. Raises PixelReferError MEMORY where stored tokens are lost."""
        found = [self._marks(object_id, window, key) for object_id in object_ids]
        chosen = choose([[Mark(one.stamp_ns, one.reason) for one in every] for every in found],
                        most)
        selections = []
        for object_id, every, places in zip(object_ids, found, chosen):
            if not every:
                moments = self._store.moments(object_id, ALWAYS)
                raise nothing_seen(object_id, [one.stamp_ns for one in moments], sum(
                    one.key != key for one in self._within(moments, window)))
            observations = [
                one if isinstance(one, Observation) else self._store.observations([one])[0]
                for one in (every[place] for place in places)]
            selections.append(Selection(
                observations, len(every) - len(places), self._origin(object_id, every[0])))
        return selections

    def _marks(self, object_id: str, window: Window, key: str) -> list[Observation | Moment]:
        """What there is of an object in a window, oldest first; from RAM where it is there."""
        with self._lock:
            recent = list(self._observations.get(object_id, ()))
        marks: dict[int, Observation | Moment] = {}
        if not (isinstance(window, Now) and recent):
            marks = {one.stamp_ns: one for one in self._within(
                self._store.moments(object_id, ALWAYS if isinstance(window, Now) else window),
                window) if one.key == key}
        marks |= {one.stamp_ns: one for one in window.of(recent) if one.key == key}
        return [marks[stamp] for stamp in sorted(marks)]

    def _within(self, moments: list[Moment], window: Window) -> list[Moment]:
        return moments[-1:] if isinstance(window, Now) else moments

    def _origin(self, object_id: str, oldest: Observation | Moment) -> int:
        rows = self._store.query(
            'SELECT min(stamp_ns) FROM observations WHERE object = ? AND line = ?',
            (object_id, self._store.line))
        return min(oldest.stamp_ns, rows[0][0]) if rows[0][0] is not None else oldest.stamp_ns
