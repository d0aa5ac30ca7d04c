# SPDX-License-Identifier: Apache-2.0
"""What a question about now rests on where the newest observation shows something else."""

from dataclasses import replace
from math import cos, radians, sin

import pytest
import torch

from pixelrefer_model.memory import KeepLast, Now, ObjectMemory, Observation, Span
from pixelrefer_model.memory.long_memory import LongMemory
from pixelrefer_model.memory.recorder import Recorder
from pixelrefer_model.memory.store import MemoryStore

SECOND = 1_000_000_000
#: As alike as what lies 30 degrees apart.
LIKE = Now(likeness=cos(radians(30.5)))
TWO = replace(LIKE, looks=2)


def seen(second: float, degrees: float, *, key: str = 'k', tokens: int = 2) -> Observation:
    """An observation whose tokens lie so many degrees from those of 0."""
    one = torch.tensor([cos(radians(degrees)), sin(radians(degrees))])
    return Observation('mug', int(second * SECOND), 'camera', 0, (0, 0, 4, 4), 16,
                       one.repeat(tokens, 1), key)


def memory_of(*observations: Observation, keep: int = 8) -> ObjectMemory:
    memory = ObjectMemory(KeepLast(keep))
    memory.observe(list(observations))
    return memory


def seconds(memory: ObjectMemory, window=LIKE) -> list[float]:
    return [o.stamp_ns / SECOND for o in memory.select('mug', window, 4, 'k').observations]


def test_now_is_the_newest_that_looks_like_it_and_those_passed_over_are_counted():
    memory = memory_of(seen(1, 0), seen(2, 20), seen(3, 90), seen(4, 100))
    assert seconds(memory) == [2]
    assert memory.select('mug', LIKE, 4, 'k').left_out == 2
    assert seconds(memory, Now()) == seconds(memory, Now(likeness=-1.0)) == [4]
    assert memory.select('mug', Now(), 4, 'k').left_out == 0
    memory.observe([seen(5, 10)])
    assert seconds(memory) == [5] and memory.select('mug', LIKE, 4, 'k').left_out == 0


def test_what_changes_little_by_little_is_followed_but_not_from_what_was_passed_over():
    memory = memory_of(*(seen(n, 25 * n) for n in range(7)))
    assert seconds(memory) == [6]
    assert seconds(memory_of(seen(0, 0), seen(1, 60), seen(2, 80))) == [0]


@pytest.mark.parametrize('last, now', [(31, 1), (31.1, 31.1)])
def test_what_has_looked_otherwise_for_long_is_believed(last, now):
    memory = memory_of(seen(0, 0), seen(1, 0), *(seen(n, 90) for n in range(2, 31)),
                       seen(last, 90), keep=40)
    assert seconds(memory) == [now]


def test_two_looks_are_the_selection_and_the_newest_that_looks_like_it():
    memory = memory_of(seen(1, 0), seen(2, 10), seen(3, 20), seen(4, 90))
    assert seconds(memory, TWO) == [1, 3]
    assert seconds(memory_of(seen(1, 0), seen(2, 90)), TWO) == [1]


@pytest.mark.parametrize('other', [{'key': 'old'}, {'tokens': 3}])
def test_tokens_that_cannot_be_compared_are_not_held_against_the_newest(other):
    assert seconds(memory_of(seen(1, 0, **other), seen(2, 90))) == [2]


def test_who_points_at_an_object_anew_says_what_it_looks_like():
    memory = memory_of(*(seen(s, 0) for s in range(4)))
    memory.pointed_at('mug', 5 * SECOND)
    memory.observe([seen(5, 90), seen(6, 100), seen(7, 0)])
    assert seconds(memory) == [6]
    # What was seen before is remembered in its order, each once, whatever else is forgotten.
    assert seconds(memory, Span(2 * SECOND, 6 * SECOND)) == [2, 3, 5, 6]
    memory.forget(['mug'], Span(0, SECOND), 9 * SECOND)
    assert seconds(memory) == [6] and seconds(memory, TWO) == [5, 6]


def test_what_is_joined_was_selected_when_the_later_of_both_was():
    memory = memory_of(*(seen(s, 0) for s in range(4)), keep=16)
    memory.pointed_at('mug', 5 * SECOND)
    memory.observe([*(seen(s, 90) for s in (5, 6)), replace(seen(3, 45), object_id='cup')])
    memory.join('mug', 'cup')
    assert seconds(memory) == [6] and seconds(memory, TWO) == [5, 6]
    memory.observe([replace(seen(s, 180), object_id='cup') for s in (8, 9)])
    memory.join('mug', 'cup')
    assert seconds(memory) == [9]


def test_a_correction_that_was_not_observed_yet_goes_with_what_is_joined():
    for corrected in ('mug', 'cup'):
        memory = memory_of(*(seen(s, 0) for s in range(4)))
        memory.observe([replace(seen(s, 0), object_id='cup') for s in (4, 5)])
        memory.pointed_at(corrected, 6 * SECOND)
        memory.join('mug', 'cup')
        memory.observe([seen(6, 90), seen(7, 90)])
        assert seconds(memory, TWO) == [6, 7]


@pytest.mark.parametrize('early, late', [('mug', 'cup'), ('cup', 'mug')])
def test_what_is_joined_was_selected_when_the_later_of_both_was_if_the_other_was_never_seen(
        early, late):
    memory = ObjectMemory(KeepLast(8))
    memory.pointed_at(early, 3 * SECOND)
    memory.observe([replace(seen(s, 0), object_id=late) for s in (4, 5)])
    memory.join('mug', 'cup')
    memory.observe([seen(6, 90)])
    assert seconds(memory, TWO) == [4, 5]


def test_where_what_was_selected_is_forgotten_the_next_one_stands_for_it():
    memory = memory_of(*(seen(s, 0) for s in range(4)))
    memory.pointed_at('mug', 5 * SECOND)
    memory.observe([seen(5, 90), seen(6, 100), seen(7, 0)])
    memory.forget(['mug'], Span(5 * SECOND, 5 * SECOND), 9 * SECOND)
    assert seconds(memory) == [6]


def test_where_all_since_a_correction_is_forgotten_what_is_seen_next_stands_for_it():
    memory = memory_of(*(seen(s, 0) for s in range(4)))
    memory.pointed_at('mug', 5 * SECOND)
    memory.observe([seen(5, 90), seen(6, 90)])
    memory.forget(['mug'], Span(5 * SECOND, 6 * SECOND), 6 * SECOND)
    memory.observe([seen(7, 90), seen(8, 90)])
    assert seconds(memory, TWO) == [7, 8]


def test_what_has_turned_since_its_selection_is_followed_when_what_lay_between_has_rolled_out():
    turning = [seen(n, min(15 * n, 90)) for n in range(25)]
    for n in range(1, 25):
        assert seconds(memory_of(*turning[:n], keep=4)) == [n - 1]
    memory = memory_of(*turning, seen(25, 180), seen(26, 180), keep=4)
    assert seconds(memory) == [24]
    memory.observe([seen(27, 180), seen(28, 180)])      # nothing else is at hand
    assert seconds(memory) == [28]


def test_one_that_strayed_among_many_is_not_what_they_look_like():
    turned = [seen(n, min(15 * n, 90)) for n in range(25)]
    turned[21] = seen(21, 200)      # the oldest at hand
    assert seconds(memory_of(*turned, keep=4)) == [24]


def test_what_is_forgotten_or_split_off_does_not_bring_an_old_selection_back():
    memory = memory_of(*(seen(n, min(15 * n, 90)) for n in range(25)), keep=4)
    memory.forget(['mug'], Span(22 * SECOND, 22 * SECOND), 30 * SECOND)
    assert seconds(memory) == [24] and seconds(memory, TWO) == [0, 24]
    memory.split('mug', 24 * SECOND, 'bowl')
    assert seconds(memory) == [23]


def test_a_correction_goes_with_what_is_split_off():
    memory = memory_of(*(seen(s, 0) for s in range(8)), keep=16)
    memory.pointed_at('mug', 8 * SECOND)
    memory.observe([seen(s, 90) for s in (8, 9, 10)])
    memory.split('mug', 5 * SECOND, 'bowl')
    assert [o.stamp_ns for o in memory.select('bowl', LIKE, 4, 'k').observations] == [10 * SECOND]


def test_a_correction_that_was_not_observed_yet_goes_with_what_is_split_off():
    memory = memory_of(*(seen(s, 0) for s in range(8)), keep=16)
    memory.pointed_at('mug', 8 * SECOND)
    memory.split('mug', 5 * SECOND, 'bowl')
    memory.observe([replace(seen(s, 90), object_id='bowl') for s in (8, 9)])
    assert [o.stamp_ns for o in memory.select('bowl', TWO, 4, 'k').observations] == [
        8 * SECOND, 9 * SECOND]


def test_what_is_no_number_is_not_held_against_the_newest():
    broken = replace(seen(2, 0), tokens=torch.full((2, 2), float('inf')))
    assert seconds(memory_of(seen(1, 0), broken)) == [2]


def test_a_correction_counts_where_a_part_goes_and_of_what_is_not_tracked_now_is_the_newest(
        tmp_path):
    with MemoryStore.open(tmp_path) as store, Recorder(store) as recorder:
        memory = LongMemory(KeepLast(8), recorder)
        memory.observe([seen(s, 0) for s in range(4)])
        memory.pointed_at('mug', 4 * SECOND)
        memory.observe([seen(4, 90), seen(5, 90), seen(6, 180)])
        recorder.flush()
        assert seconds(memory) == [5] and memory.select('mug', LIKE, 4, 'k').left_out == 1
        memory.in_turn(lambda: memory.split('mug', 5 * SECOND, 'bowl')).result()
        assert seconds(memory) == [4] and memory.held()[0] == 7
        memory.release('mug')
        recorder.flush()
        assert seconds(memory) == [4]
