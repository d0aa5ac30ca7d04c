# SPDX-License-Identifier: Apache-2.0
"""Keyframe policies: on which frames an object is worth an observation."""

from dataclasses import dataclass
from typing import Protocol


class KeyframePolicy(Protocol):
    """Says whether an object seen at `stamp_ns`, last observed at `last_ns`, is due again."""

    def due(self, stamp_ns: int, last_ns: int | None) -> bool:
        """`last_ns` is None for an object that was never observed in this epoch."""


@dataclass(frozen=True)
class EveryInterval:
    """An observation whenever `seconds` of image time have gone by since the last one."""

    seconds: float

    def due(self, stamp_ns: int, last_ns: int | None) -> bool:
        # Half a millisecond of slack: camera stamps jitter around their nominal period.
        return last_ns is None or stamp_ns - last_ns >= self.seconds * 1e9 - 500_000


@dataclass(frozen=True)
class EveryFrame:
    """An observation on every frame, for offline use."""

    def due(self, stamp_ns: int, last_ns: int | None) -> bool:
        return last_ns is None or stamp_ns > last_ns
