# SPDX-License-Identifier: Apache-2.0
"""Two ids become one and one becomes two, in all that is stored of them."""

from pathlib import Path

import pytest
from memory_support import SECOND, sighting

from pixelrefer_model.memory import Span
from pixelrefer_model.memory.finding import find
from pixelrefer_model.memory.forgetting import erase
from pixelrefer_model.memory.joining import join, split
from pixelrefer_model.memory.record import Happening, Told
from pixelrefer_model.memory.store import MemoryStore

ALL = Span(0, 1 << 60)


@pytest.fixture(params=['disk', 'ram'])
def store(request, tmp_path: Path):
    with (MemoryStore.open(tmp_path) if request.param == 'disk' else MemoryStore.in_ram()) as store:
        yield store


def seconds(store: MemoryStore, object_id: str) -> list[int]:
    return [m.stamp_ns // SECOND for m in store.moments(object_id, ALL)]


def told(object_id: str, text: str, second: int) -> Told:
    return Told((object_id,), 'What is it?', text, 0.9, 'm', 0, second * SECOND)


def known(store: MemoryStore) -> dict[str, tuple[int, int, int]]:
    return {o.object_id: (o.first_ns // SECOND, o.last_ns // SECOND, o.observations)
            for o in store.objects()}


def test_all_that_was_of_one_id_is_of_the_other(store):
    store.write([sighting(1), sighting(2), sighting(3, 'cup'), sighting(4, 'cup'),
                 Happening('cup', 'moved', 0, 3 * SECOND),
                 Happening('plate', 'touched', 0, 3 * SECOND, other='cup'),
                 told('cup', 'a red cup', 4), told('mug', 'a red mug', 2)])
    assert join(store, 'mug', 'cup') == 2
    assert seconds(store, 'mug') == [1, 2, 3, 4] and known(store) == {'mug': (1, 4, 4)}
    assert find(store, 'cup')[0].object.object_id == 'mug'
    assert store.query('SELECT object, other FROM events ORDER BY number') == [
        ('mug', ''), ('plate', 'mug')]
    assert {objects for objects, in store.query('SELECT objects FROM answers')} == {'["mug"]'}


def test_of_a_moment_that_both_have_one_stays(store):
    store.write([sighting(1), sighting(2), sighting(1, 'cup'), sighting(3, 'cup')])
    assert join(store, 'mug', 'cup') == 1
    assert seconds(store, 'mug') == [1, 2, 3] and known(store) == {'mug': (1, 3, 3)}


def test_joining_with_one_that_is_not_stored_changes_nothing(store):
    store.write([sighting(1)])
    assert join(store, 'mug', 'nobody') == 0
    assert known(store) == {'mug': (1, 1, 1)}


def test_what_was_observed_since_a_stamp_is_of_another_id(store):
    store.write([sighting(n) for n in range(1, 6)] + [
        told('mug', 'a mug', 2), told('mug', 'a bowl', 4), Happening('mug', 'moved', 0, 4 * SECOND)])
    assert split(store, 'mug', 3 * SECOND, 'bowl') == 3
    assert known(store) == {'bowl': (3, 5, 3), 'mug': (1, 2, 2)}
    assert [hit.object.object_id for hit in find(store, 'bowl')] == ['bowl']
    assert store.query('SELECT object FROM events') == [('bowl',)]
    assert [objects for objects, in store.query('SELECT objects FROM answers ORDER BY number')] == [
        '["mug"]', '["bowl"]']


def test_an_id_that_another_object_takes_has_nothing_of_the_old_one(store):
    store.write([sighting(1), sighting(2, 'cup'), told('mug', 'a green mug', 1),
                 Happening('mug', 'moved', 0, SECOND)])
    erase(store, 'mug')
    assert known(store) == {'cup': (2, 2, 1)} and find(store, 'green') == []
    assert not store.query('SELECT 1 FROM events')
    store.write([sighting(3)])
    assert known(store)['mug'] == (3, 3, 1)


def test_names_that_are_given_go_on_from_the_highest_number(store):
    assert store.highest('object_') == 0
    store.write([sighting(1, name) for name in (
        'object_2', 'object_10', 'object_10b', 'object_', 'front:object_99', 'object_1234567890')])
    assert store.highest('object_') == 10 and store.highest('front:object_') == 99
