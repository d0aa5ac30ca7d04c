# SPDX-License-Identifier: Apache-2.0
"""The memory of objects: a bounded deque of observations for each, newest last."""

from collections import deque
from dataclasses import dataclass
from threading import Lock

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.observation import Observation
from pixelrefer_model.memory.window import Window, evenly_spread


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
        """At most `most` observations of `object_id` within `window`, made with `key`.

        Raises PixelReferError NO_OBSERVATION when there is none and BAD_BUDGET for `most` < 1.
        """
        if most < 1:
            raise PixelReferError('BAD_BUDGET', f'{most} frames asked for; at least 1 is allowed')
        with self._lock:
            kept = list(self._observations.get(object_id, ()))
            origin = self._origins.get(object_id, 0)
        inside = [o for o in window.of(kept) if o.key == key]
        if not inside:
            held = (f'held are stamps {kept[0].stamp_ns / 1e9:.3f} to '
                    f'{kept[-1].stamp_ns / 1e9:.3f} s' if kept
                    else 'it has not been seen clearly yet')
            raise PixelReferError(
                'NO_OBSERVATION', f'object {object_id!r} has no observation in the window; {held}')
        chosen = evenly_spread(inside, most)
        return Selection(chosen, len(inside) - len(chosen), origin)

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
