# SPDX-License-Identifier: Apache-2.0
"""A few long scenes, watched once for all tests here."""

import pytest
from tenses_support import CONTRACT, Counting, Outlines

from training.tenses.records import LongRecord, Scribe
from training.tenses.watching import Watched, watch
from training.world.long_scenes import plan_long_scene


@pytest.fixture(scope='session')
def watched() -> list[Watched]:
    return [watch(Outlines(), plan_long_scene(CONTRACT, seed, 'test', (30.0, 36.0)))
            for seed in range(8)]


@pytest.fixture(scope='session')
def records() -> list[LongRecord]:
    scribe = Scribe(Outlines(), Counting(), vary=True)
    return [record for seed in (1, 2) for record in scribe.records(seed, 'train', (30.0, 36.0))]
