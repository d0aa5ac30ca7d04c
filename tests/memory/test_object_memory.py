# SPDX-License-Identifier: Apache-2.0
"""Rules of the object memory: what is kept, what a window means, what goes first."""

import gc
import weakref

import pytest
import torch

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import (
    EveryFrame, EveryInterval, KeepLast, Look, Now, ObjectMemory, Observation, Span)

SECOND = 1_000_000_000


def seen(second: float, *, object_id: str = 'mug', epoch: int = 0, key: str = 'k') -> Observation:
    return Observation(object_id, int(second * SECOND), 'camera', epoch, (0, 0, 4, 4), 16,
                       torch.full((2, 3), float(second)), key)


def seconds(selection) -> list[float]:
    return [o.stamp_ns / SECOND for o in selection.observations]


def memory_of(*observations: Observation, keep: int = 8) -> ObjectMemory:
    memory = ObjectMemory(KeepLast(keep))
    memory.observe(list(observations))
    return memory


def test_now_is_the_newest_observation_only():
    memory = memory_of(seen(1), seen(2), seen(3))
    assert seconds(memory.select('mug', Now(), 4, 'k')) == [3]


def test_now_in_two_looks_is_as_it_was_selected_and_as_it_is():
    memory = memory_of(*(seen(s) for s in range(5, 50)), keep=4)
    assert seconds(memory.select('mug', Now(2), 4, 'k')) == [5, 49]
    assert seconds(memory.select('mug', Now(2), 1, 'k')) == [49]    # where there is room for one
    assert seconds(memory_of(seen(1)).select('mug', Now(2), 4, 'k')) == [1]


def test_what_was_selected_is_forgotten_joined_and_split_with_the_rest():
    memory = memory_of(*(seen(s) for s in range(20)), seen(3, object_id='cup'), keep=4)
    memory.join('mug', 'cup')
    assert seconds(memory.select('mug', Now(2), 4, 'k')) == [3, 19]
    memory.split('mug', 17 * SECOND, 'bowl')
    assert seconds(memory.select('mug', Now(2), 4, 'k')) == [3, 16]
    assert seconds(memory.select('bowl', Now(2), 4, 'k')) == [17, 19]
    memory.forget(['mug'], Span(0, 3 * SECOND), 20 * SECOND)
    assert seconds(memory.select('mug', Now(2), 4, 'k')) == [16]
    memory.observe([seen(s, object_id=i, epoch=1) for s in (1, 2) for i in ('cup', 'bowl')])
    assert seconds(memory.select('bowl', Now(2), 4, 'k')) == [1, 2]
    held, _ = memory.held()
    memory.erase('bowl')
    assert not memory.knows('bowl') and memory.held()[0] == held - 2


def test_what_was_selected_goes_when_it_is_forgotten_and_only_then():
    memory = memory_of(*(seen(s) for s in range(20)), keep=4)
    assert memory.forget(['mug'], Span(18 * SECOND, 18 * SECOND), 30 * SECOND) == 1
    assert seconds(memory.select('mug', Now(2), 4, 'k')) == [0, 19]
    assert memory.forget(['mug'], Span(0, 0), 30 * SECOND) == 1
    assert seconds(memory.select('mug', Now(2), 4, 'k')) == [16, 19]
    selected = seen(30)
    gone = weakref.ref(selected)
    memory.erase('mug')
    memory.observe([selected, seen(31)])
    del selected
    assert gone() is not None
    memory.erase('mug')
    gc.collect()
    assert gone() is None   # or every id that ever was would hold tokens


def test_who_points_at_an_object_anew_selects_it_anew():
    memory = memory_of(*(seen(s) for s in range(10)), keep=4)
    memory.pointed_at('mug', 12 * SECOND)
    memory.observe([seen(11)])      # of the mask that was corrected
    assert seconds(memory.select('mug', Now(2), 4, 'k')) == [0, 11]
    memory.observe([seen(s) for s in (12, 13)])
    assert seconds(memory.select('mug', Now(2), 4, 'k')) == [12, 13]


def test_a_span_includes_both_its_ends():
    memory = memory_of(*(seen(s) for s in range(6)))
    assert seconds(memory.select('mug', Span(2 * SECOND, 4 * SECOND), 9, 'k')) == [2, 3, 4]


def test_a_budget_keeps_first_and_last_and_counts_what_it_left_out():
    memory = memory_of(*(seen(s) for s in range(7)))
    selection = memory.select('mug', Span(0, 9 * SECOND), 4, 'k')
    assert seconds(selection) == [0, 2, 4, 6]
    assert selection.left_out == 3


def test_the_oldest_observations_but_the_first_go_and_the_bound_holds():
    memory = memory_of(*(seen(s) for s in range(100)), keep=8)
    assert seconds(memory.select('mug', Span(0, 200 * SECOND), 99, 'k')) == [
        0, *range(92, 100)]
    assert memory.held() == (9, 9 * 2 * 3 * 4)


def test_seconds_count_from_the_first_sight_even_after_it_was_dropped():
    memory = memory_of(*(seen(s) for s in range(5, 50)), keep=4)
    assert memory.select('mug', Now(), 1, 'k').origin_ns == 5 * SECOND


def test_a_keyframe_that_comes_late_never_breaks_the_order_in_time():
    memory = memory_of(seen(5), seen(4), seen(5), seen(6))
    assert seconds(memory.select('mug', Span(0, 9 * SECOND), 9, 'k')) == [5, 6]


def test_a_new_epoch_starts_the_object_anew():
    memory = memory_of(seen(50), seen(51), seen(3, epoch=1))
    selection = memory.select('mug', Span(0, 99 * SECOND), 9, 'k')
    assert seconds(selection) == [3]
    assert selection.origin_ns == 3 * SECOND


def test_an_observation_of_an_older_epoch_is_refused():
    memory = memory_of(seen(3, epoch=1), seen(60, epoch=0))
    assert seconds(memory.select('mug', Span(0, 99 * SECOND), 9, 'k')) == [3]


def test_tokens_of_another_key_never_meet_in_a_prompt():
    memory = memory_of(seen(1, key='old'), seen(2, key='new'))
    assert seconds(memory.select('mug', Span(0, 9 * SECOND), 9, 'new')) == [2]
    with pytest.raises(PixelReferError) as refused:
        memory.select('mug', Span(0, 9 * SECOND), 9, 'other')
    assert refused.value.code == 'NO_OBSERVATION'


@pytest.mark.parametrize('object_id, window, most, code', [
    ('plate', Now(), 1, 'NO_OBSERVATION'),
    ('mug', Span(7 * SECOND, 9 * SECOND), 1, 'NO_OBSERVATION'),
    ('mug', Now(), 0, 'BAD_BUDGET'),
])
def test_what_cannot_be_selected_has_its_code(object_id, window, most, code):
    with pytest.raises(PixelReferError) as refused:
        memory_of(seen(1)).select(object_id, window, most, 'k')
    assert refused.value.code == code


def test_a_window_that_ends_before_it_begins_is_refused():
    with pytest.raises(PixelReferError) as refused:
        Span(2 * SECOND, SECOND)
    assert refused.value.code == 'BAD_WINDOW'


def test_a_forgotten_object_leaves_nothing():
    memory = memory_of(seen(1), seen(1, object_id='plate'))
    memory.erase('mug')
    memory.erase('never seen')
    assert memory.held()[0] == 1
    assert not memory.knows('mug') and memory.knows('plate')


def test_an_interval_is_due_after_its_seconds_and_not_before():
    policy = EveryInterval(0.5)
    assert policy.due(Look(0), None)
    assert not policy.due(Look(int(1.49 * SECOND)), Look(SECOND))
    assert policy.due(Look(int(1.5 * SECOND)), Look(SECOND))


def test_every_frame_is_due_once_and_none_before_the_last():
    policy = EveryFrame()
    assert policy.due(Look(0), None)
    assert policy.due(Look(SECOND + 1), Look(SECOND))
    assert not policy.due(Look(SECOND), Look(SECOND))
    assert not policy.due(Look(SECOND - 1), Look(SECOND))
