# SPDX-License-Identifier: Apache-2.0
"""What happens in a scene is what its truth says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from world_support import tolerance

from training.world import ScenePlan, World
from training.world.camera import Pinhole
from training.world.events import NOTHING, TABLE
from training.world.truth import Relation

WAYS = {'left', 'right', 'closer', 'away'}


@pytest.fixture(scope='module')
def motions(world: World) -> list[ScenePlan]:
    return [world.plan(seed, 'test', 4.0, 'motion') for seed in range(100, 150)]


@pytest.fixture(scope='module')
def happenings(world: World) -> list[ScenePlan]:
    return [world.plan(seed, 'test', 4.0, 'events') for seed in range(200, 260)]


def test_two_in_five_to_one_half_of_the_clips_have_moving_objects(world: World) -> None:
    moving = [world.plan(seed, 'train').kind != 'calm' for seed in range(300, 420)]
    share = world.contract.events['moving_share']
    assert abs(np.mean(moving) - share) < tolerance(share, len(moving), 1.0)


def test_in_motion_clips_an_object_is_still_or_moves_half_and_half(motions: list[ScenePlan]
                                                                   ) -> None:
    words = Counter(plan.motion(i, 0.0, 4.0) for plan in motions for i in range(len(plan.objects)))
    total = sum(words.values())
    assert set(words) == WAYS | {'still'}
    assert 0.40 < words['still'] / total < 0.64, words
    moving = total - words['still']
    assert min(words[way] for way in WAYS) > 0.12 * moving, words


def test_every_motion_word_is_beyond_doubt_and_agrees_with_the_image(motions: list[ScenePlan]
                                                                     ) -> None:
    for plan in motions:
        pinhole, pose = Pinhole.of(plan.contract), plan.camera.pose(4.0)
        for i in range(len(plan.objects)):
            assert plan.motion_clear(i, 0.0, 4.0)
            before, after = pose.to_camera([plan.position(i, 0.0), plan.position(i, 4.0)])
            shift = pinhole.project(after[None])[0] - pinhole.project(before[None])[0]
            word = plan.motion(i, 0.0, 4.0)
            if word == 'still':
                assert np.linalg.norm(after - before) < 0.01
            if word in ('left', 'right'):
                assert abs(shift[0]) > 5 and (shift[0] < 0) == (word == 'left')
            if word in ('closer', 'away'):
                assert (after[2] < before[2]) == (word == 'closer')


def test_travel_is_ten_to_thirty_five_centimetres_within_its_time(
        motions: list[ScenePlan], happenings: list[ScenePlan]) -> None:
    moves = [move for plan in motions + happenings for move in plan.moves
             if move.kind in ('push', 'lift')]
    events = motions[0].contract.events
    assert {move.kind for move in moves} == {'push', 'lift'}
    for move in moves:
        length = np.hypot(*np.subtract(move.end, move.start)[:2])
        assert events['travel'][0] - 1e-9 <= length <= events['travel'][1] + 1e-9
        assert events['duration'][0] <= move.t1 - move.t0 <= events['duration'][1]
        assert 0 <= move.t0 < move.t1 <= 4.0


def test_motion_is_smooth_and_stays_above_the_table(motions: list[ScenePlan],
                                                    happenings: list[ScenePlan]) -> None:
    times = np.arange(0, 4.0, 0.05)
    for plan in motions + happenings:
        for i in range(len(plan.objects)):
            path = np.stack([plan.position(i, t) for t in times])
            assert path[:, 2].min() > -1e-9
            assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() < 0.16


def test_a_pushed_object_meets_nothing(motions: list[ScenePlan]) -> None:
    for plan in motions:
        rides = {i for i, spec in enumerate(plan.objects) if spec.support >= 0}
        for t in np.linspace(0, 4.0, 15):
            down = [i for i in range(len(plan.objects)) if i not in rides
                    and plan.support(i, t)[0] == TABLE]
            for k, i in enumerate(down):
                for j in down[:k]:
                    apart = np.hypot(*(plan.position(i, t) - plan.position(j, t))[:2])
                    reach = sum(plan.objects[x].form.radius * plan.objects[x].scale
                                for x in (i, j))
                    assert apart > reach - 1e-6


def test_what_rides_goes_with_what_carries_it(motions: list[ScenePlan]) -> None:
    seen = 0
    for plan in motions:
        for move in plan.moves:
            for j, spec in enumerate(plan.objects):
                if spec.support == move.index:
                    step = plan.position(j, 4.0) - plan.position(j, 0.0)
                    assert step == pytest.approx(np.subtract(move.end, move.start))
                    assert plan.motion(j, 0.0, 4.0) == plan.motion(move.index, 0.0, 4.0)
                    seen += 1
    assert seen > 3


def test_what_is_lifted_has_no_support_until_it_is_put_down(motions: list[ScenePlan]) -> None:
    lifts = [(plan, move) for plan in motions for move in plan.moves if move.kind == 'lift']
    assert any(plan.objects[move.index].support >= 0 for plan, move in lifts)
    for plan, move in lifts:
        spec, middle = plan.objects[move.index], (move.t0 + move.t1) / 2
        assert plan.support(move.index, move.t0 - .01)[0] == spec.support
        assert plan.support(move.index, middle)[0] == NOTHING
        assert plan.truth(middle)[move.index].support is None
        assert plan.truth(move.t1 + .01)[move.index].support == 'table'
        assert plan.position(move.index, middle)[2] > 0.05


def test_what_a_board_covers_is_hidden_half_a_second_to_two_and_then_seen_again(
        world: World, happenings: list[ScenePlan]) -> None:
    low, high = world.contract.events['hidden']
    covered = [(plan, cover) for plan in happenings for cover in plan.covers]
    assert len(covered) > 5
    for plan, cover in covered[:12]:
        assert low <= cover.t1 - cover.t0 <= high
        label = cover.index + 1
        for t in np.linspace(cover.t0, cover.t1, 5):
            assert plan.hidden(cover.index, t)
            assert not (world.segment(plan, t) == label).any()
        others = replace(plan, covers=())
        assert any((world.segment(others, t) == label).any() for t in (cover.t0, cover.t1))


def test_what_is_carried_off_is_gone_and_some_of_it_comes_back(
        world: World, happenings: list[ScenePlan]) -> None:
    gone = [(plan, move) for plan in happenings for move in plan.moves
            if move.kind == 'carry_off']
    back = {(id(plan), move.index): move for plan in happenings for move in plan.moves
            if move.kind == 'bring_back'}
    assert len(gone) > 3 and back
    for plan, move in gone:
        label, t = move.index + 1, move.t1 + 0.05
        assert not plan.present(move.index, t)
        assert not (world.segment(plan, t) == label).any()
        again = back.get((id(plan), move.index))
        if again:
            assert plan.present(move.index, again.t1)
            assert plan.position(move.index, again.t1) == pytest.approx(move.start)


def test_left_and_behind_are_the_cameras(world: World) -> None:
    contract = world.contract
    near, far = np.array([-.10, 0, .60]), np.array([.10, 0, .90])
    one = Relation.between(near, far, contract)
    assert (one.side, one.depth, one.side_clear, one.depth_clear) == ('left', 'front', True, True)
    other = Relation.between(far, near, contract)
    assert (other.side, other.depth) == ('right', 'behind')
    close = Relation.between(near, near + (.03, 0, .05), contract)
    assert not close.side_clear and not close.depth_clear
