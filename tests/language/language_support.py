# SPDX-License-Identifier: Apache-2.0
"""Prompts for the tests of the language model."""

from pathlib import Path

import torch

from pixelrefer_model.language import Evidence

K, D = 32, 128
CHECKPOINT = Path(__file__).parents[1] / 'golden' / 'pixelrefer-lite'


def observed(object_id: str = 'mug', moments: int = 1, seconds=None, seed: int = 0) -> Evidence:
    """An object with random tokens, seen `moments` times."""
    tokens = torch.randn(moments, K, D, generator=torch.Generator().manual_seed(seed))
    return Evidence(object_id, tokens, seconds)
