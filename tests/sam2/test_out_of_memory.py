# SPDX-License-Identifier: Apache-2.0
"""A device without memory: smaller batches, or an error that leaves the tracker as it was."""

import pytest
import torch

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import Click, MaskPrompt
from pixelrefer_model.sam2 import ObjectTracker
from pixelrefer_model.sam2 import batches as batches_module
from tests.sam2.conftest import disc_mask, frame

PLACES = [Click.at(40 + 9 * k, 50 + 3 * k) for k in range(5)]


@pytest.fixture
def tracker(narrow) -> ObjectTracker:
    made = ObjectTracker(narrow)
    for number, place in enumerate(PLACES):
        made.add(str(number), place, frame(0))
    return made


def short_of_memory(monkeypatch, tracker: ObjectTracker, most: int) -> list[int]:
    """Let the device have memory for `most` objects at once; how many each attempt was of."""
    attempts, real = [], tracker.network.condition

    def condition(coarse, selections):
        attempts.append(len(selections))
        if len(selections) > most:
            raise torch.OutOfMemoryError('no memory')
        return real(coarse, selections)
    monkeypatch.setattr(tracker.network, 'condition', condition)
    return attempts


def test_objects_that_do_not_fit_at_once_are_followed_in_smaller_batches_from_then_on(
        narrow, tracker, monkeypatch):
    whole = ObjectTracker(narrow)
    for number, place in enumerate(PLACES):
        whole.add(str(number), place, frame(0))
    attempts = short_of_memory(monkeypatch, tracker, 2)
    for t in (1, 2):
        for one, other in zip(whole.step(frame(t)), tracker.step(frame(t)), strict=True):
            assert torch.equal(one.logits, other.logits)
    assert attempts == [5, 2, 2, 1, 2, 2, 1]


def test_where_one_object_is_too_much_the_frame_fails_by_its_code_and_a_later_one_works(
        tracker, monkeypatch):
    short_of_memory(monkeypatch, tracker, 0)
    with pytest.raises(PixelReferError) as error:
        tracker.step(frame(1))
    assert error.value.code == 'OUT_OF_MEMORY' and error.value.__context__ is None
    monkeypatch.undo()
    assert [track.object_id for track in tracker.step(frame(2))] == list('01234')


def full(*_):
    raise torch.OutOfMemoryError('no memory')


def test_a_frame_stays_the_same_frame_when_a_prompt_on_it_had_no_memory(narrow, monkeypatch):
    asked, other = ObjectTracker(narrow), ObjectTracker(narrow)
    for one in (asked, other):
        one.add('a', PLACES[0], frame(0))
        one.step(frame(1))
    monkeypatch.setattr(asked.network, 'remember', full)
    with pytest.raises(PixelReferError):
        asked.correct('a', MaskPrompt(disc_mask(1)), frame(1))
    monkeypatch.undo()
    tracks = [one.correct('a', MaskPrompt(disc_mask(1)), frame(1)) for one in (asked, other)]
    assert torch.equal(tracks[0].logits, tracks[1].logits)
    assert torch.equal(asked.step(frame(2))[0].logits, other.step(frame(2))[0].logits)
    with pytest.raises(PixelReferError) as error:
        asked.step(frame(1))
    assert error.value.code == 'STAMP_TOO_OLD'


def test_a_correction_that_cannot_be_caught_up_changes_nothing(narrow, monkeypatch):
    asked, other = ObjectTracker(narrow), ObjectTracker(narrow)
    for one in (asked, other):
        one.add('a', PLACES[0], frame(0))
        for t in (1, 2, 3):
            one.step(frame(t))
    monkeypatch.setattr(asked, '_follow', full)
    with pytest.raises(PixelReferError) as error:
        asked.correct('a', Click.at(44, 50), frame(1))
    assert error.value.code == 'OUT_OF_MEMORY'
    monkeypatch.undo()
    assert torch.equal(asked.step(frame(4))[0].logits, other.step(frame(4))[0].logits)


def test_a_frame_that_cannot_be_remembered_is_tracked_all_the_same(tracker, monkeypatch, caplog):
    monkeypatch.setattr(tracker.network, 'remember', full)
    assert all(track.stamp_ns == frame(1).stamp_ns for track in tracker.step(frame(1)))
    assert 'is not remembered' in caplog.text
    monkeypatch.undo()
    assert len(tracker.step(frame(2))) == 5


def test_smaller_batches_grow_again_and_a_reset_forgets_them(tracker, monkeypatch):
    monkeypatch.setattr(batches_module, 'TRY_AGAIN', 4)
    attempts = short_of_memory(monkeypatch, tracker, 2)
    for t in (1, 2):
        tracker.step(frame(t))
    monkeypatch.undo()
    assert tracker._batches.most == 4 and attempts[-1] == 1
    tracker.reset()
    assert tracker._batches.most is None


@pytest.mark.parametrize('part', ['encode', 'candidates', 'remember'])
def test_a_prompt_without_memory_changes_nothing_and_the_next_one_is_taken(
        tracker, monkeypatch, part):
    tracker.step(frame(1))
    held = tracker.held()
    monkeypatch.setattr(tracker.network, part, full)
    with pytest.raises(PixelReferError) as error:
        tracker.add('new', PLACES[0], frame(2))
    assert error.value.code == 'OUT_OF_MEMORY'
    assert tracker.ids == list('01234')
    assert tracker.held().bytes < held.bytes, 'kept frames were not given up'
    monkeypatch.undo()
    tracker.add('new', PLACES[0], frame(2))
    assert tracker.step(frame(2))[-1].object_id == 'new'
