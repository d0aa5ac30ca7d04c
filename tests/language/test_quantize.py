# SPDX-License-Identifier: Apache-2.0
"""Weights in 8 and 4 bits: which they are, and what is said where that cannot be."""

import sys

import pytest
import torch

from language_support import observed
from pixelrefer_model.engine import TINY
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language import LanguageModel, collect, compose
from pixelrefer_model.language.quantize import quantize
from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder


@pytest.fixture
def model():
    return PixelReferLite.from_checkpoint(TINY['refer'])


def scores(model):
    return LanguageModel(model).prefill([compose('What is it?', [observed()])]).scores


def test_none_leaves_the_weights_as_they_are(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    quantize(model, 'none')
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_an_unknown_value_names_the_known_ones(model):
    with pytest.raises(PixelReferError) as refused:
        quantize(model, 'int3')
    assert refused.value.code == 'UNSUPPORTED' and 'int8, int4' in refused.value.message


def test_without_the_package_its_name_is_said_and_nothing_is_changed(model, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torchao', None)
    monkeypatch.setitem(sys.modules, 'torchao.quantization', None)
    before = scores(model)
    with pytest.raises(PixelReferError) as refused:
        quantize(model, 'int8')
    assert refused.value.code == 'UNSUPPORTED' and 'pip install torchao' in refused.value.message
    assert torch.equal(scores(model), before)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_fewer_bits_change_the_scores_a_little_and_the_object_tokens_not_at_all(dtype):
    pytest.importorskip('torchao')
    off = {}
    for bits in ('int8', 'int4'):
        model = PixelReferLite.from_checkpoint(TINY['refer'], dtype=dtype)
        key, exact = RegionEncoder(model).key, scores(model).float()
        quantize(model, bits)
        assert RegionEncoder(model).key == key
        off[bits] = float((scores(model).float() - exact).std() / exact.std())
        answer = collect(LanguageModel(model).generate(
            [compose('What is it?', [observed()])], max_new_tokens=4), 1)[0]
        assert 1 <= len(answer.token_ids) <= 4
    assert 0 < off['int8'] < off['int4'] / 3 and off['int4'] < 0.6, off


def test_int4_needs_widths_that_are_whole_groups(model):
    pytest.importorskip('torchao')
    model.model.layers[0].mlp.down_proj = torch.nn.Linear(100, 128)
    with pytest.raises(PixelReferError) as refused:
        quantize(model, 'int4')
    assert refused.value.code == 'UNSUPPORTED' and '100' in refused.value.message
