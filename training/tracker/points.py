# SPDX-License-Identifier: Apache-2.0
"""Prompts drawn from true masks, as people give them: shaken boxes, clicks somewhere on the object.

Made of tensors on the masks' own device, for a batch of a GPU holds over a hundred objects; what is
random comes from numpy, so that it is the same on every device.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

#: The sides of a box are off by a normal share of its size, of this deviation and this at most,
#: and by so many pixels besides.
SHAKEN, MOST_SHAKEN, SHAKEN_PX = 0.04, 0.1, 0.5
#: Of so many random pixels the one nearest to the object's middle is clicked on, half of the times.
TRIES = 4


def draw_points(masks: Tensor, kind: Literal['box', 'click'], rng: np.random.Generator
                ) -> tuple[Tensor, Tensor]:
    """Prompts for masks bool [N, S, S]: points float [N, P, 2] in input pixels, labels [N, P].

    Boxes are shaken by up to a tenth of their sides; clicks fall anywhere on the object, rather
    away from its border. An empty mask is prompted by the whole image or its first pixel.
    """
    return _boxes(masks, rng) if kind == 'box' else _clicks(masks, rng)


def _boxes(masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    count, size = len(masks), masks.shape[-1]
    ends = []
    for line in (masks.any(1), masks.any(2)):  # columns, rows
        number = line.int()
        ends.append((number.argmax(1), size - number.flip(1).argmax(1)))
    (x0, x1), (y0, y1) = ends
    corners = torch.stack([x0, y0, x1, y1], dim=1).float()
    sides = (corners[:, 2:] - corners[:, :2]).repeat(1, 2)
    part = np.clip(rng.normal(0, SHAKEN, (count, 4)), -MOST_SHAKEN, MOST_SHAKEN)
    corners = corners + _like(part, corners) * sides + _like(
        rng.normal(0, SHAKEN_PX, (count, 4)), corners)
    labels = torch.tensor([2, 3], dtype=torch.int32, device=masks.device)
    return corners.clamp(0, size).view(count, 2, 2) - 0.5, labels.repeat(count, 1)


def _clicks(masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    count, size = len(masks), masks.shape[-1]
    flat = masks.flatten(1)
    upto = flat.cumsum(1, dtype=torch.int32)
    area = upto[:, -1:]
    nth = (_like(rng.random((count, TRIES)), masks) * area).int().clamp(max=area - 1) + 1
    picks = torch.searchsorted(upto, nth).clamp(max=flat.shape[1] - 1)
    places = torch.stack([picks % size, picks // size], dim=2).float()
    here = torch.arange(size, device=masks.device, dtype=torch.float32)
    middle = torch.stack([(masks.sum(1) * here).sum(1), (masks.sum(2) * here).sum(1)], dim=1)
    middle = middle / area.clamp(min=1)
    nearest = (places - middle[:, None]).square().sum(2).argmin(1)
    inner = _like(rng.random(count), masks) < 0.5
    chosen = torch.where(inner, nearest, torch.zeros_like(nearest))
    points = places[torch.arange(count, device=masks.device), chosen]
    points = points + _like(rng.uniform(-0.5, 0.5, (count, 2)), masks)
    return points[:, None], torch.ones(count, 1, dtype=torch.int32, device=masks.device)


def _like(values: np.ndarray, other: Tensor) -> Tensor:
    """float32 on the device of `other`."""
    return torch.from_numpy(values.astype(np.float32)).to(other.device)
