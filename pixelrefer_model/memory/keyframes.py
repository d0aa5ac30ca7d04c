# SPDX-License-Identifier: Apache-2.0
"""Keyframe policies: on which frames an object is worth an observation, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.observation import Whereabouts
from pixelrefer_model.memory.record import EVENTS


@dataclass(frozen=True)
class Look:
    """What a policy compares of an object in a frame. box: x, y, width, height in pixels; area:
    pixels of the mask; colour: mean of its pixels, 0 to 255 [3], None where nobody looked; where:
    its place in a frame that stands still, if that is known; happened: events of this frame."""

    stamp_ns: int
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    area: int = 0
    colour: tuple[float, float, float] | None = None
    where: Whereabouts | None = None
    happened: Sequence[str] = ()


class KeyframePolicy(Protocol):
    """Says why an object is due for an observation; empty: it is not."""

    def due(self, look: Look, last: Look | None) -> str:
        """last: as it was observed last; None for an object that never was in this epoch."""


@dataclass(frozen=True)
class EveryInterval:
    """An observation whenever `seconds` of image time have gone by since the last one."""

    seconds: float

    def due(self, look: Look, last: Look | None) -> str:
        # Half a millisecond of slack: camera stamps jitter around their nominal period.
        return 'interval' if last is None or (
            look.stamp_ns - last.stamp_ns >= self.seconds * 1e9 - 500_000) else ''


@dataclass(frozen=True)
class EveryFrame:
    """An observation on every frame, for offline use."""

    def due(self, look: Look, last: Look | None) -> str:
        return 'interval' if last is None or look.stamp_ns > last.stamp_ns else ''


@dataclass(frozen=True)
class OnEvents:
    """An observation of what an event shows, of any of these kinds."""

    kinds: tuple[str, ...] = EVENTS

    def due(self, look: Look, last: Look | None) -> str:
        return next((kind for kind in look.happened if kind in self.kinds), '')


@dataclass(frozen=True)
class OnChange:
    """An observation of an object that looks otherwise than when it was observed last: `mask` of
    its box or area has changed (share of the union of the boxes, or of the larger area), it is
    `metres` away, or its mean colour has changed by `colour` levels of 255.

    A camera that moves changes boxes too: what is due is bounded by `AnyOf`."""

    mask: float = 0.6
    metres: float = 0.1
    colour: float = 32.0

    def due(self, look: Look, last: Look | None) -> str:
        if last is None:
            return 'changed'
        areas = sorted((look.area, last.area))
        changed = 1 - areas[0] / max(1, areas[1]) > self.mask or (
            1 - _overlap(look.box, last.box) > self.mask)
        if look.where is not None and last.where is not None and (
                look.where.frame == last.where.frame):
            changed |= bool(np.linalg.norm(look.where.position - last.where.position)
                            > self.metres)
        if look.colour is not None and last.colour is not None:
            changed |= max(abs(a - b) for a, b in zip(look.colour, last.colour)) > self.colour
        return 'changed' if changed else ''


@dataclass(frozen=True)
class AnyOf:
    """What any of the policies finds due, the first first, and of one object no more than one
    observation in `apart` seconds: what that costs is bounded whatever happens. What comes too soon
    is due again with the next frame if it still holds; an event stays due until then (Watch)."""

    policies: tuple[KeyframePolicy, ...]
    apart: float = 0.2

    def __post_init__(self) -> None:
        if not self.policies or not self.apart >= 0:
            raise PixelReferError(
                'BAD_BUDGET', f'{len(self.policies)} keyframe policies, observations {self.apart:g} '
                's apart; at least one policy, and 0 s or more, are allowed')

    def due(self, look: Look, last: Look | None) -> str:
        if last is not None and look.stamp_ns - last.stamp_ns < self.apart * 1e9 - 500_000:
            return ''
        return next((why for policy in self.policies if (why := policy.due(look, last))), '')


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = one, other
    width = min(ax + aw, bx + bw) - max(ax, bx)
    height = min(ay + ah, by + bh) - max(ay, by)
    both = max(0, width) * max(0, height)
    union = aw * ah + bw * bh - both
    return both / union if union else 1.0
