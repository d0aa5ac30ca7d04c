# SPDX-License-Identifier: Apache-2.0
"""What is true of one object in one frame, in the words that questions and answers use."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.world import Contract, ScenePlan
from training.world.camera import Pose
from training.world.truth import Relation, direction

CATEGORIES = ('mug', 'bottle', 'can', 'bowl', 'plate', 'book', 'box', 'ball')
COLOURS = ('red', 'green', 'blue', 'yellow', 'orange', 'purple', 'white', 'black')
PATTERNS = ('plain', 'striped', 'checkered')
SIZES = ('small', 'large')
#: Seen from the camera over the asked window.
MOTIONS = ('still', 'left', 'right', 'closer', 'away')
ROWS = ('upper', 'middle', 'lower')
COLUMNS = ('left', 'centre', 'right')

#: Fewest visible pixels of an object that is asked about.
LEAST_AREA = 100
#: From so many pixels on and with fewer than so many, it is trained to say that it cannot tell. In
#: between nothing is trained: there kind and colour begin to show.
LEAST_FAINT, MOST_FAINT = 12, 50
#: `Fact.held` of an object that nothing carries at the moment.
AIR = 'in the air'

_MIRRORED = {'left': 'right', 'right': 'left'}


@dataclass(frozen=True)
class Fact:
    """One object in one frame.

    area: pixels of its visible mask. x, y: centroid of that mask as parts of the image's width
    and height. camera: its middle in the optical camera frame, metres. world: its bottom middle in
    the world, metres. support: index of the object that it is on or in, None for the table; held:
    'on', 'in', or AIR. motion: over the asked window, None where it is not beyond doubt.
    """

    category: str
    colour: str
    pattern: str
    size: str
    area: int
    x: float
    y: float
    camera: tuple[float, float, float]
    world: tuple[float, float, float] = (0.0, 0.0, 0.0)
    support: int | None = None
    held: str = 'on'
    motion: str | None = None

    @property
    def visible(self) -> bool:
        """Whether enough of it is seen to be asked about."""
        return self.area >= LEAST_AREA

    @property
    def faint(self) -> bool:
        """Whether so little of it is seen that the right answer is "I cannot tell."."""
        return LEAST_FAINT <= self.area < MOST_FAINT

    @property
    def row(self) -> str:
        """Third of the image that the centroid lies in, top to bottom."""
        return ROWS[min(int(self.y * 3), 2)]

    @property
    def column(self) -> str:
        """Third of the image that the centroid lies in, left to right."""
        return COLUMNS[min(int(self.x * 3), 2)]

    def mirrored(self) -> 'Fact':
        """The same in the image flipped left to right."""
        x, y, z = self.camera
        return replace(self, x=1 - self.x, camera=(-x, y, z),
                       world=(-self.world[0], *self.world[1:]),
                       motion=_MIRRORED.get(self.motion, self.motion))


def facts_of(plan: ScenePlan, t: float, seg: np.ndarray) -> list[Fact]:
    """Facts of every object of a scene at `t`; `seg` [h, w] as the renderer gives it."""
    truth, height, width = plan.truth(t), *seg.shape
    facts = []
    for i, (spec, one) in enumerate(zip(plan.objects, truth, strict=True)):
        rows, columns = np.nonzero(seg == i + 1)
        seen = len(rows) > 0
        facts.append(Fact(
            spec.category, spec.colour, spec.pattern, spec.size, len(rows),
            float(columns.mean() + 0.5) / width if seen else 0.0,
            float(rows.mean() + 0.5) / height if seen else 0.0,
            tuple(map(float, one.camera)), tuple(map(float, plan.position(i, t))),
            one.support if isinstance(one.support, int) else None,
            AIR if one.support is None else one.relation or 'on'))
    return facts


def with_motion(last: Fact, first: Fact, pose: Pose, contract: Contract) -> Fact:
    """`last` with its motion since `first`, seen from the camera `pose` of the last frame."""
    step = np.subtract(last.world, first.world)
    word, clear = direction(step, pose, contract)
    return replace(last, motion=word if clear else None)


def relation(a: Fact, b: Fact, contract: Contract) -> tuple[str | None, str | None]:
    """Where `a` is compared to `b`: 'left' or 'right', 'in front of' or 'behind'.

    None where it is not clear by the contract's margins.
    """
    found = Relation.between(np.array(a.camera), np.array(b.camera), contract)
    depth = {'front': 'in front of', 'behind': 'behind'}[found.depth]
    return (found.side if found.side_clear else None, depth if found.depth_clear else None)


def visible(facts: Sequence[Fact]) -> list[int]:
    """Indices of the objects that can be asked about."""
    return [i for i, fact in enumerate(facts) if fact.visible]
