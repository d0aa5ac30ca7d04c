# SPDX-License-Identifier: Apache-2.0
"""A step of training is the same wherever it is made, and is made as its recipe says."""

import shutil
from argparse import Namespace
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from pixelrefer_model.pixelrefer import PixelReferLite
from training.ahead import packed, unpacked
from training.refer.heads import UNKNOWN, labels
from training.refer.pool import Pool
from training.refer.questions import Asker
from training.refer.recipe import FROM_WEIGHTS, ON_GPU, Recipe, progress_of, recipe_of
from training.refer.records import make_record, write_shard
from training.refer.render import shard_path
from training.refer.sizes import tiny_config
from training.refer.step import StepMaker, StepsAhead
from training.refer.texts import COLOURED, Questioner, cuts
from training.refer.tokenizer import train_tokenizer
from training.refer.train import pools_of
from training.refer.trainer import Trainer
from training.together import Together
from training.world import Contract, World

CONTRACT = Contract.load()
FEW = Recipe(minutes=60, vision=0.5, singles=2, clips=1)


@pytest.fixture(scope='module')
def shards(tmp_path_factory) -> Path:
    """A folder with one small shard."""
    folder = tmp_path_factory.mktemp('shards')
    with World() as world:
        write_shard(shard_path(folder, 0), [
            make_record(world, 20 + n, 'train', n > 3) for n in range(6)])
    return folder


def maker(recipe: Recipe = FEW) -> StepMaker:
    tokenizer = train_tokenizer()
    return StepMaker(recipe, tiny_config(tokenizer), tokenizer, CONTRACT)


def test_a_step_made_elsewhere_teaches_the_same(shards):
    torch.set_num_threads(1)
    weights = []
    for ahead in (False, True):
        torch.manual_seed(0)
        tokenizer = train_tokenizer()
        trainer = Trainer(PixelReferLite.from_config(tiny_config(tokenizer)), tokenizer,
                          replace(FEW, minutes=1e9, vision=0.0), CONTRACT)
        if ahead:
            steps = StepsAhead(trainer.maker, shards, 1, torch.tensor(0.0))
            trainer.learn(unpacked(packed(steps(0))))
        else:
            trainer.train_step(Pool(shards, 1, 0))
        weights.append([p.detach().clone() for p in trainer.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_processes_that_learn_together_hold_each_a_part_of_the_records(shards, tmp_path):
    given = Namespace(shards_dir=tmp_path, shards=2, seed=0)
    held = []
    for number in range(2):
        shutil.copy(shard_path(shards, 0), shard_path(tmp_path, number))
        pools = [pools_of(Together(rank, 2), given).pools[0] for rank in range(2)]
        held.append([len(pool.singles) + len(pool.clips) for pool in pools])
    assert held == [[6, 0], [6, 6]]


def test_questions_come_with_the_second_stage(shards):
    progress = torch.tensor(0.4)
    steps = StepsAhead(maker(), shards, 1, progress)
    assert not steps(0).asked
    progress.fill_(0.5)
    assert steps(1).asked


def test_a_record_is_shown_in_as_many_steps_in_a_row_as_the_recipe_says(shards):
    pool = Pool(shards, 1, 0)
    twice = maker(replace(FEW, looks=2))
    counts = [len(twice.make(pool, step, 0, False).wanted.poses) for step in range(3)]
    # One of two frames, and a clip of none, are drawn each time: one is new, the other of before.
    assert counts == [1, 2, 2]
    first, second = (maker(replace(FEW, looks=looks)).make(pool, 0, 0, False) for looks in (1, 2))
    assert len(first.wanted.poses) > len(second.wanted.poses)


def test_without_colours_none_is_taught_and_none_asked(shards):
    made = maker(replace(FEW, grey=1.0))
    pool = Pool(shards, 1, 0)
    scenes = made.scenes([*pool.singles, *pool.clips], np.random.default_rng(0))
    for scene in scenes:
        for patches in scene.inputs.patches:
            pixels = torch.from_numpy(patches).view(len(patches), 3, -1)
            assert torch.equal(pixels[:, 0], pixels[:, 1]) and torch.equal(
                pixels[:, 0], pixels[:, 2])
    wanted = labels(scenes)
    assert (wanted.words['colour'] == UNKNOWN).all()
    assert (wanted.words['category'] != UNKNOWN).any()
    kinds: dict[bool, set[str]] = {True: set(), False: set()}
    for seed in range(6):
        rng = Random(seed)
        questioner = Questioner(rng, Asker(rng, CONTRACT, 'train'))
        for scene in scenes:
            for grey in kinds:
                kinds[grey] |= {one.item.kind for one in questioner.about(
                    replace(scene, grey=grey), 0, singles=4, pairs=8, windows=4)
                    if all(scene.facts[-1][i].visible for i in one.item.objects)}
    assert not kinds[True] & {*COLOURED, 'count_colour'} and 'motion' in kinds[True]
    assert kinds[False] > {*COLOURED, 'count_colour'}


def test_into_how_many_batches_questions_are_cut_changes_no_loss(shards):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = train_tokenizer()
    losses = []
    trainer = Trainer(PixelReferLite.from_config(tiny_config(tokenizer)), tokenizer, FEW, CONTRACT)
    for buckets in (1, 4):
        step = maker(replace(FEW, buckets=buckets)).make(Pool(shards, 1, 0), 0, 0, True)
        assert len(step.asked) == buckets
        with torch.no_grad():
            tokens = trainer.encode(step.batch, step.wanted).tokens
            losses.append([float(loss) for loss in trainer.answer_loss(tokens, step.asked)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and min(losses[0]) > 0


def test_a_clip_is_taught_from_its_first_sight_to_its_last(shards):
    made = maker(replace(FEW, grey=0.0))
    scenes = made.scenes(Pool(shards, 1, 0).clips, np.random.default_rng(1))
    # One is not seen in the second and the last view.
    first, thing = scenes[0], next(i for i, motion in scenes[0].motions.items() if motion)
    kept = [n for n, (view, i) in enumerate(first.regions) if i != thing or view % 2 == 0]
    assert len(kept) == len(first.regions) - 2
    scenes[0] = replace(first, inputs=first.inputs.take(kept),
                        regions=[first.regions[n] for n in kept])
    wanted, start, clips = labels(scenes), 0, []
    for scene in scenes:
        clips += [[start + n for n, (_, other) in enumerate(scene.regions) if other == i]
                  for i, motion in scene.motions.items() if motion]
        start += len(scene.regions)
    assert clips and len(wanted.seen) == len(wanted.motions) == len(clips)
    values = torch.rand(start)
    for rows, seen, weights in zip(clips, wanted.seen, wanted.weights, strict=True):
        assert (seen[0], seen[-1]) == (rows[0], rows[-1])
        assert float((values[seen] * weights).sum()) == pytest.approx(float(values[rows].mean()))


def test_sequences_are_cut_into_batches_with_the_least_padding():
    rng = Random(1)

    def places(lengths: list[int], starts: list[int]) -> int:
        ends = [*starts[1:], len(lengths)]
        return sum((end - start) * lengths[end - 1] for start, end in zip(starts, ends))

    for _ in range(100):
        lengths = sorted(rng.randint(1, 9) for _ in range(rng.randint(1, 8)))
        count = rng.randint(1, 4)
        starts = cuts(lengths, count)
        assert starts[0] == 0 and len(starts) <= count
        assert places(lengths, starts) == min(
            places(lengths, [0, *some]) for n in range(count)
            for some in combinations(range(1, len(lengths)), n))
    assert cuts([], 3) == []


def test_what_a_recipe_is_on_a_gpu_and_from_weights():
    assert recipe_of(None, 3, False, False) == Recipe(seed=3)
    assert recipe_of(None, 3, False, True) == replace(Recipe(seed=3), **ON_GPU)
    assert recipe_of(7.0, 3, True, True) == replace(
        Recipe(seed=3), **{**ON_GPU, **FROM_WEIGHTS, 'minutes': 7.0})


def test_how_far_a_run_is_goes_by_its_clock_or_by_its_steps():
    assert progress_of(FEW, None) == 0.0
    assert progress_of(FEW, {'step': 1, 'seconds': 1800.0}) == 0.5
    assert progress_of(replace(FEW, steps=4), {'step': 1, 'seconds': 1800.0}) == 0.25
