# SPDX-License-Identifier: Apache-2.0
"""What happens in a scene: things are pushed, lifted and put down, carried off and brought back,
and covered by a board that passes in front of them. Kinematic: poses are functions of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TABLE = -1     # the support of what stands on the table
NOTHING = -2   # the support of what is in the air or away
#: Kinds of moves that stay on what carries the object.
SLIDING = ('push', 'roll')


def ease(x: float) -> float:
    """Smooth step from 0 to 1 with no speed and no acceleration at its ends."""
    x = min(max(x, 0.0), 1.0)
    return x * x * x * (10 - 15 * x + 6 * x * x)


@dataclass(frozen=True)
class Move:
    """One object goes from `start` to `end` (world metres) between `t0` and `t1` seconds.

    kind: 'push' slides it, 'roll' lets it run out by itself, 'lift' takes it up by `height` and puts
    it down on `support`, 'carry_off' takes it out of the scene, 'bring_back' is the way back.
    """

    index: int
    kind: str
    t0: float
    t1: float
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    height: float = 0.0
    support: int = TABLE
    relation: str = 'on'

    def position(self, t: float) -> np.ndarray:
        """World position at `t`, held still before and after."""
        start, end = np.array(self.start), np.array(self.end)
        x = (t - self.t0) / (self.t1 - self.t0)
        if self.kind == 'push':
            return start + (end - start) * ease(x)
        if self.kind == 'roll':
            # Friction takes speed away evenly.
            return start + (end - start) * (1 - (1 - min(max(x, 0.0), 1.0)) ** 2)
        if self.kind == 'lift':
            # Up first, then across, then down: the three overlap a little, as a hand would.
            across = ease((x - .15) / .7)
            place = start + (end - start) * across
            rise = ease(x / .35) if x < .5 else ease((1 - x) / .35)
            place[2] = ((1 - across) * start[2] + across * end[2]) + self.height * rise
            return place
        out = ease(x) if self.kind == 'carry_off' else 1 - ease(x)
        inside, away = (start, end) if self.kind == 'carry_off' else (end, start)
        place = inside + (away - inside) * out ** 1.6
        place[2] = inside[2] + (away[2] - inside[2]) * min(1.0, 1.8 * out)
        return place


@dataclass(frozen=True)
class Cover:
    """A board passes between the camera and object `index`, fully in front from `t0` to `t1`.

    It comes in from `enter` and leaves to `leave` (world metres), each in `way` seconds, and holds
    at `hold`; `quat` turns it to the camera; `half` is half its width and height.
    """

    index: int
    t0: float
    t1: float
    way: float
    enter: tuple[float, float, float]
    hold: tuple[float, float, float]
    leave: tuple[float, float, float]
    quat: tuple[float, float, float, float]
    half: tuple[float, float]

    def position(self, t: float) -> np.ndarray | None:
        """World position of the board's middle at `t`, or None while it is away."""
        enter, hold, leave = map(np.array, (self.enter, self.hold, self.leave))
        if not self.t0 - self.way < t < self.t1 + self.way:
            return None
        if t < self.t0:
            return enter + (hold - enter) * ease((t - self.t0 + self.way) / self.way)
        if t > self.t1:
            return hold + (leave - hold) * ease((t - self.t1) / self.way)
        return hold
