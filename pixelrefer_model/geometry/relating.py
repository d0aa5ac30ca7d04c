# SPDX-License-Identifier: Apache-2.0
"""How two objects lie to one another: distance and relations, from where they were seen.

The relations are those that SpatialRGPT (arXiv:2406.01584) asks about, decided by geometry. All
are from where the camera stands: left is left in the image, above is along `up`. In a frame with z up
those that need no camera hold of two objects that two cameras saw.
"""

from dataclasses import dataclass

import numpy as np

from pixelrefer_model.geometry.placing import Placed

#: A difference is one from so many of its deviations on.
SURE = 2.0
#: One stands on the other where its lower end is so near to the other's upper end: m, and a share
#: of its own height.
GAP_M, GAP_SHARE = 0.03, 0.25
UP = (0.0, -1.0, 0.0)


#: Relations by the axis or figure that they rest on: where the first has less of it, and more.
ASIDE, HEIGHT, AWAY = ('left', 'right'), ('below', 'above'), ('in_front', 'behind')
RANGE, TALL, WIDE = ('nearer', 'farther'), ('shorter', 'taller'), ('narrower', 'wider')
#: In this order they are told.
ORDER = (*ASIDE, *HEIGHT, *AWAY, *RANGE, *TALL, *WIDE, 'on')


@dataclass(frozen=True)
class Measured:
    """distance, deviation: metres between the two positions. relations: of the first to the
    second, each with the difference that it rests on and its deviation, in metres."""

    distance: float
    deviation: float
    relations: dict[str, tuple[float, float]]


def measure(first: Placed, second: Placed, up: tuple[float, float, float] = UP) -> Measured:
    """Measure two objects of one moment and one optical frame. up: a unit vector, in that frame.

    A relation is given where the difference behind it is at least SURE times its deviation:
    left, right, above, below, in_front, behind (of the positions along the image, up and the view);
    nearer, farther (of the distances to the camera); taller, shorter, wider, narrower (of what is
    seen of them); on (it ends above where the other ends at its top, and over it).
    """
    return _measured(first, second, _as_seen(first, second) | _upright(first, second, up))


def measure_upright(first: Placed, second: Placed,
                    seen: tuple[Placed, Placed] | None = None) -> Measured:
    """As `measure`, for two objects in a frame whose z axis points up (REP 103).

    seen: the same two in the optical frame of the camera that saw both at one moment; without it
    what only a camera can tell is left out: left, right, in_front, behind, nearer, farther, wider,
    narrower.
    """
    relations = _as_seen(*seen) if seen else {}
    return _measured(first, second, relations | _upright(first, second, (0.0, 0.0, 1.0)))


def _measured(first: Placed, second: Placed, relations: dict[str, tuple[float, float]]) -> Measured:
    between = first.position - second.position
    distance = float(np.linalg.norm(between))
    along = between / distance if distance else np.array([0.0, 0.0, 1.0])
    both = first.covariance + second.covariance
    return Measured(distance, float(np.sqrt(along @ both @ along)),
                    {name: relations[name] for name in ORDER if name in relations})


def _sure(*noted: tuple[tuple[str, str], float, float]) -> dict[str, tuple[float, float]]:
    """Of (names, difference, variance) the relations that are sure."""
    found = {}
    for (less, more), difference, variance in noted:
        deviation = float(np.sqrt(max(variance, 0.0)))
        if difference and abs(difference) >= SURE * deviation:
            found[more if difference > 0 else less] = abs(float(difference)), deviation
    return found


def _of_positions(names: tuple[str, str], first: Placed, second: Placed, axis: np.ndarray
                  ) -> tuple[tuple[str, str], float, float]:
    return (names, float(axis @ (first.position - second.position)),
            float(axis @ (first.covariance + second.covariance) @ axis))


def _of_sizes(names: tuple[str, str], first: Placed, second: Placed, axis: np.ndarray
              ) -> tuple[tuple[str, str], float, float]:
    return (names, float(axis @ (first.size - second.size)),
            float(axis ** 2 @ (first.size_deviation ** 2 + second.size_deviation ** 2)))


def _as_seen(first: Placed, second: Placed) -> dict[str, tuple[float, float]]:
    """What depends on where the camera stands; both are in its optical frame."""
    x, z = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
    far = [float(np.linalg.norm(one.position)) for one in (first, second)]
    rays = [one.position / length for one, length in zip((first, second), far)]
    away = sum(ray @ one.covariance @ ray for ray, one in zip(rays, (first, second)))
    return _sure(_of_positions(ASIDE, first, second, x), _of_positions(AWAY, first, second, z),
                 (RANGE, far[0] - far[1], float(away)), _of_sizes(WIDE, first, second, x))


def _upright(first: Placed, second: Placed, up: tuple[float, float, float]
             ) -> dict[str, tuple[float, float]]:
    """What depends on where up is."""
    up = np.asarray(up, float)
    found = _sure(_of_positions(HEIGHT, first, second, up),
                  _of_sizes(TALL, first, second, np.abs(up)))
    gap = _on(first, second, up)
    return found if gap is None else found | {'on': gap}


def _on(first: Placed, second: Placed, up: np.ndarray) -> tuple[float, float] | None:
    """The gap between the first's lower and the second's upper end, and its deviation, where the
    first stands on the second; None where it does not."""
    tall = np.abs(up)
    heights = [float(tall @ one.size) for one in (first, second)]
    lower = float(up @ first.position) - heights[0] / 2
    upper = float(up @ second.position) + heights[1] / 2
    deviation = float(np.sqrt(tall ** 2 @ (first.size_deviation ** 2 + second.size_deviation ** 2)))
    near = abs(lower - upper) <= max(GAP_M, GAP_SHARE * heights[0], SURE * deviation)
    higher = float(up @ (first.position - second.position)) > 0
    apart = np.abs(first.position - second.position)
    across = [axis for axis in range(3) if tall[axis] < 0.5]
    over = all(apart[axis] <= (first.size[axis] + second.size[axis]) / 2 for axis in across)
    return (abs(lower - upper), deviation) if near and higher and over else None
