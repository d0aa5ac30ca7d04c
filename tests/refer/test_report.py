# SPDX-License-Identifier: Apache-2.0
"""Rules of the report: the surest wrong answers, confidence in bins."""

import numpy as np

from training.refer.measure import STAMPED, Answered, HeldOutScene
from training.refer.questions import Item
from training.refer.report import (
    PER_KIND, PER_SCENE, WORST, contact_sheet, draw_failure, reliability, worst)


def answered(scene: int, confidence: float, good: bool, kind: str = 'category',
             question: str = 'What is <object1>?', text: str = 'mug') -> Answered:
    return Answered(Item(kind, question, (0,), 'can'), scene, text, confidence, good)


def test_the_gallery_shows_the_surest_wrong_answers_of_many_scenes_and_kinds():
    answers = [answered(n // 4, n / 1000, n % 2 == 0, kind=('category', 'colour')[n % 3 == 0])
               for n in range(1000)]
    chosen = worst([*answers, answered(0, 1.0, False, text='')])
    assert 0 < len(chosen) <= WORST and not any(one.good for one in chosen)
    assert [one.confidence for one in chosen] == sorted(
        (one.confidence for one in chosen), reverse=True)
    assert chosen[0].confidence == 0.999, 'an object without a mask was not answered about'
    for of in ('scene', 'kind'):
        most = PER_SCENE if of == 'scene' else PER_KIND
        values = [one.scene if of == 'scene' else one.item.kind for one in chosen]
        assert max(values.count(value) for value in values) <= most


def test_every_answer_is_in_one_bin_of_confidence():
    sure = np.linspace(0, 1, 41)
    answers = [answered(0, float(c), c > 0.8) for c in sure]
    rows = reliability(answers)
    assert sum(n for *_, n in rows) == len(sure)
    assert [good for _, good, upper, _ in rows if upper <= 0.8] == [0.0] * sum(
        upper <= 0.8 for _, _, upper, _ in rows)
    assert rows[-1][1] == 1.0


def test_a_failure_is_drawn_with_its_object_outlined():
    image, seg = np.zeros((240, 320, 3), np.uint8), np.zeros((240, 320), np.uint8)
    seg[50:90, 60:120] = 1
    scene = HeldOutScene(0, {STAMPED[-1]: image}, {STAMPED[-1]: seg}, [], [], [], [])
    picture = draw_failure(answered(0, 0.9, False), scene)
    assert picture[50, 60:120].any(1).all() and not picture[55:85, 65:115].any()
    assert not image.any() and contact_sheet([picture] * 6).shape[1] == 5 * 320
