# SPDX-License-Identifier: Apache-2.0
"""The overlay: masks, outlines, ids and states drawn on the frame that they belong to."""

import cv2
import numpy as np

from pixelrefer.msg import TrackedObject
from pixelrefer_ros.objects import Entry

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_STATES = {TrackedObject.UNCERTAIN: '?', TrackedObject.OCCLUDED: 'occluded',
           TrackedObject.LOST: 'lost'}


def colour(index: int) -> tuple[int, int, int]:
    """The RGB colour of an index: neighbours differ, and it is always the same one."""
    hue = (index * 67) % 180  # 67 and 180 have no common factor: every hue comes once
    pixel = np.array([[[hue, 190, 255]]], np.uint8)
    return tuple(int(value) for value in cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0])


def draw(image: np.ndarray, entries: list[Entry]) -> np.ndarray:
    """A copy of an image, uint8 RGB [H, W, 3], with every object drawn: those with a mask where
    they are, the others by name along the upper edge."""
    drawn = image.copy()
    scale = max(0.4, image.shape[1] / 1000)
    line = int(round(28 * scale))
    gone = 0
    for entry in entries:
        tint, sight = colour(entry.index), entry.sight
        label = ' '.join(filter(None, (entry.object_id, _STATES.get(sight.state))))
        if sight.mask is None:
            gone += 1
            _write(drawn, label, (4, gone * line), tint, scale)
            continue
        inside = drawn[sight.mask]
        drawn[sight.mask] = (0.6 * inside + 0.4 * np.array(tint)).astype(np.uint8)
        outlines, _ = cv2.findContours(
            sight.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, tint, max(1, round(2 * scale)))
        x, y, _, _ = sight.box
        _write(drawn, label, (int(x), max(line, int(y) - 4)), tint, scale)
    return drawn


def _write(image: np.ndarray, text: str, at: tuple[int, int], tint: tuple[int, int, int],
           scale: float) -> None:
    thickness = max(1, round(2 * scale))
    cv2.putText(image, text, at, _FONT, scale, (0, 0, 0), thickness + 2, cv2.LINE_AA)
    cv2.putText(image, text, at, _FONT, scale, tint, thickness, cv2.LINE_AA)
