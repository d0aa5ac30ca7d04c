# SPDX-License-Identifier: Apache-2.0
"""Rules of the comparison of phrasings: the same questions in every one, and in all published
prompts."""

import pytest

from pixelrefer_model.engine import TINY
from pixelrefer_model.language.tasks import TASKS
from pixelrefer_model.pixelrefer import PixelReferLite
from training.refer import phrasings
from training.refer.measure import held_out_scenes
from training.refer.phrasings import (
    Phrased, ask_phrasings, phrasings_table, reworded, tasks_table, ten)
from training.refer.questions import GROUP, PAIR, SINGLE, Item
from training.refer.wording import PUBLISHED, WORDINGS, wordings
from training.world import World


@pytest.mark.parametrize('kind', WORDINGS)
def test_a_kind_is_compared_in_ten_phrasings_two_of_them_never_trained_on(kind):
    own = ten(kind)
    assert len(set(own)) == 10
    assert set(own[8:]) == set(wordings(kind, 'test'))
    assert set(own[:8]) <= set(wordings(kind, 'train'))


def test_another_wording_asks_for_the_same():
    item = Item('is_category', 'Is <object1> a mug?', (0,), 'Yes.', (('mug', 1),))
    assert reworded(item, 'Could {a} be {k}?').text == 'Could <object1> be a mug?'
    item = Item('count', 'How many of these are boxes?', (0, 1), '2', (('boxes', 2),))
    assert reworded(item, 'Count the {k}.').text == 'Count the boxes.'


def test_every_task_prompt_is_among_the_published():
    known = {w.replace('{a}', '<region>') for group in PUBLISHED.values() for w in group}
    assert set(TASKS.values()) <= known


def test_every_phrasing_and_prompt_is_asked_the_same_questions(monkeypatch):
    # Every fourth scene is enough of the work, and one at least moves.
    monkeypatch.setattr(phrasings, 'MOST_NEW_TOKENS', 1)
    with World() as world:
        phrased = ask_phrasings(PixelReferLite.from_checkpoint(TINY['refer']),
                                held_out_scenes(world, 77, 3, every_frame=False), 0)
    asked = set(phrased.hits) - {phrasings.TASKS}
    assert asked <= set(WORDINGS) and {'motion', 'category', 'relation'} <= asked
    assert asked <= {*SINGLE, *PAIR, *GROUP, 'motion'}
    for kind in asked:
        assert list(phrased.hits[kind]) == list(ten(kind))
        assert len({phrased.figure(kind, p).n for p in ten(kind)}) == 1
    everything = {w for group in (*PUBLISHED.values(), *phrasings.NUMBERED.values())
                  for w in group}
    assert everything < set(phrased.hits[phrasings.TASKS])
    assert phrasings_table(phrased).count('\n') == len(asked) + 2
    table = tasks_table(phrased)
    assert table.count('\n') == len(phrased.hits[phrasings.TASKS]) + 2
    row = '| There are two regions in the image: `<region0><region>`, `<region1><region>`. '
    assert row in table
    assert '{' not in table


def test_the_spread_is_from_the_best_to_the_worst_phrasing():
    phrased = Phrased()
    for place, wording in enumerate(ten('size')):
        phrased.hits['size'][wording][0] = [True] * 9 + [place != 9]
    assert phrased.spread('size') == pytest.approx(0.1)
    assert '| size | 10 | 1.000 | 1.000 | 0.900 | 10.0 points |' in phrasings_table(phrased)
