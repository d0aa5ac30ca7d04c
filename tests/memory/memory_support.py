# SPDX-License-Identifier: Apache-2.0
"""What tests of the stored memory share."""

import torch

from pixelrefer_model.memory.observation import Observation, Rle, Whereabouts

SECOND = 1_000_000_000
K, DIM = 4, 8


def tokens_of(second: float, object_id: str = 'mug') -> torch.Tensor:
    """Tokens that no other object or second has."""
    seed = hash((object_id, round(second * 1000))) % (1 << 31)
    return torch.randn(K, DIM, generator=torch.Generator().manual_seed(seed)).to(torch.bfloat16)


def sighting(second: float, object_id: str = 'mug', *, epoch: int = 0, key: str = 'k',
             reason: str = 'interval', where: Whereabouts | None = None,
             mask: str = '0;12') -> Observation:
    return Observation(
        object_id, round(second * SECOND), 'camera', epoch, (1, 2, 3, 4), 12,
        tokens_of(second, object_id), key, where=where, reason=reason, mask=Rle(mask, 3, 4))
