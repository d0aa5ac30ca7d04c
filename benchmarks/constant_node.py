# SPDX-License-Identifier: Apache-2.0
"""The real node around constant models, so that what is left is the node's own cost.

    python -m benchmarks.constant_node --ros-args ...

Every object keeps the mask of the box it was selected by, an observation is a name and a stamp,
and an answer is one token. Nothing but benchmarks/node.py uses it.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from pixelrefer_model.answer import Answer, Progress
from pixelrefer_model.engine import EngineSettings
from pixelrefer_model.frame import Frame
from pixelrefer_model.prompt import Box
from pixelrefer_ros import models, node

TRACKED = SimpleNamespace(name='TRACKED')


class ConstantTracker:
    """Every object stays where its box was."""

    def __init__(self) -> None:
        self._tracks: dict[str, SimpleNamespace] = {}

    @property
    def ids(self) -> list[str]:
        return list(self._tracks)

    def add(self, object_id: str, prompt: Box, frame: Frame) -> SimpleNamespace:
        box = tuple(round(v) for v in (
            prompt.x0, prompt.y0, prompt.x1 - prompt.x0, prompt.y1 - prompt.y0))
        mask = ellipse(frame.height, frame.width, box)
        self._tracks[object_id] = SimpleNamespace(
            object_id=object_id, state=TRACKED, score=1.0, mask=mask, box=box,
            area=int(mask.sum()), stamp_ns=frame.stamp_ns, last_seen_ns=frame.stamp_ns)
        return self._tracks[object_id]

    correct = replace = add

    def remove(self, object_id: str) -> None:
        del self._tracks[object_id]

    def lose(self, _stamp_ns: int) -> None:
        """Nothing: they are found again at once."""

    def step(self, frame: Frame) -> list[SimpleNamespace]:
        for track in self._tracks.values():
            track.stamp_ns = track.last_seen_ns = frame.stamp_ns
        return list(self._tracks.values())


class ConstantEngine:
    """What the node uses of a PerceptionEngine."""

    def __init__(self) -> None:
        self.tracker = ConstantTracker()
        self.memory = SimpleNamespace(
            observe=lambda observations: None, clear=lambda: None, held=lambda: (0, 0))
        self.settings = EngineSettings()
        self.detector = None

    def tracker_of(self, _camera: str) -> ConstantTracker:
        return self.tracker

    def forget(self, _object_id: str) -> None:
        """Nothing was remembered."""

    def due(self, tracks: list[Any], _epoch: int) -> list[Any]:
        return tracks

    def observe(self, frame: Frame, tracks: list[Any], _epoch: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(object_id=track.object_id, stamp_ns=frame.stamp_ns)
                for track in tracks]

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
