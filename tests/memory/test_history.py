# SPDX-License-Identifier: Apache-2.0
"""Rules of the text history: what happened, in the order of time, of the objects asked about."""

from pathlib import Path

import numpy as np
import pytest
import torch
from memory_support import SECOND, sighting

from pixelrefer_model.language import Evidence, compose
from pixelrefer_model.memory import KeepLast, Now, Span
from pixelrefer_model.memory.history import MOST_SENTENCES, UNKNOWN, tell_history
from pixelrefer_model.memory.long_memory import LongMemory
from pixelrefer_model.memory.observation import Whereabouts
from pixelrefer_model.memory.record import EVENTS, Happening
from pixelrefer_model.memory.recorder import Recorder
from pixelrefer_model.memory.store import MemoryStore


def happening(second: float, kind: str = 'moved', object_id: str = 'mug', other: str = '',
              epoch: int = 0) -> Happening:
    return Happening(object_id, kind, epoch, round(second * SECOND), other)


def test_times_count_from_each_objects_own_first_sighting():
    told = tell_history([happening(12.5), happening(20, object_id='bowl')],
                        {'mug': 10 * SECOND, 'bowl': 0})
    assert told == ['<object:mug> moved at 2.5.', '<object:bowl> moved at 20.0.']


def test_the_newest_stay_and_the_oldest_is_told_first():
    events = [happening(second, 'touched') for second in range(MOST_SENTENCES + 3)]
    told = tell_history(events[::-1], {'mug': 0})
    assert len(told) == MOST_SENTENCES
    assert told[0].endswith(' at 3.0.') and told[-1].endswith(f' at {MOST_SENTENCES + 2.0}.')
    assert tell_history(events, {'mug': 0}, most=2) == told[-2:]
    assert tell_history(events, {'mug': 0}, most=0) == []


def test_the_first_motion_of_each_object_outlasts_newer_events():
    events = [happening(1), happening(2, object_id='bowl'),
              *(happening(second) for second in range(3, MOST_SENTENCES + 6))]
    told = tell_history(events, {'mug': 0, 'bowl': 0})
    assert len(told) == MOST_SENTENCES
    assert told[:2] == ['<object:mug> moved at 1.0.', '<object:bowl> moved at 2.0.']
    assert told[2:] == [f'<object:mug> moved at {second}.0.'
                        for second in range(8, MOST_SENTENCES + 6)]
    assert tell_history(events, {'mug': 0, 'bowl': 0}, most=1) == ['<object:bowl> moved at 2.0.']


def test_every_kind_of_event_has_a_sentence_of_its_own():
    told = [tell_history([happening(1, kind, other='bowl')], {'mug': 0, 'bowl': 0})[0]
            for kind in EVENTS]
    assert len(set(told)) == len(EVENTS) and all('<object:mug>' in one for one in told)
    assert sum('<object:bowl>' in one for one in told) == 1


def test_objects_that_are_not_asked_about_are_not_named():
    events = [happening(1, object_id='can'), happening(2, 'touched', other='can'), happening(3)]
    assert tell_history(events, {'mug': 0}) == ['<object:mug> moved at 3.0.']
    assert tell_history(events, {'mug': 0}, most=1) == tell_history(events, {'mug': 0})


def test_events_of_several_epochs_are_told_in_the_order_of_time():
    told = tell_history([happening(5, epoch=0), happening(3, epoch=1)], {'mug': 1 * SECOND})
    assert told == ['<object:mug> moved at 2.0.', '<object:mug> moved at 4.0.']


def test_a_place_is_told_where_it_is_known():
    moved = happening(2)
    told = tell_history([moved, happening(3)], {'mug': 0}, where={
        moved: Whereabouts('map', np.array([1.0, -0.256, 0.0]), np.eye(3))})
    assert told == ['<object:mug> moved at (1.00, -0.26, 0.00) m in map at 2.0.',
                    '<object:mug> moved at 3.0.']


def test_a_prompt_takes_the_sentences_as_facts():
    evidence = [Evidence(name, torch.zeros(1, 2, 4), [0.0]) for name in ('mug', 'bowl')]
    facts = tell_history([happening(1, 'touched', other='bowl')], {'mug': 0, 'bowl': 0})
    text = compose('Did they touch?', evidence, facts=facts).text
    assert text.endswith('Did they touch? <object1> was at <object2> at 1.0.<|im_end|>\n'
                         '<|im_start|>assistant\n')


# --- of what is stored


@pytest.fixture
def recorder(tmp_path: Path):
    with MemoryStore.open(tmp_path) as store, Recorder(store) as recorder:
        yield recorder


def test_what_happened_is_told_of_every_run_of_a_line_of_time(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(1, epoch=3)])
    memory.record([Happening('mug', 'appeared', 3, SECOND)])
    memory.record([Happening('mug', 'moved', 0, 5 * SECOND)])
    recorder.flush()
    assert memory.history(['mug'], Now()) == [
        '<object:mug> was first seen at 0.0.', '<object:mug> moved at 4.0.']
    assert memory.history(['mug'], Span(2 * SECOND, 9 * SECOND)) == ['<object:mug> moved at 4.0.']


def test_which_moved_first_is_told_however_much_happened_since(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(0), sighting(0, 'cup')])
    memory.record([Happening('cup', 'moved', 0, SECOND), *(
        Happening('mug', kind, 0, (second + 2) * SECOND)
        for second in range(30) for kind in ('moved', 'at_rest'))])
    recorder.flush()
    told = memory.history(['mug', 'cup'], Now())
    assert len(told) == MOST_SENTENCES
    assert told[:2] == ['<object:cup> moved at 1.0.', '<object:mug> moved at 2.0.']
    assert told[-1] == '<object:mug> stands still at 31.0.'
    assert memory.history(['mug', 'cup'], Span(2 * SECOND, 40 * SECOND))[0] == \
        '<object:mug> moved at 2.0.'


def test_what_was_at_objects_that_are_not_asked_about_takes_no_room_in_a_history(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(0), sighting(0, 'cup')])
    memory.record([Happening('mug', 'occluded', 0, SECOND), Happening('mug', 'back', 0, 2 * SECOND),
                   Happening('mug', 'touched', 0, 3 * SECOND, 'cup'),
                   *(Happening('mug', 'touched', 0, n * SECOND, 'can') for n in range(4, 30))])
    recorder.flush()
    told = ['<object:mug> was hidden at 1.0.', '<object:mug> was seen again at 2.0.']
    assert memory.history(['mug'], Now()) == told
    # Nor has the other object to have a history of its own.
    assert memory.history(['mug', 'cup'], Now()) == [
        *told, '<object:mug> was at <object:cup> at 3.0.']


def test_what_could_not_be_known_to_move_is_said_not_left_out(recorder):
    """A history without news of an object whose place nobody knows would be read as: it stood."""
    memory = LongMemory(KeepLast(8), recorder)
    placed = Whereabouts('map', np.zeros(3), np.eye(3))
    own = Whereabouts('camera', np.zeros(3), np.eye(3))
    memory.observe([sighting(0, 'mug', where=placed), sighting(0, 'cup'),
                    sighting(0, 'can', where=own)])
    memory.record([Happening('cup', 'appeared', 0, 0)])
    ids = ['mug', 'cup', 'can']
    # Also of what is not stored yet.
    assert memory.history(ids, Now(), 'map')[-2:] == list(map(UNKNOWN.format, ids[1:]))
    recorder.flush()
    for window in (Now(), Span(2 * SECOND, 9 * SECOND)):
        told = memory.history(ids, window, 'map')
        assert told[-2:] == [UNKNOWN.format('cup'), UNKNOWN.format('can')]
        assert UNKNOWN.format('mug') not in told
        # Without a frame that stands still nothing is known of any; for a reader nothing is added.
        assert memory.history(ids, window, '')[-3:] == list(map(UNKNOWN.format, ids))
        assert memory.history(ids, window) == told[:-2]
    # Nor is it known once nobody places it any more, or in another line of time.
    for n in range(8):
        memory.observe([sighting(10 + n, 'mug'), sighting(10 + n, 'cup', where=placed)])
    recorder.flush()
    assert memory.history(['mug'], Span(2 * SECOND, 9 * SECOND), 'map') == []
    assert memory.history(['mug', 'cup'], Span(2 * SECOND, 20 * SECOND), 'map') == [
        UNKNOWN.format('mug')]
    memory.clear(back=True)
    memory.observe([sighting(0, 'can', epoch=1)])
    recorder.flush()
    assert memory.history(['cup'], Now(), 'map') == [UNKNOWN.format('cup')]
