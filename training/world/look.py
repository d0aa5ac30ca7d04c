# SPDX-License-Identifier: Apache-2.0
"""How a scene is dressed: table, walls, light, and the clutter that no one asks about."""

from __future__ import annotations

import numpy as np

from training.world import objects as shapes
from training.world.layout import Places
from training.world.objects import Geom
from training.world.scene import Look

TABLES, FLOORS = 10, 4
PAPERS = ((.93, .91, .84), (.95, .88, .55), (.72, .84, .90), (.90, .72, .74), (.74, .86, .72))
WOODS = ((.55, .38, .22), (.75, .58, .36), (.36, .24, .15))


def _pencil(rng: np.random.Generator, x: float, y: float) -> list[tuple[Geom, tuple]]:
    turn = shapes.times(shapes.about('z', rng.uniform(0, np.pi)), shapes.about('y', np.pi / 2))
    colour = tuple(rng.uniform(.15, .85, 3))
    return [(Geom('capsule', (.0042, rng.uniform(.05, .08), 0), (x, y, .0045), turn), colour)]


def _paper(rng: np.random.Generator, x: float, y: float) -> list[tuple[Geom, tuple]]:
    half = rng.uniform(.025, .05)
    turn = shapes.about('z', rng.uniform(0, np.pi))
    colour = PAPERS[int(rng.integers(len(PAPERS)))]
    return [(Geom('box', (half, half * rng.uniform(.7, 1), .0008), (x, y, .001), turn), colour)]


def _coins(rng: np.random.Generator, x: float, y: float) -> list[tuple[Geom, tuple]]:
    colour = ((.72, .56, .25), (.66, .67, .70), (.62, .36, .20))[int(rng.integers(3))]
    made = []
    for _ in range(int(rng.integers(1, 4))):
        a, b = rng.normal(0, .022, 2)
        made.append((Geom('cylinder', (rng.uniform(.010, .014), .0014, 0), (x + a, y + b, .0014)),
                     colour))
    return made


def _spoon(rng: np.random.Generator, x: float, y: float) -> list[tuple[Geom, tuple]]:
    angle, metal = rng.uniform(0, 2 * np.pi), (.70, .71, .74)
    turn = shapes.about('z', angle)
    dx, dy = np.cos(angle), np.sin(angle)
    return [(Geom('ellipsoid', (.022, .014, .004), (x, y, .004), turn), metal),
            (Geom('box', (.045, .0032, .0015), (x - .060 * dx, y - .060 * dy, .004), turn), metal)]


def _cone_toy(rng: np.random.Generator, x: float, y: float) -> list[tuple[Geom, tuple]]:
    wood = WOODS[int(rng.integers(len(WOODS)))]
    return [(Geom('cylinder', (.020 - .0045 * k, .006, 0), (x, y, .006 + .012 * k)), wood)
            for k in range(4)]


def _phone(rng: np.random.Generator, x: float, y: float) -> list[tuple[Geom, tuple]]:
    turn = shapes.about('z', rng.uniform(0, np.pi))
    return [(Geom('box', (.036, .018, .0035), (x, y, .0035), turn), (.24, .25, .28)),
            (Geom('box', (.032, .0155, .0006), (x, y, .0072), turn), (.12, .16, .22))]


KINDS = ((_pencil, .06), (_paper, .055), (_coins, .045), (_spoon, .075), (_cone_toy, .022),
         (_phone, .040))


def sample_look(rng: np.random.Generator, places: Places) -> Look:
    """A look for a scene whose objects and paths already stand in `places.spots`."""
    geoms: list[Geom] = []
    colours: list[tuple] = []
    for _ in range(int(rng.integers(0, 6))):
        kind, radius = KINDS[int(rng.integers(len(KINDS)))]
        for _ in range(8):
            point = places.ground(rng.uniform(5, 315), rng.uniform(60, 235))
            if point is None or not places.free(*point, radius, .004):
                continue
            places.spots.append((*map(float, point), radius))
            for geom, colour in kind(rng, float(point[0]), float(point[1])):
                geoms.append(geom)
                colours.append(tuple(map(float, colour)))
            break
    warm = rng.uniform(-.06, .08)
    level = rng.uniform(.40, .60)
    side, height = rng.uniform(0, 2 * np.pi), rng.uniform(.9, 1.9)
    hue = rng.uniform(.38, .86, 3) * .45 + rng.uniform(.35, .5)
    return Look(
        table=int(rng.integers(TABLES)),
        table_tint=tuple(map(float, np.clip(rng.uniform(.80, 1.05) + rng.normal(0, .03, 3),
                                            .6, 1.1))),
        floor=int(rng.integers(FLOORS)), wall=tuple(map(float, hue)),
        light=(level * (1 + warm), level, level * (1 - warm)),
        light_dir=(float(np.cos(side)), float(np.sin(side)), -float(height)),
        ambient=float(rng.uniform(.24, .36)), clutter=tuple(geoms), clutter_rgb=tuple(colours),
        board_rgb=tuple(map(float, np.array(((.72, .58, .40), (.45, .47, .50), (.83, .82, .78))[
            int(rng.integers(3))]) * rng.uniform(.85, 1.05))))
