# SPDX-License-Identifier: Apache-2.0
"""Rules of a run of the tracker's trainer."""

import shutil
from pathlib import Path

import pytest
import torch

from pixelrefer_model.engine import TINY
from training.tracker.ahead import make_batch
from training.tracker.card import write_card
from training.tracker.clips import ClipStore, write_clips
from training.tracker.course import FROM_NOTHING, FROM_WEIGHTS
from training.tracker.shapes import make_clip
from training.tracker.train import Trainer

#: So many that no second counts: the rate depends on the clock.
MINUTES = 1e9


@pytest.fixture
def stores(tmp_path: Path) -> list[tuple[ClipStore, float]]:
    clips = (make_clip(seed, 2, 96) for seed in range(4))
    write_clips(tmp_path / 'clips', clips, 0, 4, 2, 96, 96)
    return [(ClipStore(tmp_path / 'clips'), 1.0)]


def test_a_run_goes_on_where_it_was_saved(stores, tmp_path: Path):
    torch.set_num_threads(1)
    first = Trainer(tmp_path, MINUTES, seed=3)
    first.train_step(make_batch(stores, first.phase(), 3, 0))
    first.save()
    second = Trainer(tmp_path, MINUTES, seed=3)
    assert (second.step, second.used) == (1, first.used)
    losses = [one.train_step(make_batch(stores, one.phase(), 3, one.step))['loss']
              for one in (first, second)]
    assert losses[0] == losses[1]
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_may_begin_with_the_weights_of_a_checkpoint(tmp_path: Path):
    made = Trainer(tmp_path, MINUTES, seed=3)
    made.export(tmp_path / 'checkpoint')
    begun = Trainer(tmp_path / 'new', MINUTES, seed=4, start=tmp_path / 'checkpoint')
    assert (made.course, begun.course) == (FROM_NOTHING, FROM_WEIGHTS)
    for a, b in zip(made.model.parameters(), begun.model.parameters(), strict=True):
        assert torch.equal(a.half(), b.half())


@pytest.mark.parametrize('device, command, by', [
    ('cpu', '--seed 3`', '2 processes of one CPU thread each'),
    ('A GPU', '--seed 3 --device cuda`', 'one A GPU')])
def test_a_card_says_what_the_tracker_was_trained_with(tmp_path: Path, device, command, by):
    for name in ('config.json', 'model.safetensors'):
        shutil.copy(Path(TINY['tracker']) / name, tmp_path)
    write_card(tmp_path, {
        'seed': 3, 'minutes': 7, 'steps': 11, 'processes': 2, 'device': device, 'torch': '9.9',
        'started': False, 'clips': {'world': 5, 'shapes': 6}, 'phases': []}, {}, 1, 2, 'A note.')
    card = ' '.join((tmp_path / 'README.md').read_text().split())
    assert command in card and f'11 steps in 7 minutes of {by}, torch 9.9' in card
    assert '5 clips of' in card and '6 clips of flat textured shapes' in card
