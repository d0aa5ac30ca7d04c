# SPDX-License-Identifier: Apache-2.0
"""Whichever kernel the vision tower attends by, object tokens are the same; one that cannot run
here is refused. flash-attn itself runs on CUDA alone: its function is stood in for by its
definition, attention inside each sequence that the starts tell apart."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.pixelrefer import EncodePolicy, collate, prepare_regions
from pixelrefer_model.pixelrefer.attention import Flash, Sdpa, use_attention
from pixelrefer_support import boxed

MASKS = [boxed(20, 30, 30, 25), boxed(5, 5, 4, 3), boxed(60, 20, 90, 95), boxed(100, 2, 2, 80)]


@pytest.fixture
def seen(monkeypatch) -> list[list[int]]:
    """Lets flash_attn be importable; the lengths of the sequences of each call."""
    calls = []

    def varlen(query, key, value, starts, same, longest, longest_key):
        assert starts is same and starts.dtype == torch.int32 and longest == longest_key
        bounds = starts.tolist()
        calls.append([b - a for a, b in zip(bounds, bounds[1:])])
        assert max(calls[-1]) == longest and bounds[-1] == len(query)
        return torch.cat([
            F.scaled_dot_product_attention(*(
                x[a:b].transpose(0, 1)[None] for x in (query, key, value)))[0].transpose(0, 1)
            for a, b in zip(bounds, bounds[1:])])
    module = ModuleType('flash_attn')
    module.flash_attn_varlen_func = varlen
    monkeypatch.setitem(sys.modules, 'flash_attn', module)
    return calls


def test_object_tokens_are_the_same_by_either_kernel_and_no_image_is_padded(
        small, small_config, picture, seen, monkeypatch):
    inputs = prepare_regions([picture], MASKS, [0] * 4, small_config, EncodePolicy.published())
    batch = collate([inputs])
    assert any(group.mask is not None for group in batch.groups), 'nothing would be padded'
    with torch.inference_mode():
        expected = small.region_tokens(batch)
        monkeypatch.setattr(small.tower, 'attention', Flash())
        made = small.region_tokens(batch)
    assert torch.allclose(made, expected, atol=1e-5)
    assert len(seen) == small_config.vision.num_hidden_layers
    assert sorted(seen[0]) == sorted(np.prod(inputs.grids, axis=1).tolist())


def test_starts_are_of_the_batch_at_hand(small, small_config, picture, seen, monkeypatch):
    monkeypatch.setattr(small.tower, 'attention', Flash())
    for masks in (MASKS, MASKS[:1], MASKS[1:]):
        batch = collate([prepare_regions([picture], masks, [0] * len(masks), small_config,
                                         EncodePolicy.published())])
        with torch.inference_mode():
            small.region_tokens(batch)
        assert sum(seen[-1]) == len(batch.patches)


def test_a_kernel_that_is_not_installed_is_named_with_the_line_that_mends_it(small, monkeypatch):
    monkeypatch.setitem(sys.modules, 'flash_attn', None)
    with pytest.raises(PixelReferError, match='pip install flash-attn') as error:
        use_attention(small, 'flash')
    assert error.value.code == 'UNSUPPORTED' and isinstance(small.tower.attention, Sdpa)


def test_a_device_that_flash_attention_does_not_run_on_is_refused(small, seen):
    with pytest.raises(PixelReferError, match='needs a CUDA device') as error:
        use_attention(small, 'flash')
    assert error.value.code == 'UNSUPPORTED' and isinstance(small.tower.attention, Sdpa)


def test_an_unknown_kernel_is_refused(small):
    with pytest.raises(PixelReferError, match='sdpa, flash are allowed'):
        use_attention(small, 'paged')
