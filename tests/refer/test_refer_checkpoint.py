# SPDX-License-Identifier: Apache-2.0
"""The packaged checkpoint still answers as its model card says, on a small fixed set of scenes."""

import pytest
import torch

from pixelrefer_model.engine import TINY
from pixelrefer_model.language import Generation, collect
from pixelrefer_model.pixelrefer import PixelReferLite
from training.refer import measure
from training.refer.measure import Score, held_out_scenes, measure_refer
from training.world import World

SEED, SCENES = 4321, 40
#: Four points under what the packaged checkpoint reaches on these very scenes.
FLOORS = {'category': 0.88, 'colour': 0.955, 'pattern': 0.93, 'relation': 0.945, 'support': 0.86,
          'same_colour': 0.95, 'motion': 0.77}


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
        return measure_refer(PixelReferLite.from_checkpoint(TINY['refer']), made, None)[0], said


@pytest.fixture
def score(measured) -> Score:
    return measured[0]


@pytest.mark.parametrize('name', FLOORS)
def test_answers_are_as_often_right_as_they_were(score, name):
    figure = score.figures()[name]
    assert figure.n >= 20
    assert figure.value >= FLOORS[name]


def test_every_answer_ends_by_itself(measured):
    score, said = measured
    assert said and {(one.reason, bool(one.text)) for one in said} == {('stop', True)}
    assert all(answer.text for answer in score.answers)
