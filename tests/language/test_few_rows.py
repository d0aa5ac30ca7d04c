# SPDX-License-Identifier: Apache-2.0
"""Products of a few rows with the weight first: the same results, and only where they help."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from language_support import CHECKPOINT, observed
from pixelrefer_model.language import LanguageModel, collect, compose, few_rows
from pixelrefer_model.pixelrefer import PixelReferLite


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('shape', [(3, 1, 8), (3, 8), (2, 2, 8)])
def test_it_is_the_product_that_it_stands_for(bias, shape):
    layer, values = nn.Linear(8, 5, bias=bias), torch.randn(shape)
    usual = layer(values)
    with few_rows.FewRows():
        made = layer(values)
    assert made.shape == usual.shape and made.is_contiguous()
    assert torch.allclose(made, usual, atol=1e-6)


def test_it_takes_the_place_of_the_usual_one_for_plain_weights_only(monkeypatch):
    calls = []
    monkeypatch.setattr(few_rows, 'linear', lambda *a: (calls.append(1), F.linear(*a))[1])
    values, layer = torch.randn(3, 8), nn.Linear(8, 5)
    with few_rows.FewRows():
        layer(values)
        F.linear(values, torch.randn(5, 8))
    layer(values)
    assert len(calls) == 1


@pytest.mark.parametrize('rows, size, dtype, helps', [
    (5, 1 << 22, torch.float32, True), (1, 1 << 22, torch.float32, False),
    (17, 1 << 22, torch.float32, False), (5, 1 << 21, torch.float32, False),
    (5, 1 << 22, torch.bfloat16, False)])
def test_it_is_for_2_to_16_rows_of_a_large_float32_model(rows, size, dtype, helps):
    assert few_rows.FewRows.helps(rows, torch.empty(size, dtype=dtype)) is helps


def test_a_batch_answers_the_same_with_it(monkeypatch):
    language = LanguageModel(PixelReferLite.from_checkpoint(CHECKPOINT))
    prompts = [compose('What is it?', [observed(seed=n)]) for n in range(3)]
    usual = collect(language.generate(prompts, max_new_tokens=20), 3)
    calls, linear = [], few_rows.linear
    monkeypatch.setattr(few_rows, 'LEAST_WEIGHTS', 0)
    monkeypatch.setattr(few_rows, 'linear', lambda *a: (calls.append(1), linear(*a))[1])
    made = collect(language.generate(prompts, max_new_tokens=20), 3)
    assert calls and [a.token_ids for a in made] == [a.token_ids for a in usual]
