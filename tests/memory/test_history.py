# SPDX-License-Identifier: Apache-2.0
"""Rules of the text history: what happened, in the order of time, of the objects asked about."""

import numpy as np
import torch

from pixelrefer_model.language import Evidence, compose
from pixelrefer_model.memory.history import MOST_SENTENCES, tell_history
from pixelrefer_model.memory.observation import Whereabouts
from pixelrefer_model.memory.record import EVENTS, Happening

SECOND = 1_000_000_000


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
