# SPDX-License-Identifier: Apache-2.0
"""Scenes of half a minute to two, in which one thing happens after another.

About half of the objects are moved, several times: pushed aside or against one another, set
rolling, lifted onto the table or onto and into others, carried off and brought back, hidden by a
board. What happens does not overlap in time, so that whatever moves, moves alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.world.camera import sample_path
from training.world.contract import Contract
from training.world.events import NOTHING, TABLE, Cover, Move
from training.world.layout import Draft, Places, Words
from training.world.look import sample_look
from training.world.planner import DIRECTIONS, Happenings
from training.world.scene import ObjectSpec, ScenePlan

#: Seconds of a scene, of a move, between the end of one and the next, behind a board, away.
SECONDS, LASTS, PAUSE = (30.0, 120.0), (1.6, 3.2), (1.0, 4.0)
COVERED, AWAY = (2.0, 6.0), (3.0, 20.0)
#: Metres that an object travels at least and at most, and is lifted.
TRAVEL, LIFT = (0.10, 0.35), (0.08, 0.16)
#: What happens how often.
HAPPENS = {'push': 44, 'against': 60, 'put': 10, 'put_on': 22, 'carry_off': 6, 'cover': 6}
#: Footprints that are round, so that two of them touch when their circles do; the gap that stays.
ROUND, CONTACT_GAP = ('mug', 'bottle', 'can', 'bowl', 'plate', 'ball'), 0.004
#: Over so many seconds the camera's path is drawn to keep its speed; it goes round and round.
PATH_SECONDS = 8.0
SALT, MOST_ROUNDS, TRIES = 0x10A6, 200, 24


def plan_long_scene(contract: Contract, seed: int, split: str,
                    seconds: tuple[float, float] = SECONDS) -> ScenePlan:
    """The long scene of this seed, of a length within `seconds`, short ones more often.

    Raises ValueError for an unknown split, a seed outside its split, or where none was found.
    """
    own = contract.seed(seed, split)
    rng = np.random.default_rng((SALT, own))
    length = float(np.exp(rng.uniform(*np.log(seconds))))
    for _ in range(MOST_ROUNDS):
        drafts = Words(rng, contract, split).draw()
        camera = sample_path(rng, contract, PATH_SECONDS)
        places = Places(rng, contract, camera, length)
        specs = places.put(drafts)
        if specs is None:
            continue
        director = Director(rng, contract, length, specs, places)
        director.run()
        if len(director.moves) >= 3:
            return ScenePlan(own, split, length, 'long', specs, camera, tuple(director.moves),
                             tuple(director.covers), sample_look(rng, places), contract)
    raise ValueError(f'no long scene was found for seed {seed}')


class Director:
    """Lets one thing after another happen, and knows where everything stands meanwhile."""

    def __init__(self, rng: np.random.Generator, contract: Contract, seconds: float,
                 specs: tuple[ObjectSpec, ...], places: Places) -> None:
        self.rng, self.contract, self.seconds = rng, contract, seconds
        self.specs, self.places = specs, places
        self.moves: list[Move] = []
        self.covers: list[Cover] = []
        self.at = [np.array(spec.rest) for spec in specs]
        self.support = [spec.support for spec in specs]
        #: What is away: from when on it may come back.
        self.away: dict[int, float] = {}
        count = len(specs)
        self.movers = sorted(rng.permutation(count)[:-(-count // 2)].tolist())
        #: All places that were ever taken; clutter keeps off them.
        self._taken: list[tuple[float, float, float]] = []

    def run(self) -> None:
        """Fill the scene's time."""
        t = float(self.rng.uniform(*PAUSE))
        while t + LASTS[1] + 0.5 < self.seconds:
            ended = self._next(t)
            t = (t if ended is None else ended) + float(self.rng.uniform(*PAUSE))
        self.places.spots = self._spots() + self._taken

    def _next(self, t: float) -> float | None:
        """Let something happen from `t` on; returns when it is over, None for nothing."""
        for index, since in self.away.items():
            if t >= since and self._bring_back(index, t):
                return self.moves[-1].t1
        names, weights = zip(*HAPPENS.items())
        for _ in range(12):
            index = int(self.rng.choice(self.movers))
            if index in self.away:
                continue
            kind = str(self.rng.choice(names, p=np.array(weights) / sum(weights)))
            ended = getattr(self, f'_{kind}')(index, t)
            if ended is not None:
                return ended
        return None

    # --- what may happen: each returns when it is over, or None where it has no room

    def _push(self, index: int, t: float) -> float | None:
        """Slides it left, right, closer or away, or lets it roll."""
        if self.support[index] != TABLE:
            return None
        t1 = self._end(t)
        right, forward = self.places.camera.pose((t + t1) / 2).horizontal()
        for _ in range(TRIES):
            way = str(self.rng.choice(DIRECTIONS))
            axis = {'left': -right, 'right': right, 'closer': -forward, 'away': forward}[way]
            other = forward if way in ('left', 'right') else right
            heading = axis + other * np.tan(np.radians(self.rng.uniform(-11, 11)))
            step = heading / np.linalg.norm(heading) * self.rng.uniform(*TRAVEL)
            kind = 'roll' if self.specs[index].category == 'ball' else 'push'
            if self._slides(index, kind, t, t1, self.at[index] + step):
                return t1
        return None

    def _against(self, index: int, t: float) -> float | None:
        """Slides it straight at another object until they touch."""
        for other in self.rng.permutation(len(self.specs)):
            one, two = self.specs[index], self.specs[other]
            if other == index or other in self.away or not {one.category, two.category} <= set(
                    ROUND) or self.support[index] != TABLE or self.support[other] != TABLE:
                continue
            apart = (self.at[other] - self.at[index]) * (1, 1, 0)
            distance = float(np.linalg.norm(apart))
            free = distance - _radius(one) - _radius(two) - CONTACT_GAP
            kind = 'roll' if one.category == 'ball' else 'push'
            t1 = self._end(t)
            if TRAVEL[0] <= free <= TRAVEL[1] and self._slides(
                    index, kind, t, t1, self.at[index] + apart / distance * free, (int(other),)):
                return t1
        return None

    def _put(self, index: int, t: float) -> float | None:
        """Lifts it and puts it down on the table."""
        if self._riders(index):
            return None
        end = self._table_place(index, t)
        return None if end is None else self._lift(index, t, end, TABLE, 'on')

    def _put_on(self, index: int, t: float) -> float | None:
        """Lifts it and puts it down on or in another object."""
        rider = _draft(self.specs[index])
        if self._riders(index) or not rider.form.rides:
            return None
        for other in self.rng.permutation(len(self.specs)):
            spec = self.specs[other]
            if (other == index or other in self.away or spec.form.carries is None
                    or self.support[other] != TABLE or self._riders(int(other))
                    or not Words._may_ride(rider, _draft(spec))):
                continue
            end = self.at[other] + (0, 0, spec.form.top * spec.scale)
            if self.support[index] != other and self._in_view(index, end, t):
                return self._lift(index, t, end, int(other), spec.form.carries)
        return None

    def _carry_off(self, index: int, t: float) -> float | None:
        """Takes it out of sight; it comes back after a while, if there is time."""
        if self._riders(index):
            return None
        t1 = self._end(t)
        right, _ = self.places.camera.pose(t).horizontal()
        for side in self.rng.permutation((-1.0, 1.0)):
            away = self.at[index] + right * side * self.rng.uniform(1.0, 1.3) + (
                0, 0, self.rng.uniform(.15, .35))
            if self._happenings()._seen(away, t1, -60):
                continue
            self._move(index, 'carry_off', t, t1, away)
            self.support[index] = NOTHING
            self.away[index] = t1 + float(self.rng.uniform(*AWAY))
            return t1
        return None

    def _bring_back(self, index: int, t: float) -> bool:
        place = self._table_place(index, t)
        if place is None:
            return False
        self._move(index, 'bring_back', t, self._end(t), place)
        self.support[index] = TABLE
        del self.away[index]
        return True

    def _cover(self, index: int, t: float) -> float | None:
        """Hides it behind a board."""
        span = (t + 0.8, t + 0.8 + float(self.rng.uniform(*COVERED)))
        happenings = self._happenings()
        if span[1] + 1 > self.seconds or not happenings.cover(index, span):
            return None
        self.covers += happenings.covers
        return span[1] + happenings.covers[0].way

    # --- what they share

    def _end(self, t: float) -> float:
        return t + float(self.rng.uniform(*LASTS))

    def _happenings(self) -> Happenings:
        """The shorter scenes' planner, with everything where it is now."""
        now = tuple(replace(spec, rest=tuple(map(float, place)))
                    for spec, place in zip(self.specs, self.at))
        return Happenings(self.rng, self.contract, self.places.camera, self.seconds, now,
                          self.places)

    def _riders(self, index: int) -> list[int]:
        return [i for i, support in enumerate(self.support) if support == index]

    def _spots(self, *without: int) -> list[tuple[float, float, float]]:
        """What stands on the table."""
        return [(*map(float, self.at[i][:2]), _radius(spec)) for i, spec in enumerate(self.specs)
                if self.support[i] == TABLE and i not in without]

    def _in_view(self, index: int, place: np.ndarray, t: float) -> bool:
        """Whether the object, there, is well inside the image from `t` on, and of an allowed
        size."""
        spec, happenings = self.specs[index], self._happenings()
        middle = place + (0, 0, spec.form.height * spec.scale / 2)
        times = np.linspace(t, min(t + 12, self.seconds), 4)
        return all(happenings._seen(middle, float(u), 8) for u in times) \
            and self.places.fits(spec.outline, place)

    def _slides(self, index: int, kind: str, t: float, t1: float, end: np.ndarray,
                meets: tuple[int, ...] = ()) -> bool:
        """Take this move if the way is free, but for what it is to meet."""
        self.places.spots = self._spots(index, *meets)
        radius = _radius(self.specs[index])
        way = [self.at[index] + (end - self.at[index]) * s for s in np.linspace(0, 1, 9)]
        if not all(self.places.free(*place[:2], radius) for place in way) \
                or not self._in_view(index, end, t1):
            return False
        self._move(index, kind, t, t1, end)
        return True

    def _table_place(self, index: int, t: float) -> np.ndarray | None:
        """A free place on the table that is in view and not where it is."""
        self.places.spots = self._spots(index)
        for _ in range(TRIES):
            point = self.places.ground(self.rng.uniform(40, 280), self.rng.uniform(70, 210))
            if point is None or np.hypot(*(point - self.at[index][:2])) < TRAVEL[0] \
                    or not self.places.free(*point, _radius(self.specs[index])):
                continue
            place = np.array([*point, 0.0])
            if self._in_view(index, place, t + LASTS[0]):
                return place
        return None

    def _lift(self, index: int, t: float, end: np.ndarray, support: int, relation: str) -> float:
        self._move(index, 'lift', t, self._end(t), end, float(self.rng.uniform(*LIFT)), support,
                   relation)
        self.support[index] = support
        return self.moves[-1].t1

    def _move(self, index: int, kind: str, t: float, t1: float, end: np.ndarray,
              height: float = 0.0, support: int = TABLE, relation: str = 'on') -> None:
        start = self.at[index]
        self.moves.append(Move(index, kind, t, t1, tuple(map(float, start)),
                               tuple(map(float, end)), height, support, relation))
        self._taken.append((*map(float, end[:2]), _radius(self.specs[index])))
        for rider in self._riders(index):
            self.at[rider] = self.at[rider] + end - start
        self.at[index] = np.array(end, float)


def _radius(spec: ObjectSpec) -> float:
    return spec.form.radius * spec.scale


def _draft(spec: ObjectSpec) -> Draft:
    return Draft(spec.category, spec.colour, spec.pattern, spec.size, spec.shape, spec.scale)
