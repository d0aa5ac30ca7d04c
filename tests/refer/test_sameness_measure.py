# SPDX-License-Identifier: Apache-2.0
"""Rules of the measure of offers: what counts as a look-alike, what a new object may be offered."""

import pytest

from pixelrefer_model.memory.sameness import Offer, SameGate
from training.refer.sameness import (
    AFTER, LIGHTS, Measured, Return, gate_rows, likenesses, relit, tables)
from training.world import Contract
from training.world.planner import plan_scene

RED, LARGE_RED, BLUE, BOOK = (
    dict(zip(('category', 'colour', 'pattern', 'size', 'shape'), words.split()))
    for words in ('mug red plain small straight', 'mug red plain large round',
                  'mug blue plain small straight', 'book green striped large lying'))
#: The red mug of scene 0 came back; in its scene are the large one and a book, in another scene
#: the blue one and one with the same words.
WORDS = {(0, 0): RED, (0, 1): LARGE_RED, (0, 2): BOOK, (1, 0): BLUE, (1, 1): RED}


def measured(*found: tuple[str, float]) -> Measured:
    offers = [Offer(*one) for one in sorted(found, key=lambda one: -one[1])]
    return Measured([Return((0, 0), light, count, True, offers)
                     for light in LIGHTS for count in (1, len(AFTER))], WORDS)


def rows(found: Measured, gate: SameGate) -> list[float]:
    return [figure.value for _, figure in gate_rows(found, gate, LIGHTS[0], 1)]


def test_each_remembered_object_is_counted_by_what_it_differs_in():
    found = measured(('0.0', 0.9), ('0.1', 0.8), ('0.2', 0.1), ('1.0', 0.7), ('1.1', 0.6))
    assert likenesses(found, LIGHTS[0]) == {
        'itself': [[0.9]], 'itself, moved': [[0.9]], 'look-alike by size': [[0.8]],
        'look-alike otherwise': [], 'others': [[0.1]]}


def test_of_a_new_object_its_own_sightings_are_not_in_the_memory():
    found = measured(('0.0', 0.95), ('0.1', 0.9), ('0.2', 0.1), ('1.0', 0.1), ('1.1', 0.88))
    remembered, alone, moved, twin, other, new_twin, same_words, new_any, new_other = rows(
        found, SameGate(0.85, 0.02))
    assert (remembered, alone, moved, twin, other) == (1, 1, 1, 0, 0)
    assert (new_twin, same_words, new_any, new_other) == (1, 1, 1, 0), 'the best of the others leads now'


def test_an_offer_beside_the_right_one_and_a_wrong_one_alone_count_as_wrong():
    beside = measured(('0.0', 0.95), ('0.1', 0.94), ('0.2', 0.93))
    assert rows(beside, SameGate(0.85, 0.05))[:5] == [1, 0, 1, 1, 1]
    wrong = measured(('0.0', 0.85), ('0.1', 0.2), ('0.2', 0.95))
    assert rows(wrong, SameGate(0.85, 0.05))[:5] == [0, 0, 0, 0, 1]


def test_what_was_not_measured_is_said_to_be_so():
    text = tables(measured(('0.0', 0.9), ('0.1', 0.8), ('0.2', 0.1)))
    assert 'not measured' in text.splitlines()[-1]
    assert '1.000 (0.206 to 1.000), 1' in text


def test_another_light_changes_nothing_but_the_light_and_the_room():
    one, other = (plan_scene(Contract.load(), seed, 'test', 1.0, 'calm') for seed in (1, 2))
    lit = relit(one, other)
    assert lit.objects == one.objects and lit.camera == one.camera
    assert lit.look.clutter == one.look.clutter and lit.look.board_rgb == one.look.board_rgb
    assert lit.look.light == other.look.light != one.look.light
    assert lit.look.light_dir == pytest.approx(other.look.light_dir)
