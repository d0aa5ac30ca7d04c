# SPDX-License-Identifier: Apache-2.0
"""What the tests of PixelRefer share: recorded results and masks."""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parents[1] / 'golden'
CHECKPOINT, FULL_CHECKPOINT = GOLDEN / 'pixelrefer-lite', GOLDEN / 'pixelrefer'


def boxed(x: int, y: int, w: int, h: int, *, height: int = 120, width: int = 160) -> np.ndarray:
    """A mask of a filled box, pixels."""
    mask = np.zeros((height, width), bool)
    mask[y:y + h, x:x + w] = True
    return mask


def outline(x: int, y: int, w: int, h: int) -> np.ndarray:
    """A mask of a box's border, one pixel wide."""
    return boxed(x, y, w, h) & ~boxed(x + 1, y + 1, w - 2, h - 2)
