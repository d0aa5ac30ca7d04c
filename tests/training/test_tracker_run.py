# SPDX-License-Identifier: Apache-2.0
"""Rules of a run of the tracker's trainer."""

from pathlib import Path

import pytest
import torch

from training.tracker.clips import ClipStore, write_clips
from training.tracker.shapes import make_clip
from training.tracker.train import FROM_NOTHING, FROM_WEIGHTS, Trainer

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
    first.train_step(stores)
    first.save()
    second = Trainer(tmp_path, MINUTES, seed=3)
    assert (second.step, second.used) == (1, first.used)
    losses = [one.train_step(stores)['loss'] for one in (first, second)]
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
