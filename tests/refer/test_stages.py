# SPDX-License-Identifier: Apache-2.0
"""Rules of the training stages: who learns when, and that a run can be taken up again."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from pixelrefer_model.engine import TINY
from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import PixelReferConfig, PixelReferLite
from training.refer.recipe import LANGUAGE, PARTS, recipe_of
from training.refer.records import Record, make_record
from training.refer.sizes import tiny_config, with_words
from training.refer.start import started_config, weights_of
from training.refer.tokenizer import train_tokenizer
from training.refer.trainer import HEADS, Recipe, Trainer
from training.world import Contract, World


class Few:
    """A pool of two records."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records

    def draw(self, step: int, singles: int, clips: int, rank: int = 0) -> list[Record]:
        return self.records


@pytest.fixture(scope='module')
def pool() -> Few:
    with World() as world:
        return Few([make_record(world, 11, 'train', False), make_record(world, 12, 'train', True)])


def trainer(**recipe) -> Trainer:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = train_tokenizer()
    return Trainer(PixelReferLite.from_config(tiny_config(tokenizer)), tokenizer,
                   Recipe(**recipe), Contract.load())


def changed(made: Trainer, pool: Few) -> set[str]:
    """Which parts of the model one step changes."""
    before = {n: p.detach().clone() for n, p in made.model.named_parameters()}
    made.train_step(pool)
    return {n.split('.')[1] for n, p in made.model.named_parameters()
            if not torch.equal(p, before[n])}


def test_each_stage_teaches_its_own_parts(pool):
    made = trainer(minutes=60, vision=0.5)
    encoders = {'vision_encoder', 'region_encoder'}
    assert changed(made, pool) == encoders
    made.seconds = 1900.0
    assert changed(made, pool) >= encoders | {'layers', 'embed_tokens', 'norm'}


def test_where_only_the_heads_learn_the_model_stays_as_it_is(pool):
    made = trainer(minutes=60, vision=0.5, first=(HEADS,))
    before = made.heads.place[0].weight.detach().clone()
    assert changed(made, pool) == set()
    assert not torch.equal(made.heads.place[0].weight, before)


def test_a_language_model_that_is_kept_teaches_and_stays_as_it_is(pool):
    recipe = recipe_of(60, 0, started=True, on_gpu=False, keep_language=True)
    made = trainer(**{**asdict(recipe), 'vision': 0.0})
    language = {n: p for n, p in made.model.named_parameters() if n.startswith(PARTS[LANGUAGE])}
    assert changed(made, pool) == {'vision_encoder', 'region_encoder'}
    assert not any(p.requires_grad for p in language.values())


def test_a_run_is_as_long_as_its_own_clock_says(pool):
    made, seconds = trainer(minutes=1, vision=0.5), iter((0.0, 6.0, 7.0, 9.0))
    made.clock = lambda: next(seconds)
    made.train_step(pool)
    made.train_step(pool)
    assert made.progress == pytest.approx(9.0 / 60)


def test_a_run_that_changes_the_encoder_learns_two_looks_and_has_no_likeness_yet(tmp_path):
    packaged = PixelReferConfig.from_folder(TINY['refer'])
    (tmp_path / 'config.json').write_text(json.dumps({
        **json.loads((TINY['refer'] / 'config.json').read_text()),
        'now_looks': 1, 'now_likeness': 0.5}))
    assert started_config(tmp_path) == replace(packaged, now_looks=2, now_likeness=-1.0)


def test_a_run_that_starts_with_a_checkpoint_has_its_weights_and_words(tmp_path):
    tokenizer, packaged = train_tokenizer(), PixelReferLite.from_checkpoint(TINY['refer'])
    config = with_words(packaged.config, tokenizer)
    model = weights_of(TINY['refer'], config, tokenizer)
    old = Tokenizer.from_folder(TINY['refer'])
    for name, value in packaged.state_dict().items():
        if not name.endswith(('embed_tokens.weight', 'lm_head.weight')):
            assert torch.equal(model.state_dict()[name], value), name
    mug = [t.encode(' mug') for t in (tokenizer, old)]
    assert torch.equal(model.model.embed_tokens.weight[mug[0]],
                       packaged.model.embed_tokens.weight[mug[1]])
    assert len(model.model.embed_tokens.weight) == len(tokenizer)
    wider = replace(config, vision=replace(config.vision, intermediate_size=96))
    with pytest.raises(RuntimeError, match='size mismatch'):
        weights_of(TINY['refer'], wider, tokenizer)


@pytest.mark.parametrize('vision', [0.5, 0.0], ids=['objects', 'answers'])
def test_a_run_goes_on_where_its_state_was_taken(pool, tmp_path, vision):
    # So long that no second counts: the rate depends on the clock.
    first = trainer(minutes=1e9, vision=vision)
    first.train_step(pool)
    torch.save(first.state(), tmp_path / 'state.pt')
    second = trainer(minutes=1e9, vision=vision)
    second.load_state(torch.load(tmp_path / 'state.pt', weights_only=True))
    assert (second.step, second.seconds, second.regions) == (1, first.seconds, first.regions)
    for one in (first, second):
        one.train_step(pool)
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
