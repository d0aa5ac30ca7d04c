# SPDX-License-Identifier: Apache-2.0
"""How two objects lie to one another: distance and relations, from where they were seen.

The relations are those that SpatialRGPT (arXiv:2406.01584) asks about, decided by geometry. All
are from where the camera stands: left is left in the image, above is along `up`.
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


@dataclass(frozen=True)
class Measured:
    """distance, deviation: metres between the two positions. relations: of the first to the
    second, each with the difference that it rests on and its deviation, in metres."""

    distance: float
    deviation: float
    relations: dict[str, tuple[float, float]]


def measure(first: Placed, second: Placed, up: tuple[float, float, float] = UP) -> Measured:
    """Measure two objects of one moment and one frame. up: a unit vector, in that frame.

    A relation is given where the difference behind it is at least SURE times its deviation:
    left, right, above, below, in_front, behind (of the positions along the image, up and the view);
    nearer, farther (of the distances to the camera); taller, shorter, wider, narrower (of what is
    seen of them); on (it ends above where the other ends at its top, and over it).
    """
    between = first.position - second.position
    both = first.covariance + second.covariance
    distance = float(np.linalg.norm(between))
    along = between / distance if distance else np.array([0.0, 0.0, 1.0])
    up = np.asarray(up, float)
    found: dict[str, tuple[float, float]] = {}

    def note(less: str, more: str, difference: float, variance: float) -> None:
        deviation = float(np.sqrt(max(variance, 0.0)))
        if difference and abs(difference) >= SURE * deviation:
            found[more if difference > 0 else less] = abs(float(difference)), deviation

    for less, more, axis in (('left', 'right', (1.0, 0.0, 0.0)), ('below', 'above', up),
                             ('in_front', 'behind', (0.0, 0.0, 1.0))):
        axis = np.asarray(axis)
        note(less, more, between @ axis, axis @ both @ axis)
    rays = [one.position / np.linalg.norm(one.position) for one in (first, second)]
    note('nearer', 'farther',
         float(np.linalg.norm(first.position) - np.linalg.norm(second.position)),
         sum(ray @ one.covariance @ ray for ray, one in zip(rays, (first, second))))
    tall, wide = np.abs(up), np.array([1.0, 0.0, 0.0])
    for less, more, axis in (('shorter', 'taller', tall), ('narrower', 'wider', wide)):
        note(less, more, float(axis @ (first.size - second.size)),
             float(axis ** 2 @ (first.size_deviation ** 2 + second.size_deviation ** 2)))
    gap = _on(first, second, up)
    if gap is not None:
        found['on'] = gap
    return Measured(distance, float(np.sqrt(along @ both @ along)), found)


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
