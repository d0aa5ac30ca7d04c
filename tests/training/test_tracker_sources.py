# SPDX-License-Identifier: Apache-2.0
"""Where the tracker's batches come from: rendering that ends, stores that add up, prompts on target."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from training.tracker import sources
from training.tracker.ahead import Batches, batches_ahead, make_batch
from training.tracker.clips import ClipStore, write_clips
from training.tracker.course import FROM_WEIGHTS, FROM_WEIGHTS_ON_GPU, Phase
from training.tracker.points import draw_points
from training.tracker.shapes import make_clip

SIDE, LONGEST = 96, 12


def write_store(folder: Path, first: int, count: int) -> None:
    clips = (make_clip(seed, LONGEST, SIDE) for seed in range(first, first + count))
    write_clips(folder, clips, 0, count, LONGEST, SIDE, SIDE)


def test_rendering_that_ends_with_too_few_clips_says_so_and_leaves_no_process(tmp_path):
    with pytest.raises(RuntimeError, match="'shapes': 1.*60 of one kind"):
        with sources.Rendering(tmp_path, 3, 1, 0, processes=1) as rendering:
            rendering.wait()
    assert not multiprocessing.active_children()
    assert sources.counts(tmp_path) == {'world': 0, 'shapes': 1}


def test_another_number_of_clips_or_processes_makes_stores_of_its_own(tmp_path):
    for shapes in (1, 2):
        sources.render(tmp_path, 3, shapes, 0, 0, 1)
    assert sources.counts(tmp_path)['shapes'] == 3


def test_stores_of_a_kind_share_what_the_kind_is_to_have(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, 'ENOUGH', 2)
    write_store(tmp_path / 'world-0-1', 0, 1)
    write_store(tmp_path / 'world-1-4', 1, 3)
    write_store(tmp_path / 'shapes-0-2', 4, 2)
    shares = [share for _, share in sources.open_stores(tmp_path)]
    assert np.allclose(shares, [0.85 / 4, 0.85 * 3 / 4, 0.15])


def test_a_clip_begins_where_most_objects_go_and_come_back():
    times = np.arange(0, 8, 0.5)
    seen = np.ones((16, 3), bool)
    seen[9:11, 1] = False  # from 4.5 to 5.5 s
    begins = np.array([0.0, 4.0, 5.0])
    assert sources.best_begin(begins, 2.5, times, seen) == 4.0


def test_batches_differ_by_step_and_process(tmp_path):
    write_store(tmp_path, 0, 2)
    phase = Phase(1.0, 64, 3, 2, 2, 0.4, 0.9)
    made = [make_batch([(ClipStore(tmp_path), 1.0)], phase, 3, step, rank)
            for step, rank in ((0, 0), (0, 1), (1, 0))]
    assert not any(torch.equal(a.pictures, b.pictures)
                   for n, a in enumerate(made) for b in made[:n])


def test_batches_made_by_other_processes_are_those_of_the_steps_in_order(tmp_path):
    write_store(tmp_path / 'shapes-0-60', 0, sources.ENOUGH)
    progress = torch.tensor(0.9).share_memory_()
    stores = sources.open_stores(tmp_path)
    ahead = batches_ahead(Batches(tmp_path, FROM_WEIGHTS, progress, 3), 7, 2)
    for step in (7, 8, 9):
        own, other = make_batch(stores, FROM_WEIGHTS.phase(0.9), 3, step), next(ahead)
        assert torch.equal(own.pixels, other.pixels) and torch.equal(own.masks, other.masks)
    progress.fill_(0.1)  # another size, once those that are made already are used up
    sizes = [next(ahead).labels.shape[2] for _ in range(6)]
    assert sizes[-1] == FROM_WEIGHTS.phases[0].size
    del ahead
    assert not multiprocessing.active_children()


def test_each_prompt_points_at_its_own_object():
    masks = torch.zeros(3, 64, 64, dtype=torch.bool)
    masks[0, 20:40, 10:50] = True
    masks[1, 63, 63] = True  # a single pixel in a corner; the third is empty
    drawn = [(draw_points(masks, 'box', np.random.default_rng(seed))[0],
              draw_points(masks, 'click', np.random.default_rng(seed))[0]) for seed in range(500)]
    boxes, clicks = (torch.stack(each) for each in zip(*drawn))
    assert (boxes[:, 0].mean(0) - torch.tensor([[9.5, 19.5], [49.5, 39.5]])).abs().max() < 0.3
    assert ((boxes[:, 1] - 63.0).abs() < 3).all()
    assert (boxes[:, 2].mean(0) - torch.tensor([[-0.5, -0.5], [63.5, 63.5]])).abs().max() < 2
    on = clicks[:, 0, 0].round().long()
    assert masks[0, on[:, 1], on[:, 0]].all()
    assert (clicks[:, 0, 0].mean(0) - torch.tensor([29.5, 29.5])).abs().max() < 2
    assert (clicks[:, 1].round() == 63).all()


def test_a_gpu_is_given_more_clips_and_no_shorter_ones():
    least = min(phase.clips for phase in FROM_WEIGHTS_ON_GPU.phases)
    assert least >= 8 * max(phase.clips for phase in FROM_WEIGHTS.phases)
    assert FROM_WEIGHTS_ON_GPU.phases[-1].frames >= FROM_WEIGHTS.phases[-1].frames
