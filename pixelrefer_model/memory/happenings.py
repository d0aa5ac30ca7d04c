# SPDX-License-Identifier: Apache-2.0
"""What happens to objects, from what the tracker says of them frame by frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import cv2
import numpy as np

from pixelrefer_model.memory.observation import Whereabouts
from pixelrefer_model.memory.record import Happening
from pixelrefer_model.sam2 import Track, TrackState

#: An object has moved when it is so far from where it rested: metres, or deviations of the
#: difference if that is more; it is at rest when it stayed within half of that for so long.
MOVED_M, MOVED_DEVIATIONS, REST_S = 0.04, 4.0, 1.0
#: Objects touch when their masks are within so many pixels for so many frames that follow one
#: another; they are apart after as many without.
TOUCH_PX, TOUCH_FRAMES = 2, 3


@dataclass
class _Known:
    """state: of the last frame. anchor: where it rested; moving since it was left. still: where it
    has been since still_ns."""

    state: TrackState
    anchor: Whereabouts | None = None
    still: Whereabouts | None = None
    still_ns: int = 0
    moving: bool = False
    touching: dict[str, int] = field(default_factory=dict)


class Happenings:
    """Feed it every frame of a camera in order. Bounded by the number of objects; one thread.

    Whether something moved is known only of places in a frame that stands still, and of these the
    caller gives none that is the camera's own.
    """

    def __init__(self, epoch: int = 0) -> None:
        self._epoch = epoch
        self._known: dict[str, _Known] = {}

    def see(self, tracks: Sequence[Track], where: Mapping[str, Whereabouts]) -> list[Happening]:
        """What is new with this frame. where: places of objects, by id."""
        self._known = {track.object_id: self._known[track.object_id] for track in tracks
                       if track.object_id in self._known}
        for known in self._known.values():
            for gone in [one for one in known.touching if one not in self._known]:
                del known.touching[gone]
        found = []
        for track in tracks:
            found += [Happening(track.object_id, kind, self._epoch, track.stamp_ns)
                      for kind in self._alone(track, where.get(track.object_id))]
        seen = [track for track in tracks if track.state is TrackState.TRACKED
                and track.mask is not None]
        for one, other in combinations(seen, 2):
            if self._begin_to_touch(one, other):
                found.append(Happening(one.object_id, 'touched', self._epoch, one.stamp_ns,
                                       other=other.object_id))
        return found

    def begin(self, track: Track) -> list[Happening]:
        """An object was selected in this frame: what is new with it, if it was not there before."""
        if track.object_id in self._known:
            return []
        return [Happening(track.object_id, kind, self._epoch, track.stamp_ns)
                for kind in self._alone(track, None)]

    def forget(self, object_id: str) -> None:
        """An object is tracked no longer, or is another now: under its id one may appear."""
        self._known.pop(object_id, None)

    def rename(self, old: str, new: str) -> None:
        """An object has another id now."""
        if old in self._known:
            self._known[new] = self._known.pop(old)
        for known in self._known.values():
            if old in known.touching:
                known.touching[new] = known.touching.pop(old)

    def _alone(self, track: Track, where: Whereabouts | None) -> list[str]:
        known = self._known.get(track.object_id)
        if known is None:
            known = self._known[track.object_id] = _Known(track.state)
            kinds = ['appeared'] if track.state.in_view else []
        else:
            kinds = _change(known.state, track.state)
            known.state = track.state
        if where is not None and track.state is TrackState.TRACKED:
            kinds += _motion(known, where, track.stamp_ns)
        return kinds

    def _begin_to_touch(self, one: Track, other: Track) -> bool:
        frames = self._known[one.object_id].touching
        before = frames.get(other.object_id, 0)
        if _near(one, other):
            now = min(before + 1, TOUCH_FRAMES) if before >= 0 else 0
            # What touched and came apart for a frame or two has touched all the time.
            frames[other.object_id] = now if before >= 0 else TOUCH_FRAMES
            return 0 <= before < TOUCH_FRAMES == now
        # Negative: they touched, and have been apart for so many frames.
        apart = before - 1 if before < 0 else (-1 if before == TOUCH_FRAMES else 0)
        frames[other.object_id] = 0 if apart <= -TOUCH_FRAMES else apart
        return False


def _change(before: TrackState, now: TrackState) -> list[str]:
    if before is now or (before.in_view and now.in_view):
        return []
    if now.in_view:
        return ['back']
    return ['lost' if now is TrackState.LOST else 'occluded']


def _motion(known: _Known, where: Whereabouts, stamp_ns: int) -> list[str]:
    if known.anchor is None or known.anchor.frame != where.frame:
        known.anchor = known.still = where
        known.still_ns, known.moving = stamp_ns, False
        return []
    if not known.moving:
        if _apart(known.anchor, where) > 1.0:
            known.moving, known.still, known.still_ns = True, where, stamp_ns
            return ['moved']
        return []
    if _apart(known.still, where) > 0.5:
        known.still, known.still_ns = where, stamp_ns
    elif stamp_ns - known.still_ns >= REST_S * 1e9:
        known.moving, known.anchor = False, where
        return ['at_rest']
    return []


def _apart(one: Whereabouts, other: Whereabouts) -> float:
    """How far two places lie apart, as a share of what counts as moved."""
    between = one.position - other.position
    distance = float(np.linalg.norm(between))
    along = between / distance if distance else np.array([1.0, 0.0, 0.0])
    deviation = float(np.sqrt(max(0.0, along @ (one.covariance + other.covariance) @ along)))
    return distance / max(MOVED_M, MOVED_DEVIATIONS * deviation)


def _near(one: Track, other: Track) -> bool:
    """Whether two masks are within TOUCH_PX of one another."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = one.box, other.box
    left, top = max(ax, bx) - TOUCH_PX, max(ay, by) - TOUCH_PX
    right, bottom = min(ax + aw, bx + bw) + TOUCH_PX, min(ay + ah, by + bh) + TOUCH_PX
    if left >= right or top >= bottom:
        return False
    part = (slice(max(0, top), bottom), slice(max(0, left), right))
    kernel = np.ones((2 * TOUCH_PX + 1,) * 2, np.uint8)
    grown = cv2.dilate(one.mask[part].astype(np.uint8), kernel)
    return bool((grown & other.mask[part].astype(np.uint8)).any())
