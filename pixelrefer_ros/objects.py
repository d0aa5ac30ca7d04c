# SPDX-License-Identifier: Apache-2.0
"""The table of objects: ids, indices, generations and the newest sight of each, and the epoch.

Any thread may read it and start an epoch; only the tracking worker adds objects and sights. Its
lock is held for moving references, by `while_current` for publishing, and while two objects are
joined, or one is split, in the store; never for inference.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock

import numpy as np

from pixelrefer.msg import TrackedObject
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.geometry import Placed

#: Values of a pixel of the label image; 0 is no object.
LARGEST_INDEX = 65_535
_ID = re.compile(r'[A-Za-z0-9_.:-]{1,64}')


@dataclass(frozen=True)
class Sight:
    """What the tracker said of an object last. state: as in TrackedObject. mask: bool [H, W]
    or None; box: around the mask, x, y, width, height in pixels, or None; stamps in nanoseconds,
    last_seen_ns 0 while the object was not seen in this epoch. position: None where
    position_error says why."""

    state: int
    score: float = 0.0
    box: tuple[int, int, int, int] | None = None
    area: int = 0
    mask: np.ndarray | None = field(default=None, repr=False)
    stamp_ns: int = 0
    last_seen_ns: int = 0
    position: 'Position | None' = None
    position_error: str = 'the object was not seen in this epoch'


@dataclass(frozen=True)
class Position:
    """Where an object is: of the depth image of this stamp and camera, in its frame or in the target
    frame.

    seen: the same in the depth image's own frame, where frame_id is the target frame.
    """

    frame_id: str
    stamp_ns: int
    placed: Placed
    seen: 'Position | None' = None
    camera: str = ''

    @property
    def as_seen(self) -> 'Position':
        """It in the depth image's own frame."""
        return self.seen or self

    @property
    def moment(self) -> tuple[int, str, str]:
        """Of what it was measured: alike for objects of one depth image. Two cameras may give alike
        stamps and frames."""
        return self.stamp_ns, self.frame_id, self.camera


#: Of every object when an epoch begins: stamps of the one before mean nothing in it.
NOT_SEEN = Sight(TrackedObject.LOST)


@dataclass(frozen=True)
class Entry:
    """One object. camera: that sees it. generation: changes with every prompt, so that what was
    made from an earlier mask can be told apart."""

    object_id: str
    index: int
    generation: int
    sight: Sight
    camera: str = ''


class ObjectTable:
    """Objects by id, in order of adding, and the epoch they live in."""

    def __init__(self, most: int = 32) -> None:
        self.lock = RLock()
        self.most = most
        self._epoch = 0
        self._entries: dict[str, Entry] = {}
        self._used: set[int] = set()
        self._last_index = 0
        self._generations = 0
        self._frames: dict[str, tuple[int, str]] = {}
        #: Of each camera, what its tracker has still to be told: (old id, new id) in order.
        self._renamed: dict[str, list[tuple[str, str]]] = {}

    def frame(self, camera: str = '') -> tuple[int, str]:
        """Stamp in nanoseconds and frame_id of the newest frame of a camera (empty: of any) that
        was tracked in this epoch; 0 and empty before the first."""
        with self.lock:
            if camera:
                return self._frames.get(camera, (0, ''))
            return max(self._frames.values(), default=(0, ''))

    @property
    def epoch(self) -> int:
        """How many times the time line began anew."""
        return self._epoch

    def entries(self, camera: str = '') -> list[Entry]:
        """Every object of a camera (empty: of all), in order of adding."""
        with self.lock:
            return [entry for entry in self._entries.values() if camera in ('', entry.camera)]

    def get(self, object_id: str) -> Entry | None:
        """One object, or None."""
        with self.lock:
            return self._entries.get(object_id)

    def known(self, object_ids: list[str], beside: Sequence[str] = ()) -> None:
        """Raise PixelReferError UNKNOWN_ID unless every id is in the table or `beside` it,
        DUPLICATE_ID unless each is there once."""
        with self.lock:
            have = list(self._entries)
        for object_id in object_ids:
            if object_id not in have and object_id not in beside:
                known = ', '.join(map(repr, have)) if have else 'there is none'
                raise PixelReferError(
                    'UNKNOWN_ID', f'no object {object_id[:64]!r}; the objects are: {known}')
        if len(set(object_ids)) < len(object_ids):
            twice = next(i for i in object_ids if object_ids.count(i) > 1)
            raise PixelReferError(
                'DUPLICATE_ID', f'object {twice!r} is named twice; each id is allowed once')

    def states(self, object_ids: list[str]) -> list[int]:
        """The states of objects; UNKNOWN for one that is not in the table."""
        found = [self.get(object_id) for object_id in object_ids]
        return [entry.sight.state if entry else TrackedObject.UNKNOWN for entry in found]

    # --- by the tracking worker

    def name(self, wanted: str, prefix: str = '',
             remembered: Callable[[str], int] = lambda _stem: 0) -> str:
        """A valid id: the one that is wanted, or for an empty one one that is free and begins with
        `prefix`. remembered(stem): the highest number of a remembered id that is this and a number:
        one that was given away before is another object's.

        Raises PixelReferError BAD_ID.
        """
        if wanted:
            if not _ID.fullmatch(wanted):
                raise PixelReferError(
                    'BAD_ID', f'id {wanted[:80]!r}; 1 to 64 letters, digits and _ . : - are '
                    'allowed')
            return wanted
        stem = f'{prefix}object_'
        number = remembered(stem) + 1   # not under the lock: it may have to be looked up
        with self.lock:
            while f'{stem}{number}' in self._entries:
                number += 1
            return f'{stem}{number}'

    def check_room(self) -> None:
        """Raise PixelReferError TOO_MANY_OBJECTS or INDEX_EXHAUSTED unless one more fits."""
        with self.lock:
            if len(self._entries) >= self.most:
                raise PixelReferError(
                    'TOO_MANY_OBJECTS', f'{len(self._entries)} objects are tracked; {self.most} '
                    'are allowed (parameter max_objects)')
            if len(self._used) >= LARGEST_INDEX:
                raise PixelReferError(
                    'INDEX_EXHAUSTED', f'every index up to {LARGEST_INDEX} was given out in this '
                    'epoch; ~/reset starts a new one')

    def put(self, object_id: str, sight: Sight, epoch: int, *, camera: str = '',
            existed: bool = False) -> Entry | None:
        """Enter an object after its prompt was served: a new one takes the next index, one that
        exists keeps its own; either way a new generation begins. None if the epoch is over.

        existed: it was there when its prompt was begun; if it was removed meanwhile it stays so,
        and PixelReferError UNKNOWN_ID is raised.
        """
        with self.lock:
            if epoch != self._epoch:
                return None
            if existed:
                self.known([object_id])
            old = self._entries.get(object_id)
            if old is None:
                self.check_room()
            index = old.index if old else self._next_index()
            self._used.add(index)
            self._generations += 1
            entry = Entry(object_id, index, self._generations, sight, camera)
            self._entries[object_id] = entry
            return entry

    def _next_index(self) -> int:
        """The next index that this epoch has not used yet; `check_room` says that there is one."""
        while True:
            self._last_index = self._last_index % LARGEST_INDEX + 1
            if self._last_index not in self._used:
                return self._last_index

    def update(self, sights: dict[str, Sight], epoch: int, frame: tuple[int, str],
               camera: str = '') -> list[tuple[Entry, Entry]] | None:
        """Take the newest sights, of `frame` (stamp, frame_id) of a camera. Returns (before, after)
        of every object whose state changed, or None if the epoch is over. Objects that were removed
        meanwhile are left out."""
        with self.lock:
            if epoch != self._epoch:
                return None
            self._frames[camera] = frame
            changes = []
            for object_id, sight in sights.items():
                before = self._entries.get(object_id)
                if before is None:
                    continue
                after = replace(before, sight=sight)
                self._entries[object_id] = after
                if before.sight.state != sight.state:
                    changes.append((before, after))
            return changes

    # --- by any thread

    def remove(self, object_ids: list[str]) -> list[Entry]:
        """Take objects out; with an unknown id none is. Raises PixelReferError UNKNOWN_ID."""
        with self.lock:
            self.known(object_ids)
            return [self._entries.pop(object_id) for object_id in object_ids]

    def rename(self, old: str, new: str) -> Entry:
        """Let an object have another id; one that has it is removed. What was made of it under the
        old id until now goes nowhere. Raises PixelReferError UNKNOWN_ID."""
        with self.lock:
            self.known([old])
            entry = self._entries.pop(old)
            self._entries.pop(new, None)
            self._generations += 1
            entry = replace(entry, object_id=new, generation=self._generations)
            self._entries[new] = entry
            self._renamed.setdefault(entry.camera, []).append((old, new))
            return entry

    def take_renamed(self, camera: str) -> list[tuple[str, str]]:
        """What a camera's tracker has to be told since it asked last."""
        with self.lock:
            return self._renamed.pop(camera, [])

    def begin_epoch(self, *, keep: bool = True) -> list[str]:
        """Start a new epoch: objects become LOST and keep their ids and indices, or with
        keep=False are removed. Indices that are free may be given out again. Returns the ids."""
        with self.lock:
            self._epoch += 1
            self._frames.clear()
            ids = list(self._entries)
            self._entries = {
                object_id: replace(entry, sight=NOT_SEEN)
                for object_id, entry in self._entries.items()} if keep else {}
            self._used = {entry.index for entry in self._entries.values()}
            self._last_index = max(self._used, default=0)
            return ids

    def clear(self) -> None:
        """Remove every object; the epoch goes on."""
        with self.lock:
            self._entries.clear()
            self._renamed.clear()

    def while_current(self, epoch: int, publish: Callable[[], None]) -> bool:
        """Run `publish` unless `epoch` is over, so that nothing of it comes after the next began.
        Returns whether it ran."""
        with self.lock:
            if epoch != self._epoch:
                return False
            publish()
            return True
