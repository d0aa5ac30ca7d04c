# SPDX-License-Identifier: Apache-2.0
"""A deeper language model begins as the one before, and its new layers learn."""

import pytest
import torch

from pixelrefer_model.engine import TINY
from pixelrefer_model.pixelrefer import PixelReferLite
from training.refer.deepen import BACK, deepened


@pytest.fixture(scope='module')
def packaged() -> PixelReferLite:
    return PixelReferLite.from_checkpoint(TINY['refer'])


@pytest.mark.parametrize('more', [0, 1, 2, 5])
def test_a_deeper_model_says_what_the_one_before_says(packaged, more):
    layers = packaged.config.language.num_hidden_layers
    deeper = deepened(packaged, layers + more)
    assert deeper.config.language.num_hidden_layers == len(deeper.model.layers) == layers + more
    states = torch.randn(2, 7, packaged.config.language.hidden_size,
                         generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for model in (packaged, deeper):
            model.eval()
        assert torch.equal(*(model.model(inputs_embeds=states, use_cache=False).last_hidden_state
                             for model in (packaged, deeper)))


def test_every_new_layer_gets_gradients(packaged):
    layers = packaged.config.language.num_hidden_layers
    deeper = deepened(packaged, layers + 2)
    states = torch.randn(1, 7, packaged.config.language.hidden_size)
    deeper.model(inputs_embeds=states, use_cache=False).last_hidden_state.square().sum().backward()
    for layer in deeper.model.layers:
        assert layer.self_attn.o_proj.weight.grad.abs().max() > 0
        assert layer.mlp.down_proj.weight.grad.abs().max() > 0


def test_fewer_layers_are_refused(packaged):
    with pytest.raises(ValueError, match='1 layers are fewer'):
        deepened(packaged, 1)


def test_the_first_new_layer_looks_at_the_tokens_before(packaged):
    deeper = deepened(packaged, packaged.config.language.num_hidden_layers + 2)
    deeper.model.set_attn_implementation('eager')
    states = torch.randn(1, 60, packaged.config.language.hidden_size,
                         generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        attentions = deeper.model(inputs_embeds=states, use_cache=False,
                                  output_attentions=True).attentions
    for head, back in enumerate(BACK):
        looked = attentions[1][0, head]
        assert (looked[5:].argmax(1) == torch.arange(5, 60) - back).all()
        assert looked.diagonal(-back)[5 - back:].mean() > 0.5
    assert (attentions[2][0, 0][5:].argmax(1) != torch.arange(5, 60) - 1).any()
