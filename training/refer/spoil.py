# SPDX-License-Identifier: Apache-2.0
"""Masks of training objects as a tracker may give them, so that its errors are nothing new at run
time: the outline is not quite right, a part of the object is missing, or something else is covered
too."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

#: Share of the masks that are not the true ones, and share of these whose error is a large one.
SPOILED, IN_PART = 0.75, 0.5
#: Fewest pixels that a spoiled mask keeps, or all where the true one has fewer; under that the true
#: mask is used.
LEAST_KEPT = 60
#: Least overlap (IoU) of a mask with a large error. Six in a hundred of the tracker's are worse,
#: and most of these lie on something else, of which nothing can be learned.
LEAST_IOU = 0.4


def spoil_mask(image: np.ndarray, seg: np.ndarray, thing: int, rng: Generator) -> np.ndarray:
    """The mask of an object, spoiled, bool [H, W]. image: uint8 [H, W, 3], RGB; seg: uint8 [H, W],
    i + 1 for object i."""
    mask = seg == thing + 1
    if not mask.any():
        return mask
    if rng.random() < IN_PART:
        error = PART_ERRORS[rng.integers(len(PART_ERRORS))]
        spoiled = cv2.medianBlur(error(image, seg, mask, rng).astype(np.uint8), 5) > 0
        both, either = (spoiled & mask).sum(), (spoiled | mask).sum()
        mask = spoiled if both >= max(min(LEAST_KEPT, mask.sum()), LEAST_IOU * either) else mask
    for _ in range(int(rng.integers(1, 3))):
        spoiled = _outlined(mask, rng)
        least = max(min(LEAST_KEPT, mask.sum()), mask.sum() * 0.5)
        mask = spoiled if spoiled.sum() >= least else mask
    return mask


def _outlined(mask: np.ndarray, rng: Generator) -> np.ndarray:
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
        # A disc off the rim: missing inside the object, or spilled beyond it.
        cv2.circle(spoiled, _pixel_of(mask, rng), max(2, _length(mask, rng, 0.1, 0.35)),
                   int(kind == 5), -1)
    return spoiled.astype(bool)


def _without_side(image: np.ndarray, seg: np.ndarray, mask: np.ndarray, rng: Generator
                  ) -> np.ndarray:
    """What lies on one side of a straight line through the object."""
    rows, columns = np.nonzero(mask)
    angle = rng.uniform(0, 2 * np.pi)
    along = columns * np.cos(angle) + rows * np.sin(angle)
    kept = np.zeros_like(mask)
    kept[rows, columns] = along <= np.quantile(along, rng.uniform(0.45, 0.85))
    return kept


def _one_shade(image: np.ndarray, seg: np.ndarray, mask: np.ndarray, rng: Generator) -> np.ndarray:
    """Its bright or its dark part: a can without its lid, a book without the edge of its pages."""
    shades = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    limit, _ = cv2.threshold(shades[mask], 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return mask & ((shades > limit) if rng.random() < 0.5 else (shades <= limit))


def _with_neighbour(image: np.ndarray, seg: np.ndarray, mask: np.ndarray, rng: Generator
                    ) -> np.ndarray:
    """With a piece of an object that touches it, or hides a part of it."""
    rim = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    touching = rim & (seg > 0) & ~mask
    if not touching.any():
        return _with_ground(image, seg, mask, rng)
    at = _pixel_of(touching, rng)
    near = cv2.circle(np.zeros_like(seg), at, max(3, _length(mask, rng, 0.3, 0.9)), 1, -1)
    return mask | ((seg == seg[at[1], at[0]]) & (near > 0))


def _with_ground(image: np.ndarray, seg: np.ndarray, mask: np.ndarray, rng: Generator
                 ) -> np.ndarray:
    """With what no object covers on one side of it, where its shadow may lie."""
    angle, length = rng.uniform(0, 2 * np.pi), _length(mask, rng, 0.15, 0.45)
    shift = np.float32([[1, 0, length * np.cos(angle)], [0, 1, length * np.sin(angle)]])
    beside = cv2.warpAffine(mask.astype(np.uint8), shift, mask.shape[::-1]) > 0
    return mask | (beside & (seg == 0))


#: Each gives, of image, objects and the true mask, one with a large error.
PART_ERRORS: tuple[Callable[[np.ndarray, np.ndarray, np.ndarray, Generator], np.ndarray], ...] = (
    _without_side, _one_shade, _with_neighbour, _with_ground)


def _pixel_of(mask: np.ndarray, rng: Generator) -> tuple[int, int]:
    """Any pixel of a mask: x, y."""
    rows, columns = np.nonzero(mask)
    at = int(rng.integers(len(rows)))
    return int(columns[at]), int(rows[at])


def _length(mask: np.ndarray, rng: Generator, least: float, most: float) -> int:
    """Some pixels, between these shares of the side of a square as large as the object."""
    return int(np.sqrt(mask.sum()) * rng.uniform(least, most))
