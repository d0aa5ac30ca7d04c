# SPDX-License-Identifier: Apache-2.0
"""Relations are what the geometry says, and are not given where it cannot tell."""

import numpy as np
import pytest

from pixelrefer_model.geometry import Placed, measure, measure_upright

OPPOSITE = {'left': 'right', 'above': 'below', 'in_front': 'behind', 'nearer': 'farther',
            'taller': 'shorter', 'wider': 'narrower'}
OPPOSITE |= {other: one for one, other in OPPOSITE.items()}


def placed(x, y, z, size=(0.1, 0.1, 0.1), error=0.005) -> Placed:
    return Placed(np.array([x, y, z], float), np.eye(3) * error ** 2, np.array(size),
                  np.full(3, error), error, 500, 600, np.array([x, y, z], float))


def test_the_distance_is_that_between_the_positions():
    found = measure(placed(0, 0, 1), placed(0.3, 0.4, 1))
    assert found.distance == pytest.approx(0.5)
    assert found.deviation == pytest.approx(0.005 * np.sqrt(2))


@pytest.mark.parametrize('first, relations', [
    ((-0.3, 0, 1), {'left', 'farther'}), ((0, -0.3, 1), {'above', 'farther'}),
    ((0, 0, 0.7), {'in_front', 'nearer'}),
    ((0.2, 0.3, 1.4), {'right', 'below', 'behind', 'farther'})])
def test_each_relation_follows_from_its_axis(first, relations):
    assert set(measure(placed(*first), placed(0, 0, 1)).relations) == relations


def test_what_the_first_is_to_the_second_the_second_is_not_to_the_first():
    one, other = placed(-0.2, -0.3, 1.5, (0.3, 0.2, 0.1)), placed(0.1, 0.4, 0.9)
    forth, back = measure(one, other), measure(other, one)
    assert set(back.relations) == {OPPOSITE[name] for name in forth.relations}
    assert back.distance == forth.distance


def test_what_lies_within_the_error_is_no_relation():
    assert measure(placed(0.005, 0, 1), placed(0, 0, 1)).relations == {}
    sharp = placed(0.005, 0, 1, error=0.001), placed(0, 0, 1, error=0.001)
    assert 'right' in measure(*sharp).relations


def test_the_larger_one_is_taller_and_wider():
    found = measure(placed(0, 0, 1, (0.3, 0.4, 0.1)), placed(0, 0, 1)).relations
    assert set(found) == {'taller', 'wider'}
    assert found['taller'] == (pytest.approx(0.3), pytest.approx(0.005 * np.sqrt(2)))


@pytest.mark.parametrize('position, on', [
    ((0, -0.15, 1), True), ((0.05, -0.16, 1.05), True), ((0, -0.4, 1), False),
    ((0.4, -0.15, 1), False), ((0, 0.15, 1), False)])
def test_one_is_on_the_other_where_it_ends_at_its_top_and_over_it(position, on):
    found = measure(placed(*position), placed(0, 0, 1, (0.3, 0.2, 0.3))).relations
    assert ('on' in found) is on


def test_up_is_what_the_caller_says():
    tilted = (0.0, -np.sqrt(0.5), -np.sqrt(0.5))
    assert 'above' in measure(placed(0, 0, 0.8), placed(0, 0, 1), tilted).relations
    assert 'above' not in measure(placed(0, 0, 0.8), placed(0, 0, 1)).relations


def test_the_same_place_has_no_direction():
    found = measure(placed(0, 0, 1), placed(0, 0, 1))
    assert found.distance == 0 and found.relations == {} and np.isfinite(found.deviation)


def test_upright_the_z_axis_says_what_is_above_and_taller():
    found = measure_upright(placed(0, 0, 1.6, (0.1, 0.1, 0.4)), placed(0, 0, 1))
    assert set(found.relations) == {'above', 'taller'}
    assert found.distance == pytest.approx(0.6)
    assert 'on' in measure_upright(placed(0, 0, 1.15, (0.1, 0.1, 0.2)), placed(0, 0, 1)).relations


def test_what_only_a_camera_can_tell_is_told_of_what_one_camera_saw():
    upright = placed(2, 1, 1.3), placed(2, 0, 1)
    seen = placed(-0.3, -0.3, 2), placed(0, 0, 2)
    alone = measure_upright(*upright)
    assert set(alone.relations) == {'above'}
    assert set(measure_upright(*upright, seen).relations) == {'above', 'left', 'farther'}
    assert measure_upright(*upright, seen).distance == alone.distance
