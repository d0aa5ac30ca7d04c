# SPDX-License-Identifier: Apache-2.0
"""The packaged checkpoint still knows what was, what is and what will be, in fixed scenes."""

from collections import defaultdict

import pytest
import torch

from pixelrefer_model.engine import TINY
from pixelrefer_model.language import LanguageModel
from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder
from training.tenses.grading import right
from training.tenses.kinds import TENSES
from training.tenses.measure import answers_to, measured_scenes
from training.world import World

SEED, SCENES = 4321, 12
#: Four points under the best that a packaged checkpoint has reached on these very questions, with
#: the history.
FLOORS = {'past': 0.881, 'present': 0.895, 'future': 0.600}


@pytest.fixture(scope='module')
def answered() -> dict[str, list[bool]]:
    """Whether each question was answered rightly, by tense."""
    torch.set_num_threads(1)
    model = PixelReferLite.from_checkpoint(TINY['refer'])
    tenses = {kind: tense for tense, kinds in TENSES.items() for kind in kinds}
    found = defaultdict(list)
    with World() as world:
        for number, record in enumerate(measured_scenes(world, RegionEncoder(model), SEED, SCENES)):
            said = answers_to(record, LanguageModel(model), 'with history', number)
            for query, text in zip(record.queries, said, strict=True):
                found[tenses[query.kind]].append(right(query.kind, text, query.answer))
    return found


@pytest.mark.parametrize('tense', FLOORS)
def test_answers_about_time_are_as_often_right_as_they_were(answered, tense):
    assert len(answered[tense]) >= 30
    assert sum(answered[tense]) / len(answered[tense]) >= FLOORS[tense]
