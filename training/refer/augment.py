# SPDX-License-Identifier: Apache-2.0
"""What happens to the colours of training images, so that those of a camera are nothing new."""

import cv2
import numpy as np


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
