# SPDX-License-Identifier: Apache-2.0
"""The memory that lasts: what is recent in RAM, all else in the store."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.choosing import Mark, choose
from pixelrefer_model.memory.forgetting import erase, forget
from pixelrefer_model.memory.history import RECENT, history_of, placed
from pixelrefer_model.memory.joining import join, split
from pixelrefer_model.memory.object_memory import KeepLast, ObjectMemory, Selection, nothing_seen
from pixelrefer_model.memory.observation import Observation
from pixelrefer_model.memory.record import Happening, Moment, Record, Told
from pixelrefer_model.memory.recorder import Recorder
from pixelrefer_model.memory.window import Now, Span, Window, passed_over

#: Stamps from the beginning to the end of time.
ALWAYS = Span(0, (1 << 63) - 1)
#: What numbers follow in ids: one for each camera, unless users make up others.
MOST_STEMS = 256
_NUMBERED = re.compile(r'(.*object_)([0-9]{1,9})')


class LongMemory(ObjectMemory):
    """An ObjectMemory whose observations are recorded too, and questions about the past rest on
    what is stored, also of objects that are tracked no longer. Its seconds count from an object's
    first sighting in this line of time. Whoever made the recorder ends it.

    recall: whether tokens of the store make a prompt; not those of a model that reads the whole
    image too, which is not stored.
    """

    def __init__(self, keep: KeepLast, recorder: Recorder, *, recall: bool = True) -> None:
        super().__init__(keep)
        self.recorder = recorder
        self._store = recorder.store
        self._recall = recall
        #: Objects of which `Now` is still to come: a new epoch began since they were seen.
        self._awaited: set[str] = set()
        #: Of ids that end in a number, the highest one observed in this run, by what it follows.
        self._highest: dict[str, int] = {}
        #: Lines of time that the recorder has still to begin; until then what is stored is of the
        #: time before.
        self._lines_to_begin = 0

    def _take(self, new: Observation) -> bool:
        if not super()._take(new):
            return False
        self._awaited.discard(new.object_id)
        if (named := _NUMBERED.fullmatch(new.object_id)) is not None:
            stem, number = named.groups()
            self._highest[stem] = max(self._highest.pop(stem, 0), int(number))
            if len(self._highest) > MOST_STEMS:
                del self._highest[next(iter(self._highest))]
        self.recorder.put([new])
        return True

    def record(self, records: Sequence[Record]) -> None:
        """Remember events and answers, but for those of what was forgotten meanwhile."""
        with self._lock:
            self.recorder.put([one for one in records if not self._of_forgotten(one)])

    def _of_forgotten(self, record: Record) -> bool:
        if isinstance(record, Told):
            since_ns = record.stamp_ns if record.since_ns is None else record.since_ns
            return any(self._withheld(one, since_ns, record.stamp_ns) for one in record.object_ids)
        return isinstance(record, Happening) and any(
            self._withheld(one, record.stamp_ns, record.stamp_ns)
            for one in (record.object_id, record.other) if one)

    def select_all(self, object_ids: Sequence[str], window: Window, most: int,
                   key: str) -> list[Selection]:
        """As ObjectMemory, with what is stored. `Now` is the newest that there is of an object; of
        one that is tracked, of this epoch. Raises PixelReferError MEMORY where stored tokens are
        lost."""
        if not self._recall:
            return super().select_all(object_ids, window, most, key)
        try:
            return self._select_all(object_ids, window, most, key)
        except PixelReferError as error:
            if error.code != 'MEMORY':
                raise
        # What was chosen may have been let go of before it was read.
        return self._select_all(object_ids, window, most, key)

    def _select_all(self, object_ids: Sequence[str], window: Window, most: int,
                    key: str) -> list[Selection]:
        found = [self._marks(object_id, window, key) for object_id in object_ids]
        chosen = choose([[Mark(one.stamp_ns, one.reason) for one in every]
                         for every, _ in found], most)
        selections = []
        for object_id, (every, besides), places in zip(object_ids, found, chosen):
            if not every:
                moments = self._stored(object_id, ALWAYS)
                raise nothing_seen(object_id, [one.stamp_ns for one in moments], sum(
                    one.key != key for one in _within(moments, window)))
            observations = [
                one if isinstance(one, Observation) else self._store.observations([one])[0]
                for one in (every[place] for place in places)]
            selections.append(Selection(
                observations, len(every) - len(places) + besides,
                self._origin(object_id, every[0])))
        return selections

    def knows(self, object_id: str) -> bool:
        """Whether anything is remembered of an object, of whatever time."""
        return super().knows(object_id) or self._store.knows(object_id)

    def highest(self, stem: str) -> int:
        stored = self._store.highest(stem)
        with self._lock:
            return max(stored, self._highest.get(stem, 0))

    def history(self, object_ids: Sequence[str], window: Window,
                fixed_frame: str | None = None) -> list[str]:
        """As ObjectMemory; `Now` is all of this line of time. See `tell_history`."""
        span = ALWAYS if isinstance(window, Now) else window
        if self._lines_to_begin:
            return []
        unplaced = [] if fixed_frame is None else [
            one for one in object_ids if not self._placed(one, span, fixed_frame)]
        return history_of(self._store, object_ids, span, unplaced)

    def _placed(self, object_id: str, span: Span, frame: str) -> bool:
        with self._lock:
            recent = span.of(list(self._observations.get(object_id, ())))
        # What was observed a moment ago is not stored yet.
        return any(one.where is not None and one.where.frame == frame for one in recent[-RECENT:]
                   ) or placed(self._store, object_id, span.end_ns, frame)

    # --- when objects go or are taken for one another

    def release(self, object_id: str) -> None:
        """An object is tracked no longer; what is stored of it stays."""
        with self._lock:
            self._awaited.discard(object_id)
            self._pointed.pop(object_id, None)
            if kept := self._observations.get(object_id):
                # Until it is stored it is known from here.
                self.recorder.submit(lambda _store: None).add_done_callback(
                    partial(self._released, object_id, kept[-1]))

    def expect(self, object_id: str) -> None:
        with self._lock:
            self._awaited.add(object_id)

    def _keep_only(self, object_id: str, observations: list[Observation],
                   origins: Sequence[int] = ()) -> None:
        kept, first = self._observations.get(object_id), self._firsts.get(object_id)
        if kept and observations and observations[-1] is first and \
                first.stamp_ns < kept[0].stamp_ns:
            # The first one alone: of what came between, the store knows more than is at hand.
            observations = []
        super()._keep_only(object_id, observations, origins)

    def erase(self, object_id: str) -> None:
        """Another object takes this id: drop what is remembered under it, from RAM at once and
        from the store in its turn."""
        with self._lock:
            super().erase(object_id)
            self.recorder.submit(lambda store: erase(store, object_id))

    def in_turn(self, act: Callable[[], Any]) -> Future:
        """As ObjectMemory; it is done by the recorder's thread."""
        return self.recorder.submit(lambda _store: act())

    def forget(self, object_ids: Sequence[str], span: Span | None, until_ns: int) -> int:
        """As ObjectMemory, in every file too, see `forgetting`; counts what was stored."""
        self.withhold(object_ids, span, until_ns)
        if not object_ids and span is None:
            with self._lock:
                self._highest.clear()
        return forget(self._store, object_ids, span if span is None else Span(
            span.start_ns, max(span.start_ns, min(span.end_ns, until_ns))))

    def join(self, keep: str, merge: str) -> int:
        """As ObjectMemory, in the store first; counts what was stored."""
        moved = join(self._store, keep, merge)
        with self._lock:
            self._join(keep, merge)
            self._move_awaited(merge, keep)
        return moved

    def split(self, object_id: str, from_ns: int, new_id: str) -> int:
        """As ObjectMemory, in the store first; counts what was stored."""
        moved = split(self._store, object_id, from_ns, new_id)
        with self._lock:
            self._split(object_id, from_ns, new_id)
            self._move_awaited(object_id, new_id)
        return moved

    def clear(self, *, back: bool = False, tracked: Sequence[str] = ()) -> None:
        """As ObjectMemory; what is stored stays. back: because stamps went back, so that a new
        line of time begins and what was stored until now is of another."""
        with self._lock:
            for object_id in () if back else [i for i in self._observations if i not in tracked]:
                self.release(object_id)
            going = {i: (self._kept(i), self._origins[i]) for i in self._observations
                     if i not in tracked and not back}
            super().clear()
            for object_id, (kept, origin) in going.items():
                self._keep_only(object_id, kept, [origin])
            self._awaited = set(tracked)
            if back:
                self._lines_to_begin += 1
                self.recorder.submit(lambda store: store.begin_line()).add_done_callback(
                    self._line_begun)
            else:
                self.recorder.submit(lambda store: store.expect_line())

    def flush(self) -> None:
        self.recorder.flush()

    def _move_awaited(self, old: str, new: str) -> None:
        if old in self._awaited:
            self._awaited.discard(old)
            self._awaited.add(new)

    def _released(self, object_id: str, last: Observation, _future: Future) -> None:
        with self._lock:
            kept = self._observations.get(object_id)
            if kept and kept[-1] is last:
                super().erase(object_id)

    def _line_begun(self, _future: Future) -> None:
        with self._lock:
            self._lines_to_begin -= 1

    # --- what there is

    def _marks(self, object_id: str, window: Window, key: str
               ) -> tuple[list[Observation | Moment], int]:
        """What there is of an object in a window, oldest first, from RAM where it is there; and how
        many newer ones were passed over for now."""
        now = isinstance(window, Now)
        with self._lock:
            held = self._at_hand(object_id)
            awaited = object_id in self._awaited
        recent, within = held.every, held.within(window)
        marks: dict[int, Observation | Moment] = {}
        if not (now and (recent or awaited)):
            marks = {one.stamp_ns: one for one in _within(self._stored(
                object_id, ALWAYS if now else window, anytime=now), window) if one.key == key}
        marks |= {one.stamp_ns: one for one in within if one.key == key}
        return [marks[stamp] for stamp in sorted(marks)], passed_over(recent, within) if now else 0

    def _stored(self, object_id: str, span: Span, *, anytime: bool = False) -> list[Moment]:
        """What is stored of an object in this line of time; anytime: or else in its last one."""
        with self._lock:
            stale = self._lines_to_begin > 0
        moments = [] if stale else self._store.moments(object_id, span)
        if not moments and anytime and (line := self._store.last_line(object_id)) is not None:
            moments = self._store.moments(object_id, span, line)
        return moments

    def _origin(self, object_id: str, oldest: Observation | Moment) -> int:
        line = oldest.line if isinstance(oldest, Moment) else self._store.line
        first = None if self._lines_to_begin else self._store.first_ns(object_id, line)
        return oldest.stamp_ns if first is None else min(oldest.stamp_ns, first)


def _within(moments: list[Moment], window: Window) -> list[Moment]:
    return moments[-1:] if isinstance(window, Now) else moments
