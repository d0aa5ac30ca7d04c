# SPDX-License-Identifier: Apache-2.0
"""What geometry knows, told in sentences that name objects by their ids."""

import numpy as np

from pixelrefer_model.geometry import Placed, tell
from pixelrefer_model.geometry.telling import _WORDS, MOST_OBJECTS


def at(x: float, y: float, z: float) -> Placed:
    return Placed(np.array([x, y, z]), np.eye(3) * 1e-6, np.array([0.08, 0.1, 0.02]),
                  np.full(3, 1e-3), 1e-3, 100, 100, np.array([x, y, z]))


def test_sizes_distances_and_relations_are_told_of_each_object_and_each_pair():
    said = tell({'mug': at(-0.2, 0.0, 1.0), 'bowl': at(0.2, 0.0, 1.3)})
    assert said == [
        '<object:mug> is about 0.08 m wide and 0.10 m tall.',
        '<object:bowl> is about 0.08 m wide and 0.10 m tall.',
        '<object:mug> is 0.50 m from <object:bowl>: to the left of it, in front of it, nearer.']


def test_every_relation_that_can_be_found_has_words_and_one_that_is_not_sure_is_not_told():
    said = tell({'a': at(0.0, 0.0, 1.0), 'b': at(0.0, 0.0, 1.0)})
    assert said[-1] == '<object:a> is 0.00 m from <object:b>.'
    assert set(_WORDS) == {'left', 'right', 'above', 'below', 'in_front', 'behind', 'nearer',
                           'farther', 'taller', 'shorter', 'wider', 'narrower', 'on'}


def test_a_prompt_does_not_grow_without_bound_with_the_objects():
    said = tell({str(n): at(n / 10, 0.0, 1.0) for n in range(40)})
    assert len(said) == MOST_OBJECTS * (MOST_OBJECTS + 1) // 2
