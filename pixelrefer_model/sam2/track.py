# SPDX-License-Identifier: Apache-2.0
"""What the tracker says of one object in one frame, and the states an object goes through."""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from torch import Tensor

from pixelrefer_model.sam2.policy import StatePolicy


class TrackState(Enum):
    """TRACKED: in view. UNCERTAIN: in view, poor mask. OCCLUDED: not in view, or not yet surely
    back. LOST: not in view for long."""

    TRACKED = 'tracked'
    UNCERTAIN = 'uncertain'
    OCCLUDED = 'occluded'
    LOST = 'lost'

    @property
    def in_view(self) -> bool:
        return self in (TrackState.TRACKED, TrackState.UNCERTAIN)


@dataclass(frozen=True)
class Track:
    """One object in one frame.

    mask: bool [H, W] in frame pixels, None when OCCLUDED or LOST. score: 0..1, the probability that
    the object is in view times the predicted IoU of its mask. box: half-open (x, y, width, height)
    in pixels, None without a mask; area in pixels, 0 without. stamp_ns: of the frame; last_seen_ns:
    of the last frame in which it was in view, 0 while there was none since its time began (with
    its first prompt, or when it was lost by a jump). logits: float [4h, 4w] mask logits as the
    network gave them, of every frame.
    """

    object_id: str
    state: TrackState
    mask: np.ndarray | None = field(repr=False)
    score: float
    box: tuple[int, int, int, int] | None
    area: int
    stamp_ns: int
    last_seen_ns: int
    logits: Tensor | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Held:
    """What a tracker keeps between frames: how many tensors, and their bytes."""

    tensors: int
    bytes: int


class StateMachine:
    """The state of one object; fed with one measurement per frame."""

    def __init__(self, policy: StatePolicy) -> None:
        self.policy = policy
        self.state = TrackState.TRACKED
        self.last_seen_ns = 0
        #: From when the time until LOST counts.
        self._gone_ns = 0
        #: Both as they were before the object was seen last.
        self._before = 0, 0
        self._good_area = 0
        self._back = 0

    def prompted(self, area: int, stamp_ns: int) -> TrackState:
        """A prompt was applied: the object is where it points, unless that gave no mask."""
        self._back = 0
        if area >= 1:
            self._seen(TrackState.TRACKED, area, stamp_ns)
        else:
            self.state = TrackState.OCCLUDED
            self._gone_ns = self.last_seen_ns or stamp_ns
        return self.state

    def update(self, score: float, iou: float, area: int, stamp_ns: int) -> TrackState:
        """One more frame: object score (logit), predicted IoU, mask area in pixels, stamp."""
        policy = self.policy
        seen = (score > policy.in_view and iou >= policy.least_iou
                and area >= policy.least_area)
        if self.state.in_view:
            if seen:
                self._seen(TrackState.TRACKED if iou >= policy.sure_iou else TrackState.UNCERTAIN,
                           area, stamp_ns)
            else:
                self.state = TrackState.OCCLUDED
        else:
            low, high = (edge * self._good_area for edge in policy.back_area)
            plausible = seen and iou >= policy.back_iou and (
                not self._good_area or low <= area <= high)
            self._back = self._back + 1 if plausible else 0
            if self._back >= policy.back_frames:
                self._back = 0
                self._seen(TrackState.TRACKED, area, stamp_ns)
        self._lose_after_a_time(stamp_ns)
        return self.state

    def covered(self, stamp_ns: int) -> TrackState:
        """Other objects have every pixel of it in this frame: it is not in view after all."""
        self._back = 0
        if self.state.in_view:
            self.state = TrackState.OCCLUDED
            self.last_seen_ns, self._gone_ns = self._before
        self._lose_after_a_time(stamp_ns)
        return self.state

    def lose(self) -> None:
        """Time jumped: the object is LOST, not seen in the new time, until it is surely back."""
        self.state, self._back, self.last_seen_ns = TrackState.LOST, 0, 0

    def _lose_after_a_time(self, stamp_ns: int) -> None:
        if self.state is TrackState.OCCLUDED and \
                stamp_ns - self._gone_ns > self.policy.lost_after_s * 1e9:
            self.state = TrackState.LOST

    def _seen(self, state: TrackState, area: int, stamp_ns: int) -> None:
        self._before = self.last_seen_ns, self._gone_ns if self.last_seen_ns else stamp_ns
        self.state, self.last_seen_ns, self._gone_ns = state, stamp_ns, stamp_ns
        if state is TrackState.TRACKED:
            self._good_area = area
