# SPDX-License-Identifier: Apache-2.0
"""TRACKED, UNCERTAIN, OCCLUDED, LOST, and the way back."""

import numpy as np

from pixelrefer_model.prompt import Click
from pixelrefer_model.sam2 import ObjectTracker, StatePolicy, TrackState
from pixelrefer_model.sam2.pixels import without_islands
from pixelrefer_model.sam2.track import StateMachine
from tests.sam2.conftest import frame, say

POLICY = StatePolicy()
GOOD, POOR, GONE = (5.0, 0.9, 100), (5.0, 0.45, 100), (-5.0, 0.9, 0)
STEP = 100_000_000


def machine(area: int = 100) -> StateMachine:
    made = StateMachine(POLICY)
    made.prompted(area, 0)
    return made


def run(made: StateMachine, *measured: tuple[float, float, int], start: int = 1
        ) -> list[TrackState]:
    return [made.update(*each, stamp_ns=t * STEP) for t, each in enumerate(measured, start)]


def test_a_good_mask_is_tracked_and_a_poor_one_uncertain():
    assert run(machine(), GOOD, POOR, GOOD) == [
        TrackState.TRACKED, TrackState.UNCERTAIN, TrackState.TRACKED]


def test_out_of_view_is_occluded_at_once_and_lost_after_a_time_of_the_frames_own():
    made = machine()
    assert run(made, GONE) == [TrackState.OCCLUDED]
    after = int(POLICY.lost_after_s * 1e9)
    assert made.update(*GONE, stamp_ns=after) is TrackState.OCCLUDED
    assert made.update(*GONE, stamp_ns=after + 1) is TrackState.LOST


def test_a_mask_that_the_network_itself_takes_for_wrong_is_no_view_of_the_object():
    assert run(machine(), (5.0, POLICY.least_iou - 0.01, 100)) == [TrackState.OCCLUDED]


def test_an_object_is_back_after_enough_plausible_frames_in_a_row():
    back = [TrackState.OCCLUDED] * (POLICY.back_frames - 1) + [TrackState.TRACKED]
    made = machine()
    run(made, GONE)
    assert run(made, *[GOOD] * POLICY.back_frames, start=2) == back
    made = machine()
    run(made, GONE)
    assert TrackState.TRACKED not in run(made, GOOD, GONE, GOOD, GONE, GOOD, start=2)


def test_a_mask_of_an_implausible_size_or_quality_is_not_the_object_coming_back():
    for false in ((5.0, 0.9, 5_000), (5.0, 0.9, 5), POOR):
        made = machine()
        run(made, GONE)
        assert set(run(made, *[false] * 6, start=2)) == {TrackState.OCCLUDED}


def test_a_lost_object_comes_back_the_same_way():
    made = machine()
    made.lose()
    assert run(made, GOOD, GOOD)[-1] is TrackState.TRACKED
    assert made.last_seen_ns == 2 * STEP


def test_an_object_that_was_not_seen_since_its_time_began_has_no_stamp_of_it():
    lost, pointed_at_nothing = machine(), StateMachine(POLICY)
    run(lost, GOOD)
    lost.lose()
    assert lost.last_seen_ns == 0
    assert run(lost, GONE, start=900) == [TrackState.LOST] and lost.last_seen_ns == 0
    assert pointed_at_nothing.prompted(0, 900 * STEP) is TrackState.OCCLUDED
    # Not LOST yet: it is the prompt from which the time of being gone counts.
    assert run(pointed_at_nothing, GONE, start=901) == [TrackState.OCCLUDED]
    assert pointed_at_nothing.last_seen_ns == 0


def test_a_prompt_brings_an_object_back_at_once():
    made = machine()
    run(made, GONE)
    assert made.prompted(50, 3 * STEP) is TrackState.TRACKED
    assert made.last_seen_ns == 3 * STEP


def test_no_mask_is_published_while_occluded_or_lost(narrow):
    tracker = ObjectTracker(narrow, states=StatePolicy(lost_after_s=0.35))
    tracker.add('a', Click.at(40, 50), frame(0))
    tracker.step(frame(1))
    say(narrow, score=-5.0)
    states = []
    for t in range(2, 8):
        track, = tracker.step(frame(t))
        states.append(track.state)
        assert track.mask is None and track.box is None and track.area == 0
        assert track.last_seen_ns == frame(1).stamp_ns
    assert states[0] is TrackState.OCCLUDED and states[-1] is TrackState.LOST


def test_an_object_that_returns_is_masked_again_under_its_id(narrow):
    tracker = ObjectTracker(narrow)
    tracker.add('a', Click.at(40, 50), frame(0))
    assert tracker.step(frame(1))[0].mask is not None
    say(narrow, score=-5.0)
    assert tracker.step(frame(2))[0].mask is None
    say(narrow, score=5.0)
    tracks = [tracker.step(frame(t))[0] for t in range(3, 3 + POLICY.back_frames)]
    assert [track.mask is None for track in tracks] == [True] * (POLICY.back_frames - 1) + [False]
    assert tracks[-1].object_id == 'a'


def test_specks_are_dropped_and_parts_are_kept():
    mask = np.zeros((100, 100), bool)
    mask[10:40, 10:40] = mask[60:80, 60:80] = True
    speckled = mask.copy()
    speckled[95, 5] = True
    assert (without_islands(speckled, 0.01) == mask).all()
