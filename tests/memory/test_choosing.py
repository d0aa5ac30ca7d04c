# SPDX-License-Identifier: Apache-2.0
"""Which moments a question about the past rests on."""

import numpy as np
import pytest

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import choosing
from pixelrefer_model.memory.choosing import Budget, Mark, choose


def marks(*seconds: float, **reasons: str) -> list[Mark]:
    return [Mark(int(s * 10), reasons.get(f's{int(s)}', 'interval')) for s in seconds]


def chosen(one: list[Mark], most: int) -> list[float]:
    return [one[place].stamp_ns / 10 for place in choose([one], most)[0]]


def test_first_and_last_sighting_then_events_then_evenly_in_time():
    past = marks(*range(101), s13='moved', s40='touched')
    assert chosen(past, 1) == [100]
    assert chosen(past, 2) == [0, 100]
    assert chosen(past, 3) == [0, 40, 100]
    assert chosen(past, 6) == [0, 13, 33, 40, 67, 100]


def test_evenly_in_time_is_not_evenly_in_number():
    """Many moments of one second, few of the rest."""
    past = marks(*[k / 10 for k in range(10)], 20, 40, 60, 80, 100)
    assert chosen(past, 6) == [0, 20, 40, 60, 80, 100]


def test_several_objects_are_taken_at_the_same_times():
    one, two = marks(*range(0, 100, 2), s30='moved'), marks(*range(1, 101, 3))
    places = choose([one, two], 4)
    times = [[marks_[p].stamp_ns / 10 for p in kept] for marks_, kept in zip((one, two), places)]
    assert times[0] == [0, 30, 50, 98]
    assert times[1] == [1, 31, 49, 100]


def test_the_nearest_moment_that_is_not_taken_is_taken_and_of_two_the_later_one():
    """Whatever the moments are: looked for among all of them."""
    random = np.random.default_rng(0)
    for _ in range(300):
        stamps = sorted(set(random.integers(0, 60, 15).tolist()))
        picked = set(random.choice(len(stamps), random.integers(0, len(stamps)), False).tolist())
        time = int(random.integers(-5, 65))
        free = [place for place in range(len(stamps)) if place not in picked]
        assert choosing._nearest(stamps, time, picked) == min(
            free, key=lambda place: (abs(stamps[place] - time), -place))


def test_where_there_is_room_for_all_all_are_taken():
    assert chosen(marks(1, 2, 3), 9) == [1, 2, 3]
    assert choose([[], marks(1)], 4) == [[], [0]]


@pytest.mark.parametrize('most', range(1, 12))
def test_the_budget_holds_and_no_moment_is_taken_twice(most):
    past = marks(*range(50), **{f's{n}': 'moved' for n in range(0, 50, 3)})
    places = choose([past], most)[0]
    assert len(places) == len(set(places)) == most and places == sorted(places)


def test_tokens_bound_the_moments_of_all_objects_together():
    assert Budget(frames=8, tokens=1024).moments(objects=2, tokens_each=32) == 8
    assert Budget(frames=64, tokens=1024).moments(objects=2, tokens_each=32) == 16
    assert Budget(frames=8, tokens=10).moments(objects=3, tokens_each=32) == 1
    for wrong in (lambda: Budget(frames=0), lambda: Budget(tokens=0), lambda: choose([[]], 0)):
        with pytest.raises(PixelReferError) as caught:
            wrong()
        assert caught.value.code == 'BAD_BUDGET'
