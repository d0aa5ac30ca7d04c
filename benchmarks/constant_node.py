# SPDX-License-Identifier: Apache-2.0
"""The real node around constant models, so that what is left is the node's own cost.

    python -m benchmarks.constant_node --ros-args ...

Every object keeps the mask of the box it was selected by, the tokens of an observation are zeros,
of the released model's shape, and an answer is one token; what is remembered is so in earnest.
Nothing but benchmarks/node.py uses it.
"""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from pixelrefer_model.answer import Answer, Progress
from pixelrefer_model.engine import EngineSettings
from pixelrefer_model.frame import Frame
from pixelrefer_model.memory import ObjectMemory, Observation
from pixelrefer_model.memory.watch import Due
from pixelrefer_model.prompt import Box
from pixelrefer_model.sam2 import Track, TrackState
from pixelrefer_ros import models, node

#: Of one object at one moment, with PixelRefer-Lite-2B.
TOKENS = 32, 1536


class ConstantTracker:
    """Every object stays where its box was."""

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}

    @property
    def ids(self) -> list[str]:
        return list(self._tracks)

    def add(self, object_id: str, prompt: Box, frame: Frame) -> Track:
        box = tuple(round(v) for v in (
            prompt.x0, prompt.y0, prompt.x1 - prompt.x0, prompt.y1 - prompt.y0))
        mask = ellipse(frame.height, frame.width, box)
        self._tracks[object_id] = Track(
            object_id, TrackState.TRACKED, mask, 1.0, box, int(mask.sum()), frame.stamp_ns,
            frame.stamp_ns)
        return self._tracks[object_id]

    correct = add

    def replace(self, object_id: str, prompt: Box, frame: Frame) -> Track:
        return self.add(object_id, prompt, frame)

    def remove(self, object_id: str) -> None:
        del self._tracks[object_id]

    def lose(self, _stamp_ns: int) -> None:
        """Nothing: they are found again at once."""

    def step(self, frame: Frame) -> list[Track]:
        self._tracks = {
            object_id: replace(track, stamp_ns=frame.stamp_ns, last_seen_ns=frame.stamp_ns)
            for object_id, track in self._tracks.items()}
        return list(self._tracks.values())


class ConstantEngine:
    """What the node uses of a PerceptionEngine."""

    def __init__(self) -> None:
        self.tracker = ConstantTracker()
        self.memory = ObjectMemory()
        self.encoder = SimpleNamespace(moments=None, key='constant')
        self.language = SimpleNamespace(prefixes=SimpleNamespace(clear=lambda: None))
        self.settings = EngineSettings()
        self.detector = None

    def tracker_of(self, _camera: str) -> ConstantTracker:
        return self.tracker

    def erase(self, object_id: str) -> None:
        self.memory.erase(object_id)

    def release(self, object_id: str) -> None:
        self.memory.release(object_id)

    def observe(self, frame: Frame, due: list[Due], epoch: int) -> list[Observation]:
        return [Observation(
            one.track.object_id, frame.stamp_ns, frame.camera, epoch, one.track.box,
            one.track.area, torch.zeros(TOKENS, dtype=torch.bfloat16), self.encoder.key,
            where=one.where, reason=one.reason) for one in due]

    def prepare(self, _question: str, object_ids: list[str], *_: Any, **__: Any) -> Answer:
        return Answer('yes', 1.0, False, object_ids, [], [], 0, 'stop', 1)

    def stream(self, answers: list[Answer], _ended: Any) -> Iterator[Progress]:
        for index, answer in enumerate(answers):
            yield Progress(index, answer.text, 1, answer)


def ellipse(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """Mask, bool [height, width], of the ellipse in a box of x, y, width and height."""
    x, y, w, h = box
    rows, columns = np.ogrid[:height, :width]
    return ((columns - x - w / 2) / (w / 2)) ** 2 + ((rows - y - h / 2) / (h / 2)) ** 2 < 1


if __name__ == '__main__':
    models.load = lambda settings: ConstantEngine()
    models.tune = lambda engine, settings: None
    models.window = models.check_text = models.limit_threads = lambda it: it
    node.main()
