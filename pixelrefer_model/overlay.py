# SPDX-License-Identifier: Apache-2.0
"""The overlay: masks, outlines, ids and states drawn on the frame that they belong to."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Shown:
    """One object. label: what is written beside it. index: which colour it has. mask: bool [H, W],
    None where it is not in view; box: x, y, width, height of the mask."""

    label: str
    index: int
    mask: np.ndarray | None = field(default=None, repr=False)
    box: tuple[int, int, int, int] | None = None


def colour(index: int) -> tuple[int, int, int]:
    """The RGB colour of an index: neighbours differ, and it is always the same one."""
    hue = (index * 67) % 180  # 67 and 180 have no common factor: every hue comes once
    pixel = np.array([[[hue, 190, 255]]], np.uint8)
    return tuple(int(value) for value in cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0])


def draw(image: np.ndarray, objects: Sequence[Shown]) -> np.ndarray:
    """A copy of an image, uint8 RGB [H, W, 3], with every object drawn: those with a mask where
    they are, the others by name along the upper edge."""
    drawn = image.copy()
    scale = max(0.4, image.shape[1] / 1000)
    line = int(round(28 * scale))
    gone = 0
    for shown in objects:
        tint = colour(shown.index)
        if shown.mask is None:
            gone += 1
            _write(drawn, shown.label, (4, gone * line), tint, scale)
            continue
        inside = drawn[shown.mask]
        drawn[shown.mask] = (0.6 * inside + 0.4 * np.array(tint)).astype(np.uint8)
        outlines, _ = cv2.findContours(
            shown.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, tint, max(1, round(2 * scale)))
        x, y, _, _ = shown.box
        _write(drawn, shown.label, (int(x), max(line, int(y) - 4)), tint, scale)
    return drawn


def _write(image: np.ndarray, text: str, at: tuple[int, int], tint: tuple[int, int, int],
           scale: float) -> None:
    thickness, (x, y) = max(1, round(2 * scale)), at
    # The dark rim is the same text moved a little: thicker letters would be wider too, and stray.
    for right, down in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        cv2.putText(image, text, (x + right, y + down), _FONT, scale, (0, 0, 0), thickness,
                    cv2.LINE_AA)
    cv2.putText(image, text, at, _FONT, scale, tint, thickness, cv2.LINE_AA)
