# SPDX-License-Identifier: Apache-2.0
"""When an object is worth an observation: events, changes, and a bound on what that costs."""

import numpy as np
import pytest

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_model.memory import (
    AnyOf, EveryInterval, Look, OnChange, OnEvents, Whereabouts)
from pixelrefer_model.memory.watch import Watch
from pixelrefer_model.sam2 import Track, TrackState

TENTH = 100_000_000


def look(tenth: float, **values) -> Look:
    return Look(round(tenth * TENTH), **{'box': (10, 10, 20, 20), 'area': 400, **values})


def place(x: float, frame: str = 'map') -> Whereabouts:
    return Whereabouts(frame, np.array([x, 0.0, 0.0]), np.eye(3) * 1e-6)


@pytest.mark.parametrize(('now', 'due'), [
    (look(1), False), (look(1, area=300), False), (look(1, area=100), True),
    (look(1, box=(14, 10, 20, 20)), False), (look(1, box=(40, 10, 20, 20)), True),
    (look(1, colour=(90, 120, 100)), False), (look(1, colour=(60, 120, 100)), True),
    (look(1, where=place(0.05)), False), (look(1, where=place(0.5)), True),
    # Places in two frames cannot be compared.
    (look(1, where=place(0.5, 'odom')), False)])
def test_a_change_of_mask_place_or_colour_is_due(now, due):
    last = look(0, colour=(100, 120, 100), where=place(0.0))
    assert OnChange().due(now, last) == ('changed' if due else '')
    assert OnChange().due(now, None) == 'changed'


def test_an_event_of_a_kind_that_is_wanted_is_due_under_its_name():
    policy = OnEvents(('moved', 'back'))
    assert policy.due(look(1, happened=('touched', 'back')), look(0)) == 'back'
    assert policy.due(look(1, happened=('touched',)), look(0)) == ''


def test_of_several_policies_the_first_says_why_and_none_is_due_too_soon():
    policy = AnyOf((OnEvents(), EveryInterval(0.5)), apart=0.2)
    assert policy.due(look(0), None) == 'interval'
    assert policy.due(look(1, happened=('moved',)), look(0)) == ''
    assert policy.due(look(2, happened=('moved',)), look(0)) == 'moved'
    assert policy.due(look(5, happened=('moved',)), look(0)) == 'moved'
    assert policy.due(look(4), look(0)) == '' and policy.due(look(5), look(0)) == 'interval'
    for wrong in ({'policies': ()}, {'policies': (OnEvents(),), 'apart': -1.0},
                  {'policies': (OnEvents(),), 'apart': float('nan')}):
        with pytest.raises(PixelReferError) as caught:
            AnyOf(**wrong)
        assert caught.value.code == 'BAD_BUDGET'


FRAME = Frame(np.zeros((60, 80, 3), np.uint8), 0)


def track(object_id: str, tenth: int, state: TrackState = TrackState.TRACKED,
          left: int = 10) -> Track:
    mask = np.zeros((60, 80), bool)
    mask[10:30, left:left + 20] = True
    seen = state.in_view
    return Track(object_id, state, mask if seen else None, 0.9,
                 (left, 10, 20, 20) if seen else None, 400 if seen else 0, tenth * TENTH, 0)


POLICY = AnyOf((OnEvents(), EveryInterval(10.0)), apart=0.2)


def see(watch: Watch, *tracks: Track, **where) -> tuple[list, list]:
    due, happened = watch.see(FRAME.image, tracks, POLICY, **where)
    return [(one.track.object_id, one.reason) for one in due], [
        (one.object_id, one.kind) for one in happened]


def test_what_appears_hides_and_comes_back_is_told_and_observed_where_it_is_clearly_seen():
    watch = Watch()
    assert see(watch, track('mug', 0)) == ([('mug', 'appeared')], [('mug', 'appeared')])
    assert see(watch, track('mug', 3)) == ([], [])
    assert see(watch, track('mug', 4, TrackState.OCCLUDED)) == ([], [('mug', 'occluded')])
    # It is back, which only the next clear sight shows.
    assert see(watch, track('mug', 5, TrackState.UNCERTAIN)) == ([], [('mug', 'back')])
    assert see(watch, track('mug', 6)) == ([('mug', 'back')], [])
    assert see(watch, track('mug', 9)) == ([], [])


def test_an_event_that_comes_too_soon_after_an_observation_is_observed_a_little_later():
    watch = Watch()
    apart = track('plate', 0, left=50)
    for one in (track('mug', 0), apart):
        due, happened = watch.selected(one)
        assert [one.reason for one in due] == [one.kind for one in happened] == ['appeared']
    assert see(watch, track('mug', 0), apart) == ([], [])
    due = []
    for tenth in range(1, 6):
        now, _ = see(watch, track('mug', tenth), track('plate', tenth, left=31))
        due += [(tenth, *one) for one in now]
    assert due == [(3, 'mug', 'touched'), (3, 'plate', 'touched')]


def test_only_places_in_the_frame_that_stands_still_tell_that_something_moved():
    for fixed, told in (('map', ['moved']), ('', []), ('odom', [])):
        watch, kinds = Watch(fixed_frame=fixed), []
        for tenth in range(4):
            _, happened = see(watch, track('mug', tenth), where={'mug': place(0.1 * tenth)})
            kinds += [kind for _, kind in happened if kind != 'appeared']
        assert kinds == told


def test_an_object_that_has_another_id_is_no_other_object():
    watch = Watch()
    see(watch, track('mug', 0))
    watch.rename('mug', 'cup')
    assert see(watch, track('cup', 3)) == ([], [])


def test_of_an_object_that_was_forgotten_what_is_seen_next_is_due():
    watch = Watch()
    see(watch, track('mug', 0))
    watch.forget('mug')
    assert see(watch, track('mug', 1)) == ([('mug', 'interval')], [])


def test_an_object_that_is_corrected_has_not_appeared_and_one_that_takes_its_id_has():
    watch = Watch()
    watch.selected(track('mug', 0))
    due, happened = watch.selected(track('mug', 3))
    assert ([one.reason for one in due], happened) == (['interval'], [])
    watch.gone('mug')
    due, happened = watch.selected(track('mug', 4))
    assert [one.reason for one in due] == [one.kind for one in happened] == ['appeared']
