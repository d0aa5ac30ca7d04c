# SPDX-License-Identifier: Apache-2.0
"""What the planner needs of a robot: eyes that show frames, and a perception node to ask."""

from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from pixelrefer_model.prompt import Prompt

NS = 1_000_000_000


class RobotError(Exception):
    """The robot cannot go on: no frames come, no reply comes, or an object cannot be selected."""


@dataclass(frozen=True)
class Reply:
    """An answer, with the stamps (ns) of the frames that it rests on. latency_s: from the request
    to the reply as the planner saw it; None where time is not real. error: why there is no
    answer, '' when there is one."""

    text: str
    stamps_ns: list[int]
    latency_s: float | None = None
    error: str = ''


@dataclass(frozen=True)
class Sighting:
    """One object in one frame, as the tracker published it. index: its value in the label image."""

    index: int
    state: str
    score: float


@dataclass
class Recording:
    """Everything that was shown and published, by stamp: pictures as JPEG, masks as label images
    (uint16 [H, W], pixel = index), objects by id."""

    pictures: dict[int, bytes] = field(default_factory=dict)
    labels: dict[int, np.ndarray] = field(default_factory=dict)
    objects: dict[int, dict[str, Sighting]] = field(default_factory=dict)

    @property
    def tracked_ns(self) -> list[int]:
        """Stamps of the frames of which both the objects and the label image came, in order."""
        return sorted(self.objects.keys() & self.labels.keys())

    def mask(self, object_id: str, stamp_ns: int) -> np.ndarray | None:
        """The object's mask, bool [H, W], or None when none was published under its id."""
        sighting = self.objects.get(stamp_ns, {}).get(object_id)
        label = self.labels.get(stamp_ns)
        if sighting is None or label is None:
            return None
        mask = label == sighting.index
        return mask if mask.any() else None

    def picture(self, stamp_ns: int) -> np.ndarray:
        """The frame, uint8 [H, W, 3] BGR."""
        return cv2.imdecode(np.frombuffer(self.pictures[stamp_ns], np.uint8), cv2.IMREAD_COLOR)


class Robot(Protocol):
    """Eyes and perception. Every method may raise RobotError."""

    recording: Recording

    def look(self, stamp_ns: int) -> int:
        """Wait until a frame of this stamp or a newer one is seen; the stamp of the newest."""

    def select(self, prompts: dict[str, Prompt], stamp_ns: int) -> None:
        """Have objects tracked: id -> prompt, in pixels of the frame of that stamp."""

    def describe(self, object_ids: list[str], detail: str) -> list[Reply]:
        """Describe objects as they are now, one reply each. A refusal is a reply with an error."""

    def ask(self, question: str, object_ids: list[str], start_ns: int = 0,
            end_ns: int = 0) -> Reply:
        """Ask about objects: now, or over the window from start_ns to end_ns. As `describe`."""

    def let_go(self, object_ids: list[str]) -> None:
        """Have objects tracked no longer."""

    def find(self, words: str) -> Reply:
        """The remembered object that fits words best: its id, and the stamp of its newest
        observation."""

    def finish(self) -> None:
        """Wait for the last frame to be tracked."""
