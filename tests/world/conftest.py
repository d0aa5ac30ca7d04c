# SPDX-License-Identifier: Apache-2.0
"""One world and one census of test scenes for all tests here: opening and rendering cost most."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from world_support import SCENES, TIMES, Sight, sights

from training.world import ScenePlan, World


@pytest.fixture(scope='session')
def world() -> Iterator[World]:
    with World() as opened:
        yield opened


@pytest.fixture(scope='session')
def plans(world: World) -> list[ScenePlan]:
    return [world.plan(seed, 'test') for seed in range(SCENES)]


@pytest.fixture(scope='session')
def census(world: World, plans: list[ScenePlan]) -> list[Sight]:
    return [sight for plan in plans for t in TIMES for sight in sights(world, plan, t)]
