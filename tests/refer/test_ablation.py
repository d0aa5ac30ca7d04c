# SPDX-License-Identifier: Apache-2.0
"""Rules of the ablation: a part that is left out has no say, and all train equally."""

from dataclasses import replace

import pytest
import torch

from pixelrefer_model.engine import TINY
from pixelrefer_model.pixelrefer import PixelReferLite
from training.refer.ablation import SHOWN, Variant, begin, table, variants
from training.refer.sizes import tiny_config
from training.refer.tokenizer import train_tokenizer
from training.refer.trainer import Recipe, Trainer
from training.world import Contract


@pytest.fixture(scope='module')
def tokenizer():
    return train_tokenizer()


def variant(name: str) -> Variant:
    return next(v for v in variants(1.0) if name in v.name)


def test_the_table_has_every_row_of_the_papers():
    names = [v.name for v in variants(1.0)]
    assert len(set(names)) == len(names)
    config = tiny_config(train_tokenizer())
    assert {v.config(config).mask_num for v in variants(1.0)} == {1, 8, 16, 32}
    assert variant('expansion').config(config).context_patches == 0 < config.context_patches
    assert [v.vision for v in variants(1.0) if v.minutes] == [0.38, 0.0]


@pytest.mark.parametrize('name, part', [
    ('position embedding', 'pos_linear'), ('local attention', 'fusion_attention_local.out_proj'),
    ('global attention', 'fusion_attention_global.out_proj')])
def test_a_part_that_is_left_out_stays_zero_through_training(tokenizer, name, part):
    model = begin(variant(name), TINY['refer'], tokenizer, None, Contract.load())
    trainer = Trainer(model, tokenizer, Recipe(steps=2), Contract.load())
    layer = model.model.region_encoder.get_submodule(part)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    trainer.optimizer.step()
    assert not any(p.any() for p in layer.parameters())
    assert model.model.region_encoder.feat_linear[0].weight.any()


def test_every_variant_begins_with_the_same_tower_and_another_region_encoder(tokenizer):
    packaged = PixelReferLite.from_checkpoint(TINY['refer']).model
    made = [begin(v, TINY['refer'], tokenizer, None, Contract.load()).model
            for v in (variant('whole'), variant('8 tokens'))]
    first, second = (m.state_dict() for m in made)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        if name.startswith('vision_encoder'):
            assert torch.equal(value, packaged.state_dict()[name])
    assert not torch.equal(first['region_encoder.feat_linear.0.weight'],
                           packaged.region_encoder.feat_linear[0].weight)


def test_steps_bound_a_run_whatever_the_clock_says(tokenizer):
    trainer = Trainer(PixelReferLite.from_config(tiny_config(tokenizer)), tokenizer,
                      replace(Recipe(), steps=10, minutes=1e-9), Contract.load())
    trainer.step, trainer.seconds = 5, 1e9
    assert trainer.progress == 0.5


def test_the_table_says_what_was_not_measured():
    figure = {'value': 0.5, 'n': 40, 'low': 0.4, 'high': 0.6}
    rows = table([{'name': 'whole', 'steps': 3, 'minutes': 1.0, 'figures': {
        name: None if name == 'count' else figure for name in SHOWN}}]).splitlines()
    assert rows[2].count('50.0 ± 10.0') == len(SHOWN) - 1 and ' - ' in rows[2]
    assert 'category 40' in rows[-1] and 'count' not in rows[-1]
