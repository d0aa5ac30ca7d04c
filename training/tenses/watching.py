# SPDX-License-Identifier: Apache-2.0
"""A long scene as a robot that watches it would remember it, with true masks.

The node's own parts decide what is remembered: Happenings tell what happens, and observations are
made at intervals and on events.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from pixelrefer_model.memory import KeepLast, ObjectMemory, Observation
from pixelrefer_model.memory.choosing import Budget
from pixelrefer_model.memory.happenings import Happenings
from pixelrefer_model.memory.observation import Whereabouts
from pixelrefer_model.memory.record import Happening
from pixelrefer_model.memory.window import Span, Window
from pixelrefer_model.sam2 import Track, TrackState
from training.refer.facts import LEAST_AREA
from training.world import ScenePlan, World

#: Seconds between frames, which are also the keyframes: the engine's own interval.
STEP = 0.5
#: An object that is not seen for so many seconds is lost; until then it is occluded.
LOST_S = 5.0
#: Deviation of a known place, in metres.
DEVIATION = 0.004
#: Frames of each object and object tokens of a question.
BUDGET = Budget(frames=6, tokens=256)
#: Frames, the asked one the last, that questions about what is going on rest on.
RECENT = 4


@dataclass(frozen=True)
class Watched:
    """What was seen of a scene at frames 0, 1, ..., STEP seconds apart.

    segs: uint8 [T, H, W], i + 1 for object i. areas: int [T, n], visible pixels. happenings: all
    that happened; object ids are the indices as text.
    """

    plan: ScenePlan
    segs: np.ndarray
    areas: np.ndarray
    happenings: tuple[Happening, ...]

    def __len__(self) -> int:
        return len(self.segs)

    def seen(self, thing: int, frame: int) -> bool:
        """Whether enough of it is seen for an observation."""
        return bool(self.areas[frame, thing] >= LEAST_AREA)

    def first(self, thing: int) -> int | None:
        """The frame of its first sighting."""
        frames = np.flatnonzero(self.areas[:, thing] >= LEAST_AREA)
        return int(frames[0]) if len(frames) else None

    def last(self, thing: int, frame: int) -> int | None:
        """The frame of its last sighting, up to `frame`."""
        frames = np.flatnonzero(self.areas[:frame + 1, thing] >= LEAST_AREA)
        return int(frames[-1]) if len(frames) else None

    def memory(self) -> ObjectMemory:
        """All that is remembered, of which a question's window leaves out what comes later; the
        observations have no tokens yet."""
        memory = ObjectMemory(KeepLast(len(self)))
        why = {(one.object_id, one.stamp_ns): one.kind for one in self.happenings}
        for k in range(len(self)):
            memory.observe([
                Observation(str(i), stamp_of(k), 'camera', 0, (0, 0, 1, 1), int(self.areas[k, i]),
                            torch.zeros(0), '', reason=why.get((str(i), stamp_of(k)), 'interval'))
                for i in range(self.areas.shape[1]) if self.seen(i, k)])
        return memory

    def within(self, window: Span) -> list[Happening]:
        """What happened within a window."""
        return [one for one in self.happenings
                if window.start_ns <= one.stamp_ns <= window.end_ns]


def time_of(frame: int) -> float:
    """Scene time of a frame in seconds."""
    return frame * STEP


def stamp_of(frame: int) -> int:
    """The stamp of a frame."""
    return round(time_of(frame) * 1e9)


def frames_of(memory: ObjectMemory, things: tuple[int, ...], window: Window, most: int
              ) -> tuple[tuple[int, ...], ...]:
    """The frames of each object, at most `most`, that a question about `things` rests on, as the
    engine chooses them. Raises PixelReferError NO_OBSERVATION."""
    chosen = memory.select_all([str(i) for i in things], window, most, '')
    return tuple(tuple(round(o.stamp_ns / 1e9 / STEP) for o in one.observations)
                 for one in chosen)


def everything(frame: int) -> Span:
    """The window of questions about the past, asked at `frame`."""
    return Span(0, stamp_of(frame))


def recently(frame: int) -> Span:
    """The window of questions about what is going on and what comes next."""
    return Span(max(0, stamp_of(frame - RECENT + 1)), stamp_of(frame))


def watch(world: World, plan: ScenePlan) -> Watched:
    """Watch a scene from its beginning to its end."""
    count, happenings = len(plan.objects), Happenings()
    segs, areas, told = [], [], []
    unseen = np.zeros(count, int)
    for k in range(int(plan.seconds / STEP)):
        seg = world.segment(plan, time_of(k))
        area = np.bincount(seg.ravel(), minlength=count + 1)[1:count + 1]
        unseen = np.where(area >= LEAST_AREA, 0, unseen + 1)
        # An object that was never seen is not tracked yet.
        tracks = [_track(seg, i, k, int(unseen[i])) for i in range(count) if unseen[i] <= k]
        where = {str(i): Whereabouts('world', plan.middle(i, time_of(k)),
                                     np.eye(3) * DEVIATION ** 2)
                 for i in range(count) if not unseen[i]}
        told += happenings.see(tracks, where)
        segs.append(seg)
        areas.append(area)
    return Watched(plan, np.stack(segs), np.stack(areas), tuple(told))


def _track(seg: np.ndarray, thing: int, frame: int, unseen: int) -> Track:
    stamp = stamp_of(frame)
    if unseen:
        state = TrackState.LOST if unseen * STEP > LOST_S else TrackState.OCCLUDED
        return Track(str(thing), state, None, 0.0, None, 0, stamp, stamp)
    mask = seg == thing + 1
    return Track(str(thing), TrackState.TRACKED, mask, 1.0,
                 tuple(cv2.boundingRect(mask.astype(np.uint8))), int(mask.sum()), stamp, stamp)
