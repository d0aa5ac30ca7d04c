# SPDX-License-Identifier: Apache-2.0
"""The memory of objects: of each its first observation and a bounded deque of the newest."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from threading import RLock
from typing import Any

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.choosing import Mark, choose
from pixelrefer_model.memory.observation import Observation
from pixelrefer_model.memory.record import Record
from pixelrefer_model.memory.window import Now, Span, Window, passed_over
from pixelrefer_model.settling import settle

#: Spans that were forgotten and are known, the newest.
MOST_FORGOTTEN = 1024
#: Stands for every object there.
EVERY = ''


@dataclass(frozen=True)
class KeepLast:
    """Bound of the memory: the last `observations` of each object, the oldest going first. first:
    whether the first one since somebody pointed at it is kept besides them."""

    observations: int
    first: bool = True


@dataclass(frozen=True)
class Selection:
    """What a question rests on: observations oldest first, how many in the window were left out
    to fit the budget, or, for now, are newer but show something else, and the stamp from which the
    object's seconds count."""

    observations: list[Observation]
    left_out: int
    origin_ns: int

    @property
    def seconds(self) -> list[float]:
        """Time of each observation since the origin."""
        return [(o.stamp_ns - self.origin_ns) / 1e9 for o in self.observations]

    def without(self, oldest: int) -> 'Selection':
        """The same with so many of the oldest left out."""
        return Selection(self.observations[oldest:], self.left_out + oldest, self.origin_ns)


@dataclass(frozen=True)
class AtHand:
    """What a memory holds of an object: the newest, oldest first, and that of its selection, which
    may be older than they are."""

    recent: list[Observation]
    first: Observation | None

    @property
    def every(self) -> list[Observation]:
        """All of it, oldest first."""
        if not self.recent or self.first is None or \
                self.first.stamp_ns >= self.recent[0].stamp_ns:
            return self.recent
        return [self.first, *self.recent]

    def within(self, window: Window) -> list[Observation]:
        """What a window is about."""
        if isinstance(window, Now):
            return window.of(self.recent, self.first)
        return window.of(self.every)


class ObjectMemory:
    """Observations by object. Bounded by `keep` for each object, and by the number of objects
    that the tracker admits. One writer and any readers may call it from different threads; no
    call does more under the lock than move references.

    It remembers objects while they are tracked and nothing else. LongMemory, which lasts, has the
    same calls.
    """

    def __init__(self, keep: KeepLast = KeepLast(32)) -> None:
        self.keep = keep
        self._lock = RLock()
        self._observations: dict[str, deque[Observation]] = {}
        self._firsts: dict[str, Observation] = {}
        #: From which stamp on an observation is the first one, of objects that were pointed at.
        self._pointed: dict[str, int] = {}
        self._origins: dict[str, int] = {}
        #: What was forgotten last: of which object, and when.
        self._forgotten: deque[tuple[str, Span]] = deque(maxlen=MOST_FORGOTTEN)

    def observe(self, observations: list[Observation]) -> None:
        """Remember. What is of an older epoch, or within an epoch not newer than its object's
        last observation (a keyframe that comes late), is ignored: order in time always holds. So
        is what comes late of a time that was forgotten."""
        with self._lock:
            for new in observations:
                self._take(new)

    def _take(self, new: Observation) -> bool:
        """Whether an observation is remembered."""
        if self._withheld(new.object_id, new.stamp_ns, new.stamp_ns):
            return False
        kept = self._observations.setdefault(
            new.object_id, deque(maxlen=self.keep.observations))
        if kept and ((new.epoch, new.stamp_ns) <= (kept[-1].epoch, kept[-1].stamp_ns)):
            return False
        if not kept or kept[-1].epoch != new.epoch:
            # A new epoch is another clock: seconds count anew, older moments are gone.
            kept.clear()
            self._origins[new.object_id] = new.stamp_ns
            self._firsts.pop(new.object_id, None)
        anew = self._pointed.get(new.object_id, math.inf) <= new.stamp_ns
        if anew:
            del self._pointed[new.object_id]
        if self.keep.first and (anew or new.object_id not in self._firsts):
            self._firsts[new.object_id] = new
        kept.append(new)
        return True

    def record(self, records: Sequence[Record]) -> None:
        """Remember events and answers; this memory has no place for them."""

    def select(self, object_id: str, window: Window, most: int, key: str) -> Selection:
        """As `select_all`, for one object."""
        return self.select_all([object_id], window, most, key)[0]

    def select_all(self, object_ids: Sequence[str], window: Window, most: int,
                   key: str) -> list[Selection]:
        """At most `most` observations of each object within `window`, made with `key`, those of
        several objects at like times, see `choose`.

        Raises PixelReferError NO_OBSERVATION when there is none of one of them, and BAD_BUDGET for
        `most` < 1.
        """
        with self._lock:
            held = [self._at_hand(i) for i in object_ids]
            origins = [self._origins.get(i, 0) for i in object_ids]
        kept = [one.every for one in held]
        within = [one.within(window) for one in held]
        inside = [[o for o in one if o.key == key] for one in within]
        chosen = choose([[Mark(o.stamp_ns, o.reason) for o in one] for one in inside], most)
        for object_id, every, found, one in zip(object_ids, kept, within, inside):
            if not one:
                raise nothing_seen(object_id, [o.stamp_ns for o in every], len(found))
        besides = [passed_over(every, one) if isinstance(window, Now) else 0
                   for every, one in zip(kept, inside)]
        return [Selection([one[place] for place in places], len(one) - len(places) + more, origin)
                for one, places, more, origin in zip(inside, chosen, besides, origins)]

    def knows(self, object_id: str) -> bool:
        """Whether anything is remembered of an object."""
        with self._lock:
            return bool(self._observations.get(object_id))

    def highest(self, stem: str) -> int:
        """The highest number of a remembered id that is `stem` and a number; 0: there is none. Only
        what outlives its tracking counts."""
        return 0

    def history(self, object_ids: Sequence[str], window: Window,
                fixed_frame: str | None = None) -> list[str]:
        """What happened to objects within a window, in sentences for a prompt; this memory knows of
        nothing. fixed_frame: tf frame that stands still, in which places tell whether something
        moved ('': there is none); where that could not be told, it is said. None: it is not."""
        return []

    # --- when objects go or are taken for one another

    def release(self, object_id: str) -> None:
        """An object is tracked no longer."""
        self.erase(object_id)

    def expect(self, object_id: str) -> None:
        """An object is tracked from now on: questions about now wait until it is seen."""

    def pointed_at(self, object_id: str, stamp_ns: int) -> None:
        """Somebody showed on an image of this stamp where an object is: what is observed from then
        on is it, and the first of that takes the place of what was the first before."""
        with self._lock:
            self._pointed[object_id] = stamp_ns

    def erase(self, object_id: str) -> None:
        """Drop every observation of an object; unknown ids are no error."""
        with self._lock:
            self._keep_only(object_id, [])

    def in_turn(self, act: Callable[[], Any]) -> Future:
        """Have something done that may change what is stored, after all that was remembered before.
        The future has what it returns or raises."""
        return settle(Future(), act)

    def forget(self, object_ids: Sequence[str], span: Span | None, until_ns: int) -> int:
        """Forget what was within a span of objects (none named: of every one), or all of it, so
        that it is nowhere any more; nor is what comes late of it, of stamps up to `until_ns`.
        Returns how many observations went. Raises PixelReferError MEMORY. To be called
        `in_turn`."""
        return self.withhold(object_ids, span, until_ns)

    def withhold(self, object_ids: Sequence[str], span: Span | None, until_ns: int) -> int:
        """The part of `forget` that is done at once, by any thread: nothing of it is at hand, or
        remembered any more when it comes late."""
        late = Span(0, until_ns) if span is None else Span(
            span.start_ns, max(span.start_ns, min(span.end_ns, until_ns)))
        gone = 0
        with self._lock:
            self._forgotten += [(object_id, late) for object_id in object_ids or [EVERY]]
            for object_id in object_ids or list(self._observations):
                kept = self._kept(object_id)
                left = [o for o in kept if not late.of([o])]
                first = self._firsts.get(object_id)
                self._keep_only(object_id, left)
                gone += len(kept) - len(left)
                if left and first is not None and left[-1].stamp_ns < first.stamp_ns:
                    # What is left was corrected: what is seen next is the object.
                    self._pointed.setdefault(object_id, first.stamp_ns)
        return gone

    def join(self, keep: str, merge: str) -> int:
        """Give what is remembered of `merge` to `keep`. Returns how many observations changed
        hands. Raises PixelReferError MEMORY, and changes nothing then. To be called `in_turn`."""
        with self._lock:
            moved = len(self._kept(merge))
            self._join(keep, merge)
        return moved

    def split(self, object_id: str, from_ns: int, new_id: str) -> int:
        """Give what was observed of an object from a stamp on to another; as `join`."""
        with self._lock:
            self._split(object_id, from_ns, new_id)
            return len(self._kept(new_id))

    def _withheld(self, object_id: str, since_ns: int, until_ns: int) -> bool:
        """Whether something of this time is forgotten."""
        return any(name in (EVERY, object_id) and span.start_ns <= until_ns
                   and since_ns <= span.end_ns for name, span in self._forgotten)

    def _join(self, keep: str, merge: str) -> None:
        every = {(o.epoch, o.stamp_ns): replace(o, object_id=keep)
                 for object_id in (merge, keep) for o in self._kept(object_id)}
        origins = [self._origins[i] for i in (merge, keep) if i in self._origins]
        firsts = [self._firsts[i] for i in (merge, keep) if i in self._firsts]
        pointed = [self._pointed[i] for i in (merge, keep) if i in self._pointed]
        self._keep_only(merge, [])
        if firsts:  # the later selection is what it looked like then
            self._firsts[keep] = max(firsts, key=lambda one: (one.epoch, one.stamp_ns))
        self._keep_only(keep, [every[when] for when in sorted(every)], origins)
        # Whichever of both is tracked on: what was shown last and not observed yet, unless what was
        # selected later has been.
        self._pointed.pop(keep, None)
        first = self._firsts.get(keep)
        if pointed and (first is None or max(pointed) > first.stamp_ns):
            self._pointed[keep] = max(pointed)

    def _split(self, object_id: str, from_ns: int, new_id: str) -> None:
        kept, first = self._kept(object_id), self._firsts.get(object_id)
        origins = [self._origins[object_id]] if kept else []
        if first is not None and first.stamp_ns >= from_ns:
            self._firsts[new_id] = first
        # What is tracked goes on as the other, and so does what was shown and not observed yet.
        pointed = self._pointed.pop(object_id, None)
        self._keep_only(object_id, [o for o in kept if o.stamp_ns < from_ns], origins)
        self._keep_only(new_id, [
            replace(o, object_id=new_id) for o in kept if o.stamp_ns >= from_ns])
        if pointed is not None:
            self._pointed[new_id] = pointed

    def _kept(self, object_id: str) -> list[Observation]:
        """All that there is of an object, oldest first."""
        return self._at_hand(object_id).every

    def _at_hand(self, object_id: str) -> AtHand:
        return AtHand(list(self._observations.get(object_id, ())), self._firsts.get(object_id))

    def _keep_only(self, object_id: str, observations: list[Observation],
                   origins: Sequence[int] = ()) -> None:
        """Let this be what there is of an object: its newest epoch's, oldest first. origins: from
        which its seconds count, if that was before."""
        newest = [o for o in observations if o.epoch == observations[-1].epoch]
        if newest:
            before = self._at_hand(object_id)
            # Between a first one that is older than the newest and these there was more.
            rolled = before.every is not before.recent and len(newest) > 1 and \
                (newest[0].epoch, newest[0].stamp_ns) == (before.first.epoch, before.first.stamp_ns)
            self._observations[object_id] = deque(newest[rolled:], maxlen=self.keep.observations)
            if self.keep.first:
                first = self._firsts.get(object_id, newest[0])
                # Where it goes the next one is what was selected, not one that was corrected.
                self._firsts[object_id] = next((o for o in newest if (o.epoch, o.stamp_ns) >= (
                    first.epoch, first.stamp_ns)), newest[0])
            self._origins[object_id] = min(newest[0].stamp_ns, *origins, newest[0].stamp_ns)
        else:
            self._observations.pop(object_id, None)
            self._firsts.pop(object_id, None)
            self._pointed.pop(object_id, None)
            self._origins.pop(object_id, None)

    def clear(self, *, back: bool = False, tracked: Sequence[str] = ()) -> None:
        """A new epoch begins: drop everything. back: because stamps went back. tracked: the objects
        that are tracked on; of these "now" is still to come."""
        with self._lock:
            self._observations.clear()
            self._firsts.clear()
            self._pointed.clear()
            self._origins.clear()
            self._forgotten.clear()

    def flush(self) -> None:
        """Wait until all that was remembered can be asked about."""

    def held(self) -> tuple[int, int]:
        """Observations held, and bytes of their tokens; a shared image counts once."""
        with self._lock:
            every = [o for object_id in self._observations for o in self._kept(object_id)]
        images = {id(o.image): o.image.nbytes for o in every if o.image is not None}
        return len(every), sum(o.bytes for o in every) + sum(images.values())


def nothing_seen(object_id: str, held_ns: Sequence[int], of_other_keys: int) -> PixelReferError:
    """What is said of an object that was not seen within a window. held_ns: stamps of what there
    is of it, oldest first; of_other_keys: observations in the window that cannot be used."""
    held = (f'held are stamps {held_ns[0] / 1e9:.3f} to {held_ns[-1] / 1e9:.3f} s' if held_ns
            else 'it has not been seen clearly yet')
    other = (f'; {of_other_keys} were made with another checkpoint or other settings'
             if of_other_keys else '')
    return PixelReferError(
        'NO_OBSERVATION', f'object {object_id!r} has no observation in the window; {held}{other}')
