# SPDX-License-Identifier: Apache-2.0
"""Rendered scenes hold what contract.yaml says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from world_support import SCENES, Sight, tolerance

import training.world
from training.world import Contract, ScenePlan, World
from training.world.camera import Pinhole

NAMES = ('category', 'colour', 'pattern', 'size')


def test_a_contract_has_the_breadth_that_accuracy_needs() -> None:
    contract = Contract.load()
    assert len(contract.categories) >= 8 and len(contract.colours) == 8
    assert len(contract.patterns) == 3
    assert all(len(shapes) >= 2 for shapes in contract.shapes.values())
    pairs = len(contract.categories) * len(contract.colours)
    assert len(contract.held_out) == round(0.1 * pairs)


def test_a_contract_whose_sizes_meet_is_refused(tmp_path) -> None:
    source = Path(training.world.__file__).with_name('contract.yaml')
    broken = tmp_path / 'contract.yaml'
    broken.write_text(source.read_text().replace('large: [1.08', 'large: [0.80'))
    with pytest.raises(ValueError, match='small and large must not meet'):
        Contract.load(broken)


def test_every_word_occurs_about_as_often_as_its_fellows(plans: list[ScenePlan]) -> None:
    objects = [spec for plan in plans for spec in plan.objects]
    for name, words in (('category', 8), ('colour', 8), ('pattern', 3), ('size', 2)):
        counts = Counter(spec.words[name] for spec in objects)
        assert len(counts) == words
        assert min(counts.values()) > 0.5 * len(objects) / words, (name, counts)
    used = Counter((spec.category, spec.shape) for spec in objects)
    contract = plans[0].contract
    assert all(used[category, shape] for category in contract.shapes
               for shape in contract.shapes[category])


def test_sizes_are_continuous_with_a_gap_between_the_words(plans: list[ScenePlan]) -> None:
    scales = {size: [o.scale for plan in plans for o in plan.objects if o.size == size]
              for size in ('small', 'large')}
    for size, (low, high) in plans[0].contract.sizes.items():
        assert low <= min(scales[size]) and max(scales[size]) <= high
        assert len(set(scales[size])) > 0.8 * len(scales[size])
    assert max(scales['small']) < min(scales['large'])


def test_scenes_have_four_to_eight_objects(plans: list[ScenePlan]) -> None:
    assert {len(plan.objects) for plan in plans} == {4, 5, 6, 7, 8}


def test_half_of_the_scenes_have_look_alikes_that_differ_in_one_attribute(
        plans: list[ScenePlan]) -> None:
    def closest(plan: ScenePlan) -> int:
        return min(sum(a.words[name] != b.words[name] for name in NAMES)
                   for i, a in enumerate(plan.objects) for b in plan.objects[:i])
    near = [closest(plan) for plan in plans]
    assert min(near) == 1, 'no two objects may be the same in every word'
    share = near.count(1) / len(near)
    wanted = plans[0].contract.look_alike_share
    assert abs(share - wanted) < tolerance(wanted, len(near), 1.0)


def test_three_in_ten_stand_on_or_in_another_and_rest_there(plans: list[ScenePlan]) -> None:
    objects = [(plan, spec) for plan in plans for spec in plan.objects]
    riders = [(plan, spec) for plan, spec in objects if spec.support >= 0]
    wanted = plans[0].contract.supported_share
    assert abs(len(riders) / len(objects) - wanted) < tolerance(wanted, len(objects))
    assert {spec.relation for _, spec in riders} == {'on', 'in'}
    for plan, spec in riders:
        carrier = plan.objects[spec.support]
        form = carrier.form
        assert spec.rest[2] == pytest.approx(carrier.rest[2] + form.top * carrier.scale)
        off = np.hypot(*np.subtract(spec.rest[:2], carrier.rest[:2]))
        assert off + spec.form.radius * spec.scale <= form.room * carrier.scale + 1e-9
        assert spec.relation == form.carries


def test_what_stands_on_the_table_does_not_meet(plans: list[ScenePlan]) -> None:
    for plan in plans:
        stand = [spec for spec in plan.objects if spec.support < 0]
        for i, a in enumerate(stand):
            for b in stand[:i]:
                apart = np.hypot(*np.subtract(a.rest[:2], b.rest[:2]))
                assert apart > a.form.radius * a.scale + b.form.radius * b.scale


def test_a_third_of_what_is_seen_is_partly_hidden(census: list[Sight]) -> None:
    seen = [s for s in census if s.area > 0]
    contract = seen[0].plan.contract
    share = np.mean([s.visible < contract.whole for s in seen])
    wanted = contract.partly_hidden_share
    assert abs(share - wanted) < tolerance(wanted, len(seen), 3.0), share


def test_one_in_ten_is_cut_by_the_image_edge(census: list[Sight]) -> None:
    seen = [s for s in census if s.area > 0]
    wanted = seen[0].plan.contract.cut_share
    assert abs(np.mean([s.cut for s in seen]) - wanted) < tolerance(wanted, len(seen), 3.0)


def test_areas_lie_within_bounds_and_one_in_ten_is_small(census: list[Sight]) -> None:
    area = census[0].plan.contract.area
    whole = [s.area for s in census if s.area and not s.cut and s.visible > 0.95
             and s.plan.support(s.index, s.t)[0] > -2]
    assert min(whole) >= area['min'] * 0.9 and max(whole) <= area['max']
    assert np.mean([a >= area['min'] for a in whole]) > 0.995
    seen = [s.area for s in census if s.area >= area['min']]
    assert np.mean([a < area['small'] for a in seen]) >= area['small_share']


def test_nothing_before_an_object_means_that_all_of_it_is_seen(census: list[Sight]) -> None:
    assert all(0 <= s.area <= s.amodal for s in census)
    assert any(s.area == s.amodal > 0 for s in census)
    assert any(0 < s.area < 0.5 * s.amodal for s in census)


def reproject(plan: ScenePlan, depth: np.ndarray, seg: np.ndarray, t: float, later: float
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Static pixels at `t` [n,2], where they fall `later` [n,2], how deep they are there [n], and
    where they are in the world [n,3]."""
    pinhole = Pinhole.of(plan.contract)
    v, u = np.nonzero((seg == 0) & (depth < 3.0))
    rays = np.stack([(u - pinhole.cx) / pinhole.focal, (v - pinhole.cy) / pinhole.focal,
                     np.ones_like(u)], 1)
    before, after = plan.camera.pose(t), plan.camera.pose(later)
    points = rays * depth[v, u][:, None] @ before.rotation.T + before.position
    there = after.to_camera(points)
    return np.stack([u, v], 1), pinhole.project(there), there[:, 2], points


def test_the_camera_moves_two_to_twelve_pixels_a_frame_a_fifth_of_it_fast(
        world: World, plans: list[ScenePlan]) -> None:
    limits = plans[0].contract.camera
    means, within = [], []
    for plan in plans:
        speeds = []
        for t in (0.4, 1.6, 2.8):
            shot = world.render(plan, t, depth=True)
            here, there, *_ = reproject(plan, shot.depth, shot.seg, t, t + 0.1)
            speeds.append(np.median(np.linalg.norm(there - here, axis=1)))
            turn = plan.camera.pose(t).rotation.T @ plan.camera.pose(t + 0.1).rotation
            assert np.arccos((np.trace(turn) - 1) / 2) > 0.001, 'the camera always turns'
        means.append(np.mean(speeds))
        within += [limits['speed'][0] <= s <= limits['speed'][1] for s in speeds]
    assert np.mean(within) > 0.95
    assert min(means) >= limits['speed'][0] and max(means) <= limits['speed'][1]
    fast = np.mean([m > limits['fast_from'] for m in means])
    assert abs(fast - limits['fast_share']) < tolerance(limits['fast_share'], len(means), 1.0)


def test_depth_and_camera_path_agree_with_the_next_frame(world: World, plans: list[ScenePlan]
                                                         ) -> None:
    plan = next(plan for plan in plans if plan.kind == 'calm')
    shot, after = (world.render(plan, t, depth=True) for t in (1.0, 1.1))
    _, there, deep, points = reproject(plan, shot.depth, shot.seg, 1.0, 1.1)
    u, v = np.round(there).astype(int).T
    inside = (u >= 0) & (u < 320) & (v >= 0) & (v < 240)
    error = np.abs(after.depth[v[inside], u[inside]] - deep[inside])
    assert np.median(error) < 0.002
    assert np.mean(error < 0.01) > 0.9
    over = (np.abs(points[:, :2]) < (0.79, 0.59)).all(1) & (np.abs(points[:, 2]) < 0.2)
    assert np.median(np.abs(points[over, 2])) < 0.002, 'the table top is at height 0'


def test_an_object_falls_where_its_truth_says(world: World, plans: list[ScenePlan]) -> None:
    for plan in plans[:20]:
        seg, truth = world.segment(plan, 1.0), plan.truth(1.0)
        for i, spec in enumerate(plan.objects):
            v, u = np.nonzero(seg == i + 1)
            hull = plan.hull(i, 1.0)
            if len(u):
                low, high = hull.min(0) - 2.0, hull.max(0) + 2.0
                assert low[0] <= u.min() and u.max() <= high[0]
                assert low[1] <= v.min() and v.max() <= high[1]
                assert (low <= truth[i].pixel).all() and (truth[i].pixel <= high).all()


def test_plain_objects_show_the_colour_they_are_said_to_have(world: World, plans: list[ScenePlan]
                                                             ) -> None:
    colours = plans[0].contract.colours
    palette = np.array([c.rgb for c in colours.values()])
    right = []
    for plan in plans[:40]:
        shot = world.render(plan, 0.9)
        for i, spec in enumerate(plan.objects):
            mask = shot.seg == i + 1
            if spec.pattern != 'plain' or mask.sum() < 600 or spec.category in ('book', 'can'):
                continue
            pixel = np.median(shot.rgb[mask], axis=0) / 255
            if spec.colour in ('white', 'black'):
                right.append(np.ptp(pixel) < 0.25 and (pixel.mean() > 0.35)
                             == (spec.colour == 'white'))
                continue
            # Light and shade change the length of a colour, hardly its direction.
            unit = palette / np.linalg.norm(palette, axis=1, keepdims=True)
            best = list(colours)[int((unit @ pixel).argmax())]
            right.append(best == spec.colour)
    assert len(right) > 20 and np.mean(right) > 0.9


def test_looks_vary_from_scene_to_scene(plans: list[ScenePlan]) -> None:
    looks = [plan.look for plan in plans]
    assert len({look.table for look in looks}) > 6 and len({look.floor for look in looks}) > 2
    assert len({look.wall for look in looks}) == len({look.light_dir for look in looks}) == SCENES
    assert {bool(look.clutter) for look in looks} == {True, False}


def test_clutter_is_seen_but_is_no_object(world: World, plans: list[ScenePlan]) -> None:
    plan = next(plan for plan in plans if len(plan.look.clutter) > 6)
    bare = replace(plan, look=replace(plan.look, clutter=(), clutter_rgb=()))
    full, empty = world.render(plan, 1.0), world.render(bare, 1.0)
    assert (full.rgb != empty.rgb).any()
    assert full.seg.max() <= len(plan.objects)
