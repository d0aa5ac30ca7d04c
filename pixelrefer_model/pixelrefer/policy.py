# SPDX-License-Identifier: Apache-2.0
"""How regions are encoded: the choices where the published code and a robot's need differ."""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch


class KMeansInit(Protocol):
    """Chooses the first centroids of each region that has more cells than tokens."""

    def indices(self, counts: list[int], k: int) -> list[torch.Tensor]:
        """For each count n > k of `counts`, in call order: k distinct indices below n (int64)."""
        ...


@dataclass(frozen=True)
class SeededPermutation:
    """The published choice, the first k of a random permutation, from a seeded torch generator.

    One permutation is drawn per region in call order, so the result depends on the other regions
    of the call. Bit-compatible with `torch.manual_seed(seed)` before the call.
    """

    seed: int = 0

    def indices(self, counts: list[int], k: int) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        return [torch.randperm(n, generator=generator)[:k] for n in counts]


@dataclass(frozen=True)
class EvenlySpaced:
    """Cells at equal distances in row-major order: the same for the same mask, always."""

    def indices(self, counts: list[int], k: int) -> list[torch.Tensor]:
        return [((2 * torch.arange(k) + 1) * n).div(2 * k, rounding_mode='floor') for n in counts]


@dataclass(frozen=True)
class EncodePolicy:
    """What may differ between calls with one checkpoint; part of the key of the tokens.

    local_crop: 'published' gives every region of an image the local image of the image's first
    region; 'per_object' gives each its own (Algorithm 1 of the paper). budget_divisor: the pixel
    budget is divided by the number of 'regions' of the call, or by 'one', so that a region's
    tokens do not depend on the other regions. crop_patches: most patches of a crop, a number,
    'checkpoint' for the one in its configuration, None for no limit but the budget. missed: what
    a mask whose grid selects no cell becomes, 'zeros' or the 'max_pool' of the mask over each
    cell. empty: an empty mask gives 'zeros', is an error ('refuse', PixelReferError EMPTY_MASK),
    or is left out ('skip') and the other regions come out as if it had not been given; only Lite
    can make zeros of one. image_patches: most tokens of the whole images of a call, for a model
    that sees them; None for no limit but the budget.
    """

    local_crop: Literal['published', 'per_object']
    budget_divisor: Literal['regions', 'one']
    kmeans: KMeansInit
    crop_patches: int | Literal['checkpoint'] | None
    missed: Literal['zeros', 'max_pool']
    empty: Literal['zeros', 'refuse', 'skip']
    image_patches: int | None = None

    @classmethod
    def published(cls, seed: int = 0) -> 'EncodePolicy':
        """As the published code does it; `seed` stands for its unseeded global generator."""
        return cls('published', 'regions', SeededPermutation(seed), None, 'zeros', 'zeros')

    @classmethod
    def robot(cls, crop_patches: int | Literal['checkpoint'] | None = 'checkpoint',
              empty: Literal['zeros', 'refuse', 'skip'] = 'refuse',
              image_patches: int | None = 2048) -> 'EncodePolicy':
        """Tokens that depend on image, mask and weights alone, at bounded cost. A 640x480 image
        has 1,564 patches."""
        return cls('per_object', 'one', EvenlySpaced(), crop_patches, 'max_pool', empty,
                   image_patches)
