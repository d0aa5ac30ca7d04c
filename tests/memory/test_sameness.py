# SPDX-License-Identifier: Apache-2.0
"""An object that appears is offered as a remembered one where their tokens agree; nothing more."""

from dataclasses import replace
from math import cos, radians, sin
from pathlib import Path

import pytest
import torch
from memory_support import sighting

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import finding
from pixelrefer_model.memory.sameness import Offer, SameGate, agreement, candidates, offers
from pixelrefer_model.memory.store import MemoryStore

GATE = SameGate(0.8, 0.1)


def seen(second: float, object_id: str, degrees: float, key: str = 'k'):
    """An observation whose likeness lies so many degrees from that of 0."""
    mean = torch.tensor([cos(radians(degrees)), sin(radians(degrees)), 0.0, 0.0])
    spread = torch.tensor([[0.0, 0.0, 9.0, 0.0], [0.0, 0.0, -9.0, 0.0]])
    return replace(sighting(second, object_id, key=key), tokens=mean + spread)


@pytest.fixture
def store(tmp_path: Path):
    with MemoryStore.open(tmp_path) as store:
        yield store


def ids(found: list[Offer]) -> list[str]:
    return [one.object_id for one in found]


def test_what_looks_alike_enough_is_offered_the_most_alike_first(store):
    new = seen(10, 'new', 0)
    store.write([seen(1, 'mug', 20), seen(2, 'cup', 10), seen(3, 'bowl', 50), new])
    found = offers(store, [new], (), GATE)
    assert ids(found) == ['cup', 'mug']
    assert [one.likeness for one in found] == pytest.approx(
        [cos(radians(10)), cos(radians(20))], abs=1e-3)
    assert ids(offers(store, [new], (), SameGate(0.95, 0.1))) == ['cup']
    assert offers(store, [new], (), SameGate(0.99, 0.1)) == []


def test_what_is_clearly_less_alike_is_not_offered_beside_the_best(store):
    new = seen(10, 'new', 0)
    store.write([seen(1, 'mug', 1), seen(2, 'mug_again', 2), seen(3, 'cup', 35), new])
    assert ids(offers(store, [new], (), SameGate(0.8, 0.3))) == ['mug', 'mug_again', 'cup']
    assert ids(offers(store, [new], (), GATE)) == ['mug', 'mug_again']
    assert ids(offers(store, [new], (), SameGate(0.8, 0.0))) == ['mug']


def test_the_most_alike_observation_of_an_object_counts(store):
    new = seen(10, 'new', 0)
    store.write([seen(1, 'mug', 80), seen(2, 'mug', 5), seen(3, 'mug', 80), seen(4, 'cup', 20),
                 new])
    assert ids(offers(store, [new], (), GATE)) == ['mug', 'cup']


def test_what_is_in_view_is_another_object(store):
    new = seen(10, 'new', 0)
    store.write([seen(1, 'mug', 0), seen(2, 'cup', 0), new])
    assert ids(offers(store, [new], {'mug', 'new'}, GATE)) == ['cup']


def test_what_was_seen_since_it_appeared_is_another_object_even_if_it_went_meanwhile(store):
    first, later = seen(10, 'new', 0), seen(12, 'new', 0)
    store.write([seen(1, 'mug', 0), seen(2, 'cup', 0), first, seen(10, 'mug', 0), later])
    assert ids(offers(store, [first, later], (), GATE)) == ['cup']
    # A recording that starts over: stamps of another line of time say nothing of now.
    again = seen(1.5, 'once_more', 0)
    store.begin_line()
    store.write([again])
    assert set(ids(offers(store, [again], (), GATE))) == {'mug', 'cup', 'new'}


def test_an_object_is_not_offered_as_itself_nor_with_tokens_of_another_key(store):
    new = seen(10, 'new', 0)
    store.write([seen(1, 'new', 0), seen(2, 'mug', 0, key='other')])
    assert offers(store, [new], (), GATE) == []
    store.write([new])
    assert offers(store, [new], (), GATE) == []


def test_several_observations_outvote_a_bad_one(store):
    bad, good, better, worse = (
        seen(10 + n, 'new', degrees) for n, degrees in enumerate((40, 0, -10, 38)))
    store.write([seen(1, 'mug', 0), seen(2, 'cup', 45), bad, good, better, worse])
    assert ids(offers(store, [bad], (), GATE)) == ids(offers(store, [worse], (), GATE)) == ['cup']
    assert ids(candidates(store, [bad, good, better, worse])) == ['mug', 'cup']
    other_key = seen(9, 'new', 45, key='other')
    assert candidates(store, [other_key, good]) == candidates(store, [good])


def test_what_came_back_under_its_id_is_compared_with_what_was_before(store):
    first, back = seen(2, 'mug', 60), [seen(10, 'mug', 0), seen(11, 'mug', 0)]
    store.write([seen(1, 'cup', 60), first])
    assert agreement(store, [first]) is None, 'there is nothing but itself'
    store.write(back)
    assert agreement(store, back) == pytest.approx(0.5, abs=1e-3)
    assert agreement(store, [replace(one, key='other') for one in back]) is None


def test_a_memory_that_was_recorded_before_counts_whatever_its_stamps(store):
    store.write([seen(100, 'mug', 60)])
    back = seen(10, 'mug', 0)
    store.write([back])
    assert agreement(store, [back]) == pytest.approx(0.5, abs=1e-3)


def test_what_came_back_is_compared_however_long_ago_it_was_seen(store, monkeypatch):
    monkeypatch.setattr(finding, 'MOST_COMPARED', 3)
    back = seen(60, 'mug', 0)
    store.write([seen(1, 'mug', 60), *(seen(n, 'cup', 0) for n in range(2, 8)), back])
    assert agreement(store, [back]) == pytest.approx(0.5, abs=1e-3)


def test_offering_and_comparing_change_nothing(store):
    new = seen(10, 'new', 0)
    store.write([seen(1, 'mug', 0), new])
    before = store.objects(), store.query('SELECT * FROM observations ORDER BY number')
    assert ids(offers(store, [new], (), GATE)) == ['mug'] and agreement(store, [new]) is None
    assert (store.objects(), store.query('SELECT * FROM observations ORDER BY number')) == before


def test_of_nothing_remembered_nothing_is_offered_and_of_nothing_seen_is_an_error(store):
    assert offers(store, [seen(1, 'new', 0)], (), GATE) == []
    for ask in (lambda: offers(store, [], (), GATE), lambda: agreement(store, [])):
        with pytest.raises(PixelReferError) as caught:
            ask()
        assert caught.value.code == 'NO_OBSERVATION'


def test_tokens_that_are_all_zero_are_like_nothing(store):
    blank = replace(sighting(10, 'new'), tokens=torch.zeros(2, 4))
    store.write([seen(1, 'mug', 0), blank])
    assert candidates(store, [blank]) == [Offer('mug', 0.0)]


@pytest.mark.parametrize('likeness, lead', [
    (0.0, 0.1), (-1.0, 0.1), (1.01, 0.1), (float('nan'), 0.1), (0.9, -0.1), (0.9, 1.5),
    (0.9, float('nan'))])
def test_a_gate_that_makes_no_sense_is_refused(likeness, lead):
    with pytest.raises(PixelReferError) as caught:
        SameGate(likeness, lead)
    assert caught.value.code == 'BAD_BUDGET'
