# SPDX-License-Identifier: Apache-2.0
"""The same seed is the same scene, train and test never meet, rendering leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training.world import World
from training.world.clips import ClipSet, Recipe, generate
from training.world import planner
from training.world.planner import plan_scene


def resident_bytes() -> int:
    """Resident set size of this process."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * 4096


def test_a_plan_depends_on_its_seed_alone(world: World) -> None:
    first = [world.plan(seed, 'train') for seed in (5, 6)]
    world.plan(99, 'test')
    assert [plan_scene(world.contract, seed, 'train', 4.0) for seed in (5, 6)] == first
    assert first[0] != first[1]


def test_pixels_depend_on_plan_and_time_alone(world: World) -> None:
    plan, other = world.plan(3, 'test'), world.plan(4, 'test')
    first = world.render(plan, 1.3, depth=True)
    world.render(other, 0.2)
    world.amodal(plan, 2.0)
    again = world.render(plan, 1.3, depth=True)
    assert (first.rgb == again.rgb).all() and (first.seg == again.seg).all()
    assert (first.depth == again.depth).all()
    assert (world.segment(plan, 1.3) == first.seg).all()


def test_train_and_test_seeds_never_meet(world: World) -> None:
    contract = world.contract
    train = {contract.seed(seed, 'train') for seed in (0, 1, 999_999)}
    test = {contract.seed(seed, 'test') for seed in (0, 1, 999_999, 1_000_000)}
    assert max(train) < contract.train_seeds <= min(test)
    assert contract.seed(1_000_007, 'test') == contract.seed(7, 'test')
    assert world.plan(8, 'train').objects != world.plan(8, 'test').objects
    with pytest.raises(ValueError, match='below 1000000'):
        contract.seed(1_000_000, 'train')
    with pytest.raises(ValueError, match='split must be one of'):
        contract.seed(1, 'validation')


def test_held_out_pairs_are_met_in_test_scenes_only(world: World) -> None:
    def pairs(split: str, count: int) -> list[tuple[str, str]]:
        return [(spec.category, spec.colour) for seed in range(count)
                for spec in world.plan(seed, split).objects]
    held = world.contract.held_out
    assert not held & set(pairs('train', 150))
    found = [pair in held for pair in pairs('test', 60)]
    assert 0.04 < np.mean(found) < 0.16


def test_bad_requests_say_what_is_allowed(world: World) -> None:
    with pytest.raises(ValueError, match='kind must be one of'):
        world.plan(1, kind='chaos')
    with pytest.raises(ValueError, match='seconds must be positive'):
        world.plan(1, seconds=0)


def test_rendering_many_scenes_holds_no_more_than_a_few(world: World) -> None:
    def spend(seeds: range) -> int:
        for seed in seeds:
            world.render(world.plan(seed), 1.0, depth=True)
        return resident_bytes()
    few = spend(range(12))
    assert spend(range(12, 52)) < few + 16 * 2 ** 20


def test_a_closed_world_says_so() -> None:
    with World() as other:
        plan = other.plan(0)
    other.close()
    with pytest.raises(RuntimeError, match='closed'):
        other.render(plan, 0.0)


@pytest.mark.parametrize(('kind', 'shape'), [('tracker', (3, 256, 256)), ('images', (1, 240, 320)),
                                             ('motion', (4, 240, 320))])
def test_clips_are_the_same_when_taken_up_again(tmp_path, kind: str, shape: tuple) -> None:
    recipe = Recipe(kind, count=3, frames=3, seed=40, split='train', shard=2)
    one = generate(tmp_path / 'one', recipe, progress=False)
    clips = ClipSet(one)
    assert len(clips) == 3
    rgb, seg, record = clips[2]
    assert rgb.shape == (*shape, 3) and seg.shape == shape and rgb.dtype == np.uint8
    assert record['seed'] == 42 and len(record['frames']) == len(record['times']) == shape[0]
    for i, truth in enumerate(record['frames'][0]):
        assert truth['area'] == int((seg[0] == i + 1).sum())
    before = {path.name: path.read_bytes() for path in one.iterdir()}
    for name in ('00001.jsonl', '00001.rgb.npy'):
        (one / name).unlink()
    generate(one, recipe, progress=False)
    assert {path.name: path.read_bytes() for path in one.iterdir()} == before


def test_a_folder_holds_one_recipe(tmp_path) -> None:
    (tmp_path / 'recipe.json').write_text(json.dumps({'kind': 'images'}))
    with pytest.raises(ValueError, match='another recipe'):
        generate(tmp_path, Recipe('images', 1, 1, 0, 'train', 1))


def test_a_scene_too_short_for_anything_to_happen_is_refused_and_not_looked_for_forever(
        world, monkeypatch):
    monkeypatch.setattr(planner, 'MOST_ROUNDS', 2)
    with pytest.raises(ValueError, match='more seconds are needed'):
        world.plan(5, seconds=0.2, kind='events')
