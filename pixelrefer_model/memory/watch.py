# SPDX-License-Identifier: Apache-2.0
"""Watching a camera's tracks: what happens to objects, and which are due for an observation."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from pixelrefer_model.memory.happenings import Happenings
from pixelrefer_model.memory.keyframes import KeyframePolicy, Look
from pixelrefer_model.memory.observation import Whereabouts
from pixelrefer_model.memory.record import Happening
from pixelrefer_model.sam2 import Track, TrackState

#: Events that no observation can show.
GONE = ('occluded', 'lost')


@dataclass(frozen=True)
class Due:
    """A track that is worth an observation: reason as in Observation, and its place if known."""

    track: Track = field(repr=False)
    reason: str = 'interval'
    where: Whereabouts | None = None


class Watch:
    """Feed it every frame of a camera in order. Bounded by the number of objects; one thread.

    fixed_frame: tf frame that stands still; only places in it tell whether something moved.
    """

    def __init__(self, epoch: int = 0, fixed_frame: str = '') -> None:
        self._happenings = Happenings(epoch)
        self._fixed_frame = fixed_frame
        #: The last observed look at each object.
        self._looks: dict[str, Look] = {}
        #: Kinds of events that no observation shows yet, by object.
        self._unseen: dict[str, list[str]] = {}

    def see(self, image: np.ndarray, tracks: Sequence[Track], policy: KeyframePolicy,
            where: Mapping[str, Whereabouts] = {}) -> tuple[list[Due], list[Happening]]:
        """The tracks of a frame that deserve an observation, and what is new with it. image: uint8
        [H, W, 3]; where: places of objects, by id. Only clear sight counts: a doubtful mask would
        be remembered as if it were the object."""
        happened = self._happenings.see(tracks, {
            object_id: place for object_id, place in where.items()
            if place.frame == self._fixed_frame})
        kinds = defaultdict(list)
        for event in happened:
            for object_id in filter(None, (event.object_id, event.other)):
                kinds[object_id].append(event.kind)
        self._keep({track.object_id for track in tracks})
        due = []
        for track in tracks:
            unseen = self._unseen.setdefault(track.object_id, [])
            unseen += [kind for kind in kinds[track.object_id] if kind not in unseen]
            if 'back' in unseen:
                # That it was gone is shown by nothing; the next clear sight shows that it is back.
                unseen[:] = [kind for kind in unseen if kind not in GONE]
            if not _clear(track):
                continue
            look = Look(track.stamp_ns, track.box, track.area, mean_colour(image, track),
                        where.get(track.object_id), tuple(unseen))
            reason = policy.due(look, self._looks.get(track.object_id))
            if reason:
                due.append(self._note(track, look, reason))
        return due, happened

    def selected(self, track: Track, where: Whereabouts | None = None
                 ) -> tuple[list[Due], list[Happening]]:
        """An object was prompted: it is observed at once where it is clearly seen, and has appeared
        if it was not there before. As `see`, of this object alone."""
        self.forget(track.object_id)
        happened = self._happenings.begin(track)
        if not _clear(track):
            return [], happened
        look = Look(track.stamp_ns, track.box, track.area, where=where)
        return [self._note(track, look, 'appeared' if happened else 'interval')], happened

    def forget(self, object_id: str) -> None:
        """What is seen of an object from now on is due anew."""
        self._looks.pop(object_id, None)
        self._unseen.pop(object_id, None)

    def gone(self, object_id: str) -> None:
        """An object is tracked no longer, or is another now: under its id one may appear."""
        self.forget(object_id)
        self._happenings.forget(object_id)

    def rename(self, old: str, new: str) -> None:
        """An object has another id now; it is no other object."""
        self._happenings.rename(old, new)
        for known in (self._looks, self._unseen):
            if old in known:
                known[new] = known.pop(old)

    def _note(self, track: Track, look: Look, reason: str) -> Due:
        self._looks[track.object_id] = look
        self._unseen.pop(track.object_id, None)
        return Due(track, reason, look.where)

    def _keep(self, ids: set[str]) -> None:
        for known in (self._looks, self._unseen):
            for object_id in [i for i in known if i not in ids]:
                del known[object_id]


def mean_colour(image: np.ndarray, track: Track) -> tuple[float, float, float]:
    """Mean of an object's pixels, 0 to 255."""
    x, y, width, height = track.box
    part = slice(y, y + height), slice(x, x + width)
    return cv2.mean(image[part], track.mask[part].view(np.uint8))[:3]


def _clear(track: Track) -> bool:
    return track.state is TrackState.TRACKED and track.mask is not None
