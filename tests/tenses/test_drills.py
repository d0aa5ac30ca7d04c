# SPDX-License-Identifier: Apache-2.0
"""Drills: the history that is told answers the question, and nothing else could."""

import re
from collections import Counter
from random import Random

import pytest
from tenses_support import K

from training.refer.texts import Asked, sequences
from training.tenses.drills import COUNT, SHARES, draw_drill, draw_life
from training.tenses.kinds import KINDS
from training.tenses.tokenizer import tense_tokenizer


@pytest.fixture(scope='module')
def drills() -> list[Asked]:
    rng = Random(3)
    return [draw_drill(rng, lambda: rng.randrange(50), 0.2) for _ in range(1200)]


def told(one: Asked, thing: int, event: str) -> list[float]:
    """The times at which a history says that something happened to an object."""
    return [float(re.search(r'at ([\d.]+)\.$', fact)[1]) for fact in one.facts
            if fact.startswith(f'<object:{thing}> {event}')]


def of(drills: list[Asked], kind: str) -> list[Asked]:
    found = [one for one in drills if one.item.kind == kind]
    assert len(found) > 20
    return found


def test_every_kind_is_drilled_about_as_many_objects_as_it_is_asked_about(drills):
    assert {one.item.kind for one in drills} == set(SHARES)
    for kind in SHARES.keys() & KINDS:
        assert COUNT.get(kind, 1) == KINDS[kind]
        assert all(len(one.regions) == KINDS[kind] for one in of(drills, kind))


def test_what_moved_when_and_what_first_is_what_the_history_says(drills):
    for one in of(drills, 'order'):
        first, second = (told(one, thing, 'moved')[0] for thing in (0, 1))
        assert one.item.answer == ('The first.' if first < second else 'The second.')
    for one in of(drills, 'which_moved'):
        assert bool(told(one, 0, 'moved')) != bool(told(one, 1, 'moved'))
        assert one.item.answer == ('The first.' if told(one, 0, 'moved') else 'The second.')
    for one in of(drills, 'how_many_moved'):
        assert one.item.answer == str(sum(bool(told(one, n, 'moved')) for n in range(3)))
    for one in of(drills, 'when_moved'):
        assert [f'At {time}.' for time in told(one, 0, 'moved')] == [one.item.answer]


def test_what_can_be_seen_now_was_seen_now(drills):
    for one in of(drills, 'hidden'):
        now = re.search(r'[\d.]+\d', one.item.text)[0]
        assert one.item.answer == ('Yes.' if one.seconds[0][-1] == float(now) else 'No.')
        unseen = told(one, 0, 'was hidden') + told(one, 0, 'was lost')
        back = told(one, 0, 'was seen again')
        if one.item.answer == 'No.':
            assert max(unseen) > max(back, default=-1.0)
    for one in of(drills, 'last_seen'):
        assert one.item.answer == f'At {one.seconds[0][-1]}.'


def test_both_answers_are_drilled(drills):
    for kind in ('moved', 'moving', 'hidden', 'which_moved', 'order'):
        said = Counter(one.item.answer for one in of(drills, kind))
        assert len(said) == 2 and min(said.values()) > 0.15 * said.total(), kind


def test_a_drill_is_a_prompt_as_any_other(drills):
    batch, = sequences(drills[:8], K, tense_tokenizer(), buckets=1)
    assert len(batch.rows) == K * sum(len(rows) for one in drills[:8] for rows in one.regions)
    assert int(batch.rows.max()) < 50 * K


@pytest.mark.parametrize('still', [True, False])
def test_a_life_goes_on_in_the_order_of_time(still):
    for seed in range(50):
        life = draw_life(Random(seed), 60.0, still)
        times = [time for time, _ in life.events]
        assert times == sorted(times) and times[-1] <= life.now
        assert life.seen == sorted(set(life.seen)) and life.seen[-1] <= life.now
        assert not (still and life.moves())


def test_what_happened_to_two_says_of_each_sentence_whom_it_is_about(drills):
    for one in of(drills, 'happened_both'):
        said = [sentence for sentence in one.item.answer.split('. The ')]
        assert len(said) == len(one.facts) > 1
        for fact, sentence in zip(one.facts, said):
            assert fact.startswith('<object:0>') == ('first ' in sentence[:10]
                                                     and 'second' not in sentence[:10])
