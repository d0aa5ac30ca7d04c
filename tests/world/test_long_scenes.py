# SPDX-License-Identifier: Apache-2.0
"""Long scenes: one thing after another, each as its truth says, the same for the same seed."""

from collections import Counter

import numpy as np
import pytest

from training.world import Contract, ScenePlan
from training.world.events import NOTHING, SLIDING, TABLE
from training.world.layout import Places
from training.world.long_scenes import (
    CONTACT_GAP, ROUND, SECONDS, Director, plan_long_scene)

CONTRACT = Contract.load()


@pytest.fixture(scope='module')
def plans() -> list[ScenePlan]:
    return [plan_long_scene(CONTRACT, seed, 'test') for seed in range(14)]


def radius(plan: ScenePlan, i: int) -> float:
    return plan.objects[i].form.radius * plan.objects[i].scale


def test_a_scene_depends_on_its_seed_alone_and_is_none_of_the_short_ones(plans):
    assert plan_long_scene(CONTRACT, 3, 'test') == plans[3] != plans[4]
    assert all(SECONDS[0] <= plan.seconds <= SECONDS[1] and plan.kind == 'long' for plan in plans)
    assert plan_long_scene(CONTRACT, 3, 'train').objects != plans[3].objects
    short = plan_long_scene(CONTRACT, 3, 'train', (30.0, 40.0))
    assert 30 <= short.seconds <= 40


def test_pairs_that_are_held_out_are_met_in_test_scenes_alone(plans):
    def pairs(some: list[ScenePlan]) -> set[tuple[str, str]]:
        return {(spec.category, spec.colour) for plan in some for spec in plan.objects}
    train = [plan_long_scene(CONTRACT, seed, 'train', (30.0, 31.0)) for seed in range(14)]
    assert not CONTRACT.held_out & pairs(train)
    assert CONTRACT.held_out & pairs(plans)


def test_everything_happens_and_about_half_of_the_objects_stay(plans):
    kinds = Counter(move.kind for plan in plans for move in plan.moves)
    assert set(kinds) == {'push', 'roll', 'lift', 'carry_off', 'bring_back'}
    assert any(plan.covers for plan in plans)
    assert any(move.support >= 0 for plan in plans for move in plan.moves if move.kind == 'lift')
    moved = [any(m.index == i for m in plan.moves) for plan in plans
             for i in range(len(plan.objects))]
    assert 0.25 < np.mean(moved) < 0.65


def test_whatever_moves_moves_alone_and_begins_where_it_is(plans):
    for plan in plans:
        for move, following in zip(plan.moves, plan.moves[1:]):
            assert move.t1 < following.t0
        for move in plan.moves:
            assert plan.position(move.index, move.t0) == pytest.approx(move.start, abs=1e-6)
            assert plan.position(move.index, move.t1) == pytest.approx(move.end, abs=1e-6)
            assert move.t1 < plan.seconds


def test_what_is_put_on_something_rests_on_it_and_goes_with_it(plans):
    put = [(plan, move) for plan in plans for move in plan.moves
           if move.kind == 'lift' and move.support >= 0]
    for plan, move in put:
        carrier, i = move.support, move.index
        assert plan.support(i, (move.t0 + move.t1) / 2)[0] == NOTHING
        assert plan.support(i, move.t1 + 0.01) == (carrier, plan.objects[carrier].form.carries)
        apart = plan.position(i, move.t1) - plan.position(carrier, move.t1)
        assert np.hypot(*apart[:2]) < radius(plan, carrier)
        later = next((m.t0 for m in plan.moves if m.index == i and m.t0 > move.t1), plan.seconds)
        assert plan.position(i, later) - plan.position(carrier, later) == pytest.approx(apart)


def test_the_planner_knows_that_what_rides_went_along(plans):
    plan = next(plan for plan in plans if any(spec.support >= 0 for spec in plan.objects))
    rider, spec = next((i, spec) for i, spec in enumerate(plan.objects) if spec.support >= 0)
    director = Director(np.random.default_rng(0), CONTRACT, 30.0, plan.objects,
                        Places(np.random.default_rng(0), CONTRACT, plan.camera, 30.0))
    director._move(spec.support, 'push', 1.0, 3.0, director.at[spec.support] + (0.1, 0.0, 0.0))
    assert director.at[rider] == pytest.approx(np.add(spec.rest, (0.1, 0.0, 0.0)))


def test_objects_on_the_table_meet_but_never_overlap(plans):
    touched = 0
    for plan in plans:
        for t in np.arange(0, plan.seconds, 1.0):
            down = [i for i in range(len(plan.objects)) if plan.support(i, t)[0] == TABLE
                    and plan.present(i, t) and not any(
                        m.index == i and m.kind == 'bring_back' and t < m.t1 for m in plan.moves)]
            for n, i in enumerate(down):
                for j in down[:n]:
                    apart = np.hypot(*(plan.position(i, t) - plan.position(j, t))[:2])
                    gap = apart - radius(plan, i) - radius(plan, j)
                    assert gap > CONTACT_GAP - 1e-6, (plan.seed, t, i, j)
                    touched += gap < CONTACT_GAP + 1e-6 and {
                        plan.objects[k].category for k in (i, j)} <= set(ROUND)
    assert touched > 5


def test_what_rolls_slows_down_and_stays_on_the_table(plans):
    rolls = [(plan, m) for plan in plans for m in plan.moves if m.kind == 'roll']
    assert rolls
    for plan, move in rolls:
        at = [plan.position(move.index, t) for t in np.linspace(move.t0, move.t1, 9)]
        steps = np.linalg.norm(np.diff(at, axis=0), axis=1)
        assert (np.diff(steps) < 0).all()
        assert plan.support(move.index, (move.t0 + move.t1) / 2)[0] == TABLE
    assert SLIDING == ('push', 'roll')
