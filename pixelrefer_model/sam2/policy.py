# SPDX-License-Identifier: Apache-2.0
"""What is remembered, when an object counts as seen, and how masks are published: as values."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryPolicy:
    """Which frames an object remembers.

    A frame is remembered when its object score (logit) is over `least_score`, its predicted IoU at
    least `least_iou` and its mask at least `least_area` of the logits' cells. `by_rank`: the last
    remembered frames count as 1, 2, 3, ... frames old however long ago they were, and pointers are
    at most as old as those of the training; otherwise true distances are used and what is too old
    falls out, so that an occlusion longer than the memory empties it. `anchors`: so many prompted
    frames are kept, always the first and then the newest. `spatial`, `pointers`: so many unprompted
    frames and pointers; None takes what the checkpoint was trained with (of more frames than that
    the oldest share its oldest place in time). `stride`: of the unprompted frames the newest and
    every so-many-th before it are attended to, so that the same work reaches further back; it needs
    `by_rank`. `believe_prompt`: a person who points at an object is right that it is there,
    whatever the object score says.
    """

    least_score: float = 1.0
    least_iou: float = 0.5
    least_area: int = 1
    by_rank: bool = True
    anchors: int = 4
    spatial: int | None = None
    pointers: int | None = None
    stride: int = 1
    believe_prompt: bool = True

    def __post_init__(self) -> None:
        if self.stride < 1 or (self.stride > 1 and not self.by_rank):
            raise ValueError(f'stride {self.stride} with by_rank={self.by_rank}; from 1 on is '
                             'allowed, more than 1 by rank')
        if self.anchors < 1 or (self.spatial or 0) < 0 or (self.pointers or 0) < 0:
            raise ValueError('at least one anchor is remembered, and no negative number of frames')

    @classmethod
    def good(cls) -> 'MemoryPolicy':
        """Only good frames are remembered: the default."""
        return cls()

    @classmethod
    def plain(cls) -> 'MemoryPolicy':
        """Every frame is remembered, as in the inference session of transformers."""
        return cls(least_score=-math.inf, least_iou=-math.inf, least_area=0, by_rank=False,
                   anchors=16, believe_prompt=False)

    def takes(self, score: float, iou: float, area: int) -> bool:
        """Whether a frame of this object score (logit), predicted IoU and area is remembered."""
        return score > self.least_score and iou >= self.least_iou and area >= self.least_area


@dataclass(frozen=True)
class StatePolicy:
    """When an object is TRACKED, UNCERTAIN, OCCLUDED or LOST, and the way back.

    In view: object score (logit) over `in_view`, predicted IoU of at least `least_iou` and a mask
    of at least `least_area` pixels. In view with a predicted IoU of `sure_iou` or more is TRACKED,
    less UNCERTAIN; not in view is OCCLUDED, and LOST after `lost_after_s` of the frames' own time.
    Back from OCCLUDED or LOST: `back_frames` frames in a row in view, each with a predicted IoU of
    `back_iou` or more and an area within `back_area` times that of the last good mask.
    """

    in_view: float = 0.0
    least_iou: float = 0.4
    least_area: int = 4
    sure_iou: float = 0.5
    lost_after_s: float = 3.0
    back_iou: float = 0.5
    back_area: tuple[float, float] = (0.2, 5.0)
    back_frames: int = 2


@dataclass(frozen=True)
class ComputePolicy:
    """How the network is run. `compile_encoder`: the image encoder goes through torch.compile on
    CUDA, which takes a minute at the first frame; on other devices it makes no difference."""

    compile_encoder: bool = False


@dataclass(frozen=True)
class LookPolicy:
    """Whether what is prompted or followed is looked at once more, enlarged, and how.

    `looks`: so many times at most at a prompt; 0 is what SAM 2 does. A box is looked at once;
    clicks once as they are, and once as a box around what that gave. `fill`: the object takes this
    share of the window's longer side. `least`: the window is this share of the frame at least.
    `following`: input size, in pixels, at which every object that is in view is looked at again in
    every frame, for its published mask alone; 0 never. `agree`: least IoU of what is seen from
    near with what was seen from far, or the first is not believed.
    """

    looks: int = 0
    fill: float = 0.6
    least: float = 0.3
    following: int = 0
    agree: float = 0.7

    def __post_init__(self) -> None:
        shares = all(0 < share <= 1 for share in (self.fill, self.least, self.agree))
        whole = all(isinstance(n, int) and n >= 0 for n in (self.looks, self.following))
        if not whole or not shares:
            raise ValueError(f'{self}; whole looks and pixels from 0 on, and shares over 0 '
                             'up to 1, are allowed')

    @classmethod
    def never(cls) -> 'LookPolicy':
        """The frame is seen as a whole only, as in SAM 2: the default of checkpoints."""
        return cls()

    @classmethod
    def closer(cls) -> 'LookPolicy':
        """As the packaged tracker was measured."""
        return cls(looks=2, following=160)


@dataclass(frozen=True)
class MaskPolicy:
    """How logits become published masks: connected parts under `islands` of the area are dropped;
    `exclusive`: a pixel claimed by several objects goes to the one with the largest logit, and an
    object that is left none is not in view."""

    islands: float = 0.01
    exclusive: bool = False
