# SPDX-License-Identifier: Apache-2.0
"""What the tests of the small world share: a census of rendered scenes and a binomial tolerance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np

from training.world import ObjectSpec, ScenePlan, World

SCENES, TIMES = 80, (0.9, 2.9)


@dataclass(frozen=True)
class Sight:
    """One object in one rendered frame: visible and unoccluded pixels, and whether an edge cuts."""

    plan: ScenePlan
    index: int
    t: float
    area: int
    amodal: int
    cut: bool

    @property
    def spec(self) -> ObjectSpec:
        """The object."""
        return self.plan.objects[self.index]

    @property
    def visible(self) -> float:
        """Share of its unoccluded pixels that are seen."""
        return self.area / self.amodal if self.amodal else 0.0


def sights(world: World, plan: ScenePlan, t: float) -> Iterator[Sight]:
    """All objects that are there at `t`."""
    seg, amodal = world.segment(plan, t), world.amodal(plan, t)
    areas = np.bincount(seg.ravel(), minlength=len(plan.objects) + 1)
    rim = set(np.concatenate([seg[0], seg[-1], seg[:, 0], seg[:, -1]]).tolist())
    for i in range(len(plan.objects)):
        if plan.present(i, t):
            yield Sight(plan, i, t, int(areas[i + 1]), int(amodal[i]), i + 1 in rim)


def tolerance(share: float, n: int, correlated: float = 2.0) -> float:
    """Three standard deviations of a share counted over n; objects of one scene go together,
    which `correlated` allows for."""
    return 3 * sqrt(correlated * share * (1 - share) / n)
