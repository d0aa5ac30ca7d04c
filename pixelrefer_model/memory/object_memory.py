# SPDX-License-Identifier: Apache-2.0
"""The memory of objects: a bounded deque of observations for each, newest last."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.choosing import Mark, choose
from pixelrefer_model.memory.observation import Observation
from pixelrefer_model.memory.window import Window


@dataclass(frozen=True)
class KeepLast:
    """Bound of the memory: the last `observations` of each object, the oldest going first."""

    observations: int


@dataclass(frozen=True)
class Selection:
    """What a question rests on: observations oldest first, how many in the window were left out
    to fit the budget, and the stamp from which the object's seconds count."""

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


class ObjectMemory:
    """Observations by object. Bounded by `keep` for each object, and by the number of objects
    that the tracker admits. One writer and any readers may call it from different threads; no
    call does more under the lock than move references.
    """

    def __init__(self, keep: KeepLast = KeepLast(32)) -> None:
        self._keep = keep
        self._lock = Lock()
        self._observations: dict[str, deque[Observation]] = {}
        self._origins: dict[str, int] = {}

    def observe(self, observations: list[Observation]) -> None:
        """Remember. What is of an older epoch, or within an epoch not newer than its object's
        last observation (a keyframe that comes late), is ignored: order in time always holds."""
        with self._lock:
            for new in observations:
                kept = self._observations.setdefault(
                    new.object_id, deque(maxlen=self._keep.observations))
                if kept and ((new.epoch, new.stamp_ns) <= (kept[-1].epoch, kept[-1].stamp_ns)):
                    continue
                if not kept or kept[-1].epoch != new.epoch:
                    # A new epoch is another clock: seconds count anew, older moments are gone.
                    kept.clear()
                    self._origins[new.object_id] = new.stamp_ns
                kept.append(new)

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
            kept = [list(self._observations.get(i, ())) for i in object_ids]
            origins = [self._origins.get(i, 0) for i in object_ids]
        inside = [[o for o in window.of(every) if o.key == key] for every in kept]
        chosen = choose([[Mark(o.stamp_ns, o.reason) for o in one] for one in inside], most)
        for object_id, every, one in zip(object_ids, kept, inside):
            if not one:
                raise nothing_seen(object_id, [o.stamp_ns for o in every],
                                   sum(o.key != key for o in window.of(every)))
        return [Selection([one[place] for place in places], len(one) - len(places), origin)
                for one, places, origin in zip(inside, chosen, origins)]

    def last_ns(self, object_id: str, epoch: int) -> int | None:
        """Stamp of the object's newest observation in `epoch`, or None."""
        with self._lock:
            kept = self._observations.get(object_id)
            return kept[-1].stamp_ns if kept and kept[-1].epoch == epoch else None

    def forget(self, object_id: str) -> None:
        """Drop every observation of an object; unknown ids are no error."""
        with self._lock:
            self._observations.pop(object_id, None)
            self._origins.pop(object_id, None)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._observations.clear()
            self._origins.clear()

    def held(self) -> tuple[int, int]:
        """Observations held, and bytes of their tokens; a shared image counts once."""
        with self._lock:
            every = [o for kept in self._observations.values() for o in kept]
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
