# SPDX-License-Identifier: Apache-2.0
"""Objects come and go at any frame; past prompts are caught up; bad ones change nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import MOST_POINTS, Box, Click, MaskPrompt, Scribble
from pixelrefer_model.sam2 import (
    MaskPolicy, MemoryPolicy, ObjectTracker, StatePolicy, TrackState)
from pixelrefer_model.sam2.tracker import KEPT_FRAMES
from tests.sam2.conftest import HEIGHT, WIDTH, disc_mask, frame, say

PROMPTS = [Click.at(40, 50), Box(22, 34, 58, 68),
           Box(22, 34, 58, 68, clicks=Click(np.array([[40, 50], [5, 5]]), np.array([1, 0]))),
           Scribble(np.array([[30.0, 50], [40, 45], [50, 52]])), MaskPrompt(disc_mask())]


@pytest.fixture
def tracker(narrow) -> ObjectTracker:
    return ObjectTracker(narrow)


def same(a, b) -> bool:
    return a.state is b.state and torch.equal(a.logits, b.logits)


@pytest.mark.parametrize('prompt', PROMPTS, ids=lambda p: type(p).__name__)
def test_every_kind_of_prompt_gives_a_track_on_its_frame_and_the_next(tracker, prompt):
    first = tracker.add('a', prompt, frame(0))
    assert first.stamp_ns == first.last_seen_ns == frame(0).stamp_ns
    assert first.state is TrackState.TRACKED
    assert first.mask.shape == (HEIGHT, WIDTH) and first.mask.dtype == bool
    assert first.area == int(first.mask.sum()) and 0 <= first.score <= 1
    x, y, width, height = first.box
    assert first.mask[y:y + height, x:x + width].sum() == first.area
    second, = tracker.step(frame(1))
    assert second.object_id == 'a' and second.stamp_ns == frame(1).stamp_ns


def test_a_mask_prompt_is_answered_with_that_mask(tracker):
    track = tracker.add('a', MaskPrompt(disc_mask()), frame(0))
    assert (track.mask & disc_mask()).sum() / (track.mask | disc_mask()).sum() > 0.8


def test_one_frame_is_encoded_once_however_many_objects_and_prompts(tracker):
    tracker.add('a', Click.at(40, 50), frame(0))
    tracker.add('b', Click.at(110, 70), frame(0))
    tracker.correct('a', Click.at(42, 52), frame(0))
    tracker.step(frame(0))
    assert tracker.encoded == 1
    tracker.step(frame(1))
    tracker.replace('b', Click.at(109, 70), frame(1))
    assert tracker.encoded == 2


def test_tracks_come_in_the_order_of_adding(tracker):
    for name in 'cab':
        tracker.add(name, Click.at(40, 50), frame(0))
    assert [track.object_id for track in tracker.step(frame(1))] == tracker.ids == list('cab')
    tracker.replace('a', Click.at(110, 70), frame(1))
    assert tracker.ids == list('cab')


def test_a_stream_without_objects_gives_no_tracks_and_keeps_its_newest_frames(tracker):
    for t in range(3):
        assert tracker.step(frame(t)) == []
    assert tracker.encoded == 3
    tracker.add('a', Click.at(40, 50), frame(1))
    assert tracker.encoded == 3


def test_a_prompt_on_a_frame_just_past_ends_where_one_given_in_time_ends(narrow):
    prompt, late, punctual = Box(22, 34, 58, 68), ObjectTracker(narrow), ObjectTracker(narrow)
    for t in range(4):
        late.step(frame(t))
    track = late.add('a', prompt, frame(1))
    punctual.step(frame(0))
    punctual.add('a', prompt, frame(1))
    for t in range(1, 4):
        expected, = punctual.step(frame(t))
    assert track.stamp_ns == frame(3).stamp_ns
    assert same(track, expected)
    assert same(late.step(frame(4))[0], punctual.step(frame(4))[0])


def test_a_prompt_on_a_frame_no_longer_kept_is_applied_there_and_jumps_to_the_kept_ones(tracker):
    last = KEPT_FRAMES + 5
    for t in range(last + 1):
        tracker.step(frame(t))
    track = tracker.add('a', Click.at(40, 50), frame(0))
    assert track.stamp_ns == frame(last).stamp_ns
    assert tracker.encoded == last + 2
    assert tracker.step(frame(last + 1))[0].stamp_ns == frame(last + 1).stamp_ns


def test_a_past_correction_of_one_object_leaves_the_other_alone(narrow):
    corrected, other = ObjectTracker(narrow), ObjectTracker(narrow)
    for each in (corrected, other):
        each.add('a', Click.at(40, 50), frame(0))
        each.add('b', Click.at(110, 70), frame(0))
        for t in range(1, 4):
            each.step(frame(t))
    corrected.correct('a', Click(np.array([[44, 50], [90, 90]]), np.array([1, 0])), frame(2))
    a, b = corrected.step(frame(4))
    expected_a, expected_b = other.step(frame(4))
    assert same(b, expected_b)
    assert not same(a, expected_a)


def test_a_click_is_as_exact_in_bfloat16(narrow):
    tracker = ObjectTracker(narrow.to(torch.bfloat16))
    one, other = (tracker.add(name, Click.at(x, 60), frame(0)).logits
                  for name, x in (('a', 80.0), ('b', 80.25)))
    assert not torch.equal(one, other)


def test_points_on_the_frame_of_the_prompt_add_to_it(narrow):
    bit_by_bit, at_once = ObjectTracker(narrow), ObjectTracker(narrow)
    bit_by_bit.add('a', Click.at(40, 50), frame(0))
    track = bit_by_bit.correct('a', Click(np.array([[5.0, 5]]), np.array([0])), frame(0))
    expected = at_once.add('a', Click(np.array([[40.0, 50], [5, 5]]), np.array([1, 0])), frame(0))
    assert same(track, expected)


def test_points_on_one_frame_are_bounded_and_one_too_many_changes_nothing(narrow):
    many = Click(np.tile([[40.0, 50.0]], (MOST_POINTS // 2, 1)), np.ones(MOST_POINTS // 2, int))
    disturbed, calm = ObjectTracker(narrow), ObjectTracker(narrow)
    for each in (disturbed, calm):
        each.add('a', many, frame(0))
        each.correct('a', many, frame(0))
    held = disturbed.held()
    with pytest.raises(PixelReferError) as raised:
        disturbed.correct('a', Click.at(40, 50), frame(0))
    assert raised.value.code == 'BAD_POINTS'
    assert f'{MOST_POINTS} on one frame are allowed' in raised.value.message
    assert disturbed.held() == held
    assert same(disturbed.step(frame(1))[0], calm.step(frame(1))[0])
    disturbed.correct('a', Click.at(40, 50), frame(1))


def test_points_add_to_a_prompt_on_a_frame_no_longer_kept_and_its_mask_is_forgotten(narrow):
    points = [Click.at(40, 50), Click(np.array([[5.0, 5]]), np.array([0])), Click.at(44, 54)]
    both = Click(np.concatenate([p.points for p in points[1:]]), np.array([0, 1]))
    first_two = Click(np.concatenate([p.points for p in points[:2]]), np.array([1, 0]))
    tracks = []
    for given, added in ((first_two, points[2]), (points[0], both)):
        tracker = ObjectTracker(narrow)
        tracker.add('a', given, frame(0))
        for t in range(1, KEPT_FRAMES + 3):
            tracker.step(frame(t))
        tracks.append([tracker.correct('a', added, frame(0)), *tracker.step(frame(t + 1))])
    # What was seen of the object under the first mask, which differed, has left no trace.
    assert all(same(one, other) for one, other in zip(*tracks))


def test_points_on_one_dropped_frame_are_not_those_of_another(tracker, monkeypatch):
    shown, candidates = [], tracker.network.candidates

    def noted(image, fine, points, labels, masks=None):
        shown.append(0 if points is None else points.shape[1])
        return candidates(image, fine, points, labels, masks)

    tracker.step(frame(6))
    tracker.step(frame(9))
    tracker.add('a', Click.at(56, 50), frame(8))
    before = tracker.held().tensors
    monkeypatch.setattr(tracker.network, 'candidates', noted)
    tracker.correct('a', Click.at(54, 50), frame(7))
    assert shown[0] == 1
    # Both frames are remembered as prompted ones.
    assert tracker.held().tensors == before + 2


def test_a_stamp_that_comes_again_after_a_jump_in_time_is_another_frame(narrow):
    tracks, held = [], []
    for stamp_ns in (frame(0).stamp_ns, 7):
        tracker = ObjectTracker(narrow)
        tracker.add('a', Click.at(40, 50), frame(0))
        tracker.lose(stamp_ns)
        tracks.append(tracker.correct('a', Click.at(42, 52), replace(frame(0), stamp_ns=stamp_ns)))
        held.append(tracker.held())
    assert same(*tracks) and held[0] == held[1]


def test_a_replaced_object_remembers_nothing_of_what_it_was(narrow):
    replaced, fresh = ObjectTracker(narrow), ObjectTracker(narrow)
    replaced.add('a', Click.at(40, 50), frame(0))
    for t in range(1, 4):
        replaced.step(frame(t))
    replaced.replace('a', Click.at(107, 71), frame(3))
    fresh.add('a', Click.at(107, 71), frame(3))
    assert same(replaced.step(frame(4))[0], fresh.step(frame(4))[0])


def test_an_object_removed_and_added_again_starts_anew(narrow):
    again, fresh = ObjectTracker(narrow), ObjectTracker(narrow)
    again.add('a', Click.at(110, 70), frame(0))
    again.step(frame(1))
    again.remove('a')
    for each in (again, fresh):
        each.add('a', Click.at(40, 50), frame(2))
    assert same(again.step(frame(3))[0], fresh.step(frame(3))[0])


def test_the_same_frames_and_prompts_give_the_same_masks(narrow):
    runs = []
    for _ in range(2):
        tracker = ObjectTracker(narrow)
        tracker.add('a', Box(22, 34, 58, 68), frame(0))
        runs.append([tracker.step(frame(t))[0].logits for t in range(1, 6)])
    assert all(torch.equal(a, b) for a, b in zip(*runs))


def test_frames_of_another_resolution_go_on_with_masks_of_that_resolution(tracker):
    tracker.add('a', Box(22, 34, 58, 68), frame(0))
    tracker.step(frame(1))
    track, = tracker.step(frame(2, width=2 * WIDTH, height=2 * HEIGHT))
    assert track.mask.shape == (2 * HEIGHT, 2 * WIDTH)


def test_a_step_on_the_newest_frame_again_changes_nothing(tracker):
    tracker.add('a', Click.at(40, 50), frame(0))
    once, = tracker.step(frame(1))
    held = tracker.held()
    twice, = tracker.step(frame(1))
    assert same(once, twice) and tracker.held() == held


OFF = Click(np.array([[90.0, 90], [5, 5]]), np.array([0, 0]))
BAD = [
    ('DUPLICATE_ID', lambda t: t.add('a', Click.at(40, 50), frame(4))),
    ('OUT_OF_IMAGE', lambda t: t.add('b', Click.at(WIDTH + 1, 50), frame(4))),
    ('NOT_FINITE', lambda t: t.correct('a', Click.at(float('nan'), 5), frame(4))),
    ('EMPTY_MASK', lambda t: t.replace('a', MaskPrompt(np.zeros((HEIGHT, WIDTH), bool)),
                                       frame(4))),
    ('MASK_SIZE', lambda t: t.add('b', MaskPrompt(np.ones((5, 5), bool)), frame(4))),
    ('BAD_LABELS', lambda t: t.add('b', OFF, frame(4))),
    ('BAD_LABELS', lambda t: t.replace('a', OFF, frame(4))),
    ('UNKNOWN_ID', lambda t: t.correct('nobody', Click.at(40, 50), frame(4))),
    ('UNKNOWN_ID', lambda t: t.replace('nobody', Click.at(40, 50), frame(4))),
    ('UNKNOWN_ID', lambda t: t.remove('nobody')),
    ('STAMP_TOO_OLD', lambda t: t.step(frame(0))),
]


@pytest.mark.parametrize('code, request_', BAD, ids=[code for code, _ in BAD])
def test_a_bad_request_is_named_and_changes_nothing(narrow, code, request_):
    disturbed, calm = ObjectTracker(narrow), ObjectTracker(narrow)
    for each in (disturbed, calm):
        each.add('a', Click.at(40, 50), frame(0))
        for t in range(1, 4):
            each.step(frame(t))
    before = disturbed.held(), disturbed.ids, disturbed.encoded
    with pytest.raises(PixelReferError) as raised:
        request_(disturbed)
    assert raised.value.code == code and raised.value.message
    assert (disturbed.held(), disturbed.ids, disturbed.encoded) == before
    assert same(disturbed.step(frame(4))[0], calm.step(frame(4))[0])


def test_clicks_off_an_object_correct_it_and_refine_a_box(tracker):
    tracker.add('a', Box(22, 34, 58, 68, clicks=OFF), frame(0))
    tracker.step(frame(1))
    assert tracker.correct('a', OFF, frame(1)).stamp_ns == frame(1).stamp_ns


def test_exclusive_masks_share_no_pixel(narrow):
    tracker = ObjectTracker(narrow, masks=MaskPolicy(exclusive=True))
    tracker.add('a', Click.at(40, 50), frame(0))
    tracker.add('b', Click.at(44, 52), frame(0))
    a, b = tracker.step(frame(1))
    assert not (a.mask & b.mask).any()


def test_an_object_whose_every_pixel_another_one_has_is_not_in_view(narrow):
    tracker = ObjectTracker(narrow, masks=MaskPolicy(exclusive=True), memory=MemoryPolicy.plain(),
                            states=StatePolicy(lost_after_s=0.35))
    tracker.add('a', Click.at(40, 50), frame(0))
    first = tracker.add('twin', Click.at(40, 50), frame(0))
    states = []
    for t in range(1, 7):
        a, twin = tracker.step(frame(t))
        assert a.state is TrackState.TRACKED and a.mask.any()
        assert twin.mask is None and twin.box is None and twin.area == 0
        assert twin.last_seen_ns == first.stamp_ns
        states.append(twin.state)
    assert states[0] is TrackState.OCCLUDED and states[-1] is TrackState.LOST
    tracker.remove('a')
    assert [tracker.step(frame(t))[0].state for t in (7, 8)][-1] is TrackState.TRACKED


def test_bad_frames_are_not_remembered(narrow):
    tracker = ObjectTracker(narrow)
    tracker.add('a', Click.at(40, 50), frame(0))
    tracker.step(frame(1))
    before = tracker.held()
    say(narrow, score=-5.0)
    for t in range(2, 5):
        tracker.step(frame(t))
    features = 3 * KEPT_FRAMES
    assert tracker.held().tensors - features == before.tensors - 3 * 2
    plain = ObjectTracker(narrow, memory=MemoryPolicy.plain())
    plain.add('a', Click.at(40, 50), frame(0))
    first = plain.held().tensors
    plain.step(frame(1))
    assert plain.held().tensors - first == 3 + 2


def test_a_believed_prompt_is_tracked_even_where_the_score_says_absent(narrow):
    say(narrow, score=-5.0)
    track = ObjectTracker(narrow).add('a', Click.at(40, 50), frame(0))
    assert track.state is TrackState.TRACKED and track.area > 0
    plain = ObjectTracker(narrow, memory=MemoryPolicy.plain())
    assert plain.add('a', Click.at(40, 50), frame(0)).mask is None


def test_a_lost_stream_keeps_ids_and_starts_with_new_stamps(tracker):
    tracker.add('a', Click.at(40, 50), frame(9))
    tracker.step(frame(10))
    lost, = tracker.lose(stamp_ns=5)
    assert lost.state is TrackState.LOST and lost.mask is None and tracker.ids == ['a']
    assert lost.stamp_ns == 5 and lost.last_seen_ns == 0
    first, = tracker.step(frame(0))
    assert first.object_id == 'a' and first.last_seen_ns == 0
