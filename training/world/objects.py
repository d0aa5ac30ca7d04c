# SPDX-License-Identifier: Apache-2.0
"""The everyday objects: each shape of each category as a list of primitive geoms.

Lengths in metres at scale 1; origin at the middle of the bottom, z up. Nothing here knows MuJoCo.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import atan2, cos, hypot, pi, sin

import numpy as np

Vec = tuple[float, float, float]
Quat = tuple[float, float, float, float]
UPRIGHT: Quat = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Geom:
    """One primitive. `size` holds half lengths (box), radius and half height (cylinder, capsule:
    first two) or radii (ellipsoid).

    role: 'body' carries the pattern's texture, 'cell' carries it by its own (row, column) parity,
    'main' the plain colour, 'dark' a shaded inside, 'metal', 'paper' and 'cap' their own colours.
    """

    kind: str
    size: Vec
    pos: Vec
    quat: Quat = UPRIGHT
    role: str = 'main'
    cell: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Shape:
    """Geoms with what placing needs: footprint radius, height, and where others can stand.

    `carries` is None, 'on' or 'in'; then `top` is the height of the surface and `room` the radius
    that what stands there may have.
    """

    geoms: tuple[Geom, ...]
    radius: float
    height: float
    carries: str | None = None
    top: float = 0.0
    room: float = 0.0
    rides: bool = True
    points: np.ndarray = field(default=None, compare=False, repr=False)


def about(axis: str, angle: float) -> Quat:
    """Quaternion (w, x, y, z) that turns by `angle` radians about a main axis."""
    half = angle / 2
    return (cos(half), *(sin(half) if name == axis else 0.0 for name in 'xyz'))


def times(a: Quat, b: Quat) -> Quat:
    """The turn `b` followed by the turn `a`, as (w, x, y, z)."""
    w, x, y, z = a
    p, q, r, s = b
    return (w * p - x * q - y * r - z * s, w * q + x * p + y * s - z * r,
            w * r - x * s + y * p + z * q, w * s + x * r - y * q + z * p)


def rotation(quat: Quat) -> np.ndarray:
    """3x3 rotation of a unit quaternion (w, x, y, z)."""
    w, x, y, z = quat
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                     [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                     [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])


def quaternion(matrix: np.ndarray) -> Quat:
    """Unit quaternion (w, x, y, z) of a 3x3 rotation."""
    m = np.asarray(matrix)
    # Four times the square of each component; the largest gives the stable way to the others.
    squares = 1 + np.array([m[0, 0] + m[1, 1] + m[2, 2], m[0, 0] - m[1, 1] - m[2, 2],
                            m[1, 1] - m[0, 0] - m[2, 2], m[2, 2] - m[0, 0] - m[1, 1]])
    rows = np.array([[squares[0], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
                     [m[2, 1] - m[1, 2], squares[1], m[1, 0] + m[0, 1], m[0, 2] + m[2, 0]],
                     [m[0, 2] - m[2, 0], m[1, 0] + m[0, 1], squares[2], m[2, 1] + m[1, 2]],
                     [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[2, 1] + m[1, 2], squares[3]]])
    row = rows[int(squares.argmax())]
    return tuple(float(value) for value in row / np.linalg.norm(row))


def _cylinder(radius: float, low: float, high: float, role: str = 'main') -> Geom:
    return Geom('cylinder', (radius, (high - low) / 2, 0), (0, 0, (low + high) / 2), role=role)


def _box(half: Vec, pos: Vec, role: str = 'main', quat: Quat = UPRIGHT) -> Geom:
    return Geom('box', half, pos, quat, role)


def _rod(start: Vec, end: Vec, radius: float, role: str = 'main') -> Geom:
    """A capsule between two points of the x-z plane."""
    dx, dz = end[0] - start[0], end[2] - start[2]
    middle = tuple((a + b) / 2 for a, b in zip(start, end))
    return Geom('capsule', (radius, hypot(dx, dz) / 2, 0), middle, about('y', atan2(dx, dz)), role)


def _ring(count: int, low: tuple[float, float], high: tuple[float, float], thick: float, row: int,
          role: str) -> list[Geom]:
    """A flared wall of `count` slats from (radius, z) `low` to `high`; each is a cell."""
    slope, length = atan2(high[0] - low[0], high[1] - low[1]), hypot(high[0] - low[0],
                                                                     high[1] - low[1])
    radius, z = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2
    width = max(low[0], high[0]) * np.tan(pi / count) * 1.04
    slats = []
    for column in range(count):
        turn = 2 * pi * column / count
        quat = times(about('z', turn), about('y', slope))
        slats.append(Geom('box', (thick, width, length / 2 * 1.03),
                          (radius * cos(turn), radius * sin(turn), z), quat, role, (row, column)))
    return slats


def _mug_straight() -> Shape:
    geoms = [_cylinder(.041, 0, .096, 'body'), _cylinder(.0415, .090, .097),
             _cylinder(.036, .096, .0975, 'dark'),
             _rod((.040, 0, .078), (.068, 0, .072), .0062), _rod((.068, 0, .072), (.068, 0, .034),
                                                               .0062),
             _rod((.068, 0, .034), (.040, 0, .024), .0062)]
    return Shape(tuple(geoms), .055, .0975)


def _mug_round() -> Shape:
    geoms = [Geom('ellipsoid', (.050, .050, .047), (0, 0, .044), role='body'),
             _cylinder(.030, 0, .012), _cylinder(.043, .066, .086), _cylinder(.038, .085, .0868,
                                                                             'dark')]
    ring = [(.044 + .030 * sin(a), 0, .047 + .027 * cos(a)) for a in np.linspace(.15, pi - .15, 5)]
    geoms += [_rod(a, b, .0062) for a, b in zip(ring, ring[1:])]
    return Shape(tuple(geoms), .058, .087)


def _bottle_tall() -> Shape:
    return Shape((_cylinder(.037, 0, .135, 'body'),
                  Geom('ellipsoid', (.037, .037, .036), (0, 0, .134)),
                  _cylinder(.0145, .150, .215), _cylinder(.0165, .208, .232, 'cap')), .037, .232)


def _bottle_flask() -> Shape:
    return Shape((Geom('ellipsoid', (.056, .056, .058), (0, 0, .054), role='body'),
                  _cylinder(.030, 0, .010), _cylinder(.017, .095, .160),
                  _cylinder(.020, .152, .175, 'cap')), .056, .175)


def _bottle_square() -> Shape:
    return Shape((_box((.034, .034, .060), (0, 0, .060), 'body'),
                  Geom('ellipsoid', (.032, .032, .024), (0, 0, .120)),
                  _cylinder(.014, .135, .175), _cylinder(.017, .168, .192, 'cap')), .045, .192)


def _can_soda() -> Shape:
    return Shape((_cylinder(.030, 0, .005, 'metal'), _cylinder(.034, .004, .112, 'body'),
                  _cylinder(.030, .112, .118, 'metal'),
                  _box((.010, .005, .0008), (.006, 0, .1188), 'cap')), .034, .119)


def _can_tin() -> Shape:
    return Shape((_cylinder(.0485, 0, .006, 'metal'), _cylinder(.047, .005, .066, 'body'),
                  _cylinder(.0485, .065, .071, 'metal'), _cylinder(.040, .071, .0718, 'cap'),
                  _cylinder(.037, .0715, .0722, 'metal')), .0485, .072)


def _bowl(rings: list[tuple[float, float]]) -> Shape:
    geoms = [_cylinder(rings[0][0] * .8, 0, .008),
             _cylinder(rings[0][0] * 1.03, .006, .011, 'dark')]
    for row, (low, high) in enumerate(zip(rings, rings[1:])):
        geoms += _ring(12, low, high, .0032, row, 'cell')
    return Shape(tuple(geoms), rings[-1][0] + .003, rings[-1][1], 'in', .012, rings[0][0] * 1.12)


def _plate_round() -> Shape:
    geoms = [_cylinder(.055, 0, .006), _cylinder(.088, .005, .012, 'body')]
    geoms += _ring(16, (.085, .010), (.112, .022), .0028, 0, 'main')
    return Shape(tuple(geoms), .113, .023, 'on', .0125, .085)


def _plate_square() -> Shape:
    geoms = [_box((.055, .055, .004), (0, 0, .004)), _box((.082, .082, .004), (0, 0, .009), 'body')]
    for turn in range(4):
        quat = times(about('z', turn * pi / 2), about('y', .96))
        geoms.append(_box((.003, .099, .0155), (.092 * cos(turn * pi / 2),
                                                .092 * sin(turn * pi / 2), .0175), 'main', quat))
    return Shape(tuple(geoms), .132, .026, 'on', .0135, .080)


def _book_geoms() -> list[Geom]:
    return [_box((.084, .060, .0028), (0, 0, .0028), 'body'),
            _box((.080, .057, .012), (0, 0, .0175), 'paper'),
            _box((.0028, .060, .0145), (-.0815, 0, .0175)),
            _box((.084, .060, .0028), (0, 0, .0322), 'body')]


def _book_lying() -> Shape:
    return Shape(tuple(_book_geoms()), .100, .035, 'on', .035, .056)


def _book_standing() -> Shape:
    # The spine stays upright and to one side, the pages show at the top and at the other side.
    turn = times(about('z', pi / 2), about('x', pi / 2))
    matrix = rotation(turn)
    geoms = []
    for geom in _book_geoms():
        centred = np.array(geom.pos) - (0, 0, .0175)
        x, y, z = matrix @ centred
        geoms.append(Geom(geom.kind, geom.size, (x, y, z + .060), times(turn, geom.quat),
                          geom.role))
    return Shape(tuple(geoms), .086, .120, rides=False)


def _box_carton() -> Shape:
    return Shape((_box((.050, .050, .040), (0, 0, .040), 'body'),
                  _box((.0535, .0535, .009), (0, 0, .083))), .075, .092, 'on', .092, .052)


def _box_tall() -> Shape:
    return Shape((_box((.046, .030, .075), (0, 0, .075), 'body'),
                  _box((.030, .0305, .004), (0, 0, .1475), 'paper')), .055, .152)


def _box_open() -> Shape:
    wall, half, top = .003, .055, .075
    geoms = [_box((half, half, .003), (0, 0, .003), 'dark')]
    for turn in range(4):
        angle = turn * pi / 2
        quat = about('z', angle)
        geoms.append(_box((wall, half, top / 2), (half * cos(angle), half * sin(angle), top / 2),
                          'body', quat))
        flap = times(quat, about('y', 1.05))
        reach = half + .021
        geoms.append(_box((.0018, half * .94, .022), (reach * cos(angle), reach * sin(angle),
                                                      top + .008), 'main', flap))
    return Shape(tuple(geoms), .108, .090, 'in', .007, .050)


def _ball_sphere() -> Shape:
    return Shape((Geom('ellipsoid', (.042, .042, .042), (0, 0, .042), role='body'),), .042, .084)


def _ball_oval() -> Shape:
    turn = about('y', pi / 2)
    return Shape((Geom('ellipsoid', (.037, .037, .058), (0, 0, .037), turn, 'body'),), .058, .074)


_SHAPES = {
    ('mug', 'straight'): _mug_straight, ('mug', 'round'): _mug_round,
    ('bottle', 'tall'): _bottle_tall, ('bottle', 'flask'): _bottle_flask,
    ('bottle', 'square'): _bottle_square,
    ('can', 'soda'): _can_soda, ('can', 'tin'): _can_tin,
    ('bowl', 'round'): lambda: _bowl([(.040, .008), (.066, .034), (.078, .066)]),
    ('bowl', 'wide'): lambda: _bowl([(.052, .007), (.088, .026), (.104, .052)]),
    ('plate', 'round'): _plate_round, ('plate', 'square'): _plate_square,
    ('book', 'lying'): _book_lying, ('book', 'standing'): _book_standing,
    ('box', 'carton'): _box_carton, ('box', 'tall'): _box_tall, ('box', 'open'): _box_open,
    ('ball', 'sphere'): _ball_sphere, ('ball', 'oval'): _ball_oval,
}


def outline(geom: Geom) -> np.ndarray:
    """[n,3] points whose convex hull is (nearly) that of the geom, in the object's frame."""
    if geom.kind == 'box':
        local = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)],
                         float) * geom.size
    elif geom.kind == 'ellipsoid':
        angles = np.arange(12) * pi / 6
        local = np.concatenate([np.stack([np.cos(angles) * c, np.sin(angles) * c,
                                          np.full(12, s)], 1)
                                for s, c in ((0, 1), (.7, .714), (-.7, .714))]
                               + [np.array([(0, 0, 1.), (0, 0, -1.)])]) * geom.size
    else:
        angles = np.arange(12) * pi / 6
        radius, half = geom.size[:2]
        half += radius if geom.kind == 'capsule' else 0
        local = np.concatenate([np.stack([np.cos(angles) * radius, np.sin(angles) * radius,
                                          np.full(12, z)], 1) for z in (-half, half)])
    return local @ rotation(geom.quat).T + geom.pos


@lru_cache(maxsize=None)
def shape(category: str, name: str) -> Shape:
    """The shape of this name, at scale 1. Raises KeyError when there is none."""
    made = _SHAPES[category, name]()
    points = np.concatenate([outline(geom) for geom in made.geoms])
    points.setflags(write=False)
    return Shape(made.geoms, made.radius, made.height, made.carries, made.top, made.room,
                 made.rides, points)


MOST_GEOMS = max(len(make().geoms) for make in _SHAPES.values())
