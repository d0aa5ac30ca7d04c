# SPDX-License-Identifier: Apache-2.0
"""What happens to training images and masks, so that a tracker's masks and a camera's colours at
run time are nothing new."""

import cv2
import numpy as np

#: Fewest pixels that a spoiled mask keeps, or all where the true one has fewer; under that the true
#: mask is used.
LEAST_KEPT = 60


def vary_colour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, a little colour cast and noise; never so much that a name changes.

    uint8 [H, W, 3] in and out.
    """
    gain = rng.uniform(0.88, 1.12) * rng.uniform(0.97, 1.03, 3)
    offset = rng.uniform(-10, 10)
    table = np.clip(np.arange(256)[:, None] * gain + offset, 0, 255).astype(np.uint8)
    varied = cv2.LUT(np.ascontiguousarray(image), table.reshape(1, 256, 3))
    if rng.random() < 0.3:
        noise = rng.integers(-6, 7, image.shape, np.int16)
        varied = np.clip(varied + noise, 0, 255).astype(np.uint8)
    return varied


def without_colour(image: np.ndarray) -> np.ndarray:
    """The image in shades of grey, uint8 [H, W, 3] in and out: a kind has to be told by its form,
    and there is nothing in it of the pairs of kind and colour that training must not see."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def spoil_mask(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask as a tracker may give it, spoiled once or twice: bool [H, W] in and out."""
    for _ in range(int(rng.integers(1, 3))):
        mask = _spoil_once(mask, rng)
    return mask


def _spoil_once(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Thinner, thicker, rounded as if decoded at a quarter of the resolution, shifted, with holes,
    or with a side missing or spilled."""
    spoiled = mask.astype(np.uint8)
    kind = rng.integers(6)
    if kind == 0:
        size = int(rng.integers(2, 4))
        spoiled = cv2.erode(spoiled, np.ones((size, size), np.uint8))
    elif kind == 1:
        size = int(rng.integers(2, 5))
        spoiled = cv2.dilate(spoiled, np.ones((size, size), np.uint8))
    elif kind == 2:
        height, width = mask.shape
        factor = int(rng.choice((3, 4, 5)))
        low = cv2.resize(spoiled.astype(np.float32), (width // factor, height // factor),
                         interpolation=cv2.INTER_AREA)
        low += rng.normal(0, 0.12, low.shape).astype(np.float32) * (low > 0)
        spoiled = cv2.resize(low, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
    elif kind == 3:
        shift = np.float32([[1, 0, rng.integers(-2, 3)], [0, 1, rng.integers(-2, 3)]])
        spoiled = cv2.warpAffine(spoiled, shift, mask.shape[::-1])
    else:
        rows, columns = np.nonzero(mask)
        radius = max(2, int(np.sqrt(len(rows)) * rng.uniform(0.1, 0.35)))
        at = int(rng.integers(len(rows)))
        colour = int(kind == 5)
        # A disc off the rim: missing inside the object, or spilled beyond it.
        cv2.circle(spoiled, (int(columns[at]), int(rows[at])), radius, colour, -1)
    spoiled = spoiled.astype(bool)
    least = max(min(LEAST_KEPT, mask.sum()), mask.sum() * 0.5)
    return spoiled if spoiled.sum() >= least else mask
