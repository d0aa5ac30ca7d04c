# SPDX-License-Identifier: Apache-2.0
"""Remembered objects are found by what was said of them, what they look like, when and where."""

from pathlib import Path

import numpy as np
import pytest
from memory_support import SECOND, sighting, tokens_of

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import Span
from pixelrefer_model.memory.columns import likeness_of
from pixelrefer_model.memory.finding import Near, find
from pixelrefer_model.memory.observation import Whereabouts
from pixelrefer_model.memory.record import Told
from pixelrefer_model.memory.store import MemoryStore


def told(object_id: str, text: str) -> Told:
    return Told((object_id,), 'What is it?', text, 0.9, 'm', 0, SECOND)


@pytest.fixture
def store(tmp_path: Path):
    def at(x):
        return Whereabouts('map', np.array([x, 0.0, 0.0]), np.eye(3))

    with MemoryStore.open(tmp_path) as store:
        store.write([sighting(1, 'a', where=at(0.0)), sighting(2, 'b', where=at(5.0)),
                     sighting(3, 'c'), sighting(4, 'blue_bowl')])
        store.write([told('a', 'a red mug with stripes'), told('b', 'a blue mug'),
                     told('c', 'a red bowl'), told('c', 'it stands on the plate')])
        yield store


def ids(hits) -> list[str]:
    return [hit.object.object_id for hit in hits]


def test_words_find_what_was_said_best_first(store):
    hits = find(store, 'the red mug')
    assert ids(hits) == ['a', 'c', 'b']
    assert [hit.score for hit in hits] == [1.0, 0.5, 0.5]
    assert hits[0].text == 'a red mug with stripes'


def test_other_forms_of_a_word_and_the_name_of_an_object_count(store):
    assert ids(find(store, 'mugs')) == ['b', 'a']
    assert ids(find(store, 'striped')) == ['a']
    assert ids(find(store, 'blue bowl'))[0] == 'blue_bowl'
    assert find(store, 'giraffe') == []


def test_words_are_words_and_no_language_of_a_database(store):
    for text in ('mug" OR "', 'mug NEAR bowl)', "'; DROP TABLE words; --", 'text:mug*'):
        find(store, text)
    assert ids(find(store, 'mug')) == ['b', 'a']
    with pytest.raises(PixelReferError) as caught:
        find(store, 'the of')
    assert caught.value.code == 'EMPTY_QUESTION'


def test_likeness_finds_the_object_with_the_same_tokens_and_only_of_its_key(store):
    like = likeness_of(tokens_of(3, 'c'))
    hits = find(store, like=like, key='k')
    assert ids(hits)[0] == 'c' and hits[0].score == pytest.approx(1.0, abs=1e-3)
    assert hits[1].score < 0.95
    assert find(store, like=like, key='other') == []
    with pytest.raises(PixelReferError):
        find(store, like=like[:3], key='k')


def test_time_and_place_restrict(store):
    assert ids(find(store, span=Span(2 * SECOND, 3 * SECOND))) == ['c', 'b']
    assert ids(find(store, near=Near('map', (0.5, 0.0, 0.0), 1.0))) == ['a']
    assert find(store, near=Near('odom', (0.0, 0.0, 0.0), 100.0)) == []
    assert ids(find(store, 'mug', span=Span(0, SECOND))) == ['a']
    assert len(find(store, most=2)) == 2
    with pytest.raises(PixelReferError):
        Near('map', (0.0, float('nan'), 0.0), 1.0)


def test_a_forgotten_object_is_not_found(store):
    from pixelrefer_model.memory.forgetting import forget
    forget(store, ['a'])
    assert ids(find(store, 'red mug')) == ['c', 'b']
