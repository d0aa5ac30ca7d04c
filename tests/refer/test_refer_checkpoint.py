# SPDX-License-Identifier: Apache-2.0
"""The packaged checkpoint still answers as its model card says, on 200 fixed scenes."""

import pytest
import torch

from pixelrefer_model.engine import TINY
from pixelrefer_model.language import Generation, collect
from pixelrefer_model.pixelrefer import PixelReferLite
from training.refer import measure
from training.refer.measure import Score, held_out_scenes, measure_refer
from training.world import World

SEED, SCENES = 4321, 200
#: Four points under the best that a packaged checkpoint has reached on these very scenes.
FLOORS = {'category': 0.917, 'colour': 0.957, 'pattern': 0.937, 'relation': 0.949,
          'support': 0.844, 'same_colour': 0.944, 'motion': 0.853, 'motion_still': 0.888,
          'count': 0.749, 'caption': 0.605, 'choice': 0.911, 'is_so': 0.942, 'size': 0.791,
          'position': 0.838, 'small_category': 0.893, 'small_colour': 0.952,
          'unseen_category': 0.635, 'unseen_colour': 0.960}
#: Answers of so much confidence, and four points under how often they are right.
SURE, RIGHT_WHEN_SURE = 0.9, 0.937


@pytest.fixture(scope='module')
def measured() -> tuple[Score, list[Generation]]:
    """The score, and every answer as the language model gave it."""
    said = []

    def noted(*args) -> list[Generation]:
        made = collect(*args)
        said.extend(made)
        return made

    torch.set_num_threads(1)
    with World() as world, pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, 'collect', noted)
        made = held_out_scenes(world, SEED, SCENES, every_frame=False)
        return measure_refer(PixelReferLite.from_checkpoint(TINY['refer']), made, None).true, said


@pytest.fixture
def score(measured) -> Score:
    return measured[0]


@pytest.mark.parametrize('name', FLOORS)
def test_answers_are_as_often_right_as_they_were(score, name):
    figure = score.figures()[name]
    assert figure.n >= 100
    assert figure.value >= FLOORS[name]


def test_what_is_said_with_confidence_is_right(score):
    sure = [one.good for one in score.answers if one.confidence >= SURE]
    assert len(sure) >= len(score.answers) / 2
    assert sum(sure) / len(sure) >= RIGHT_WHEN_SURE


def test_every_answer_ends_by_itself(measured):
    score, said = measured
    assert said and {(one.reason, bool(one.text)) for one in said} == {('stop', True)}
    assert all(answer.text for answer in score.answers)
