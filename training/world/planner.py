# SPDX-License-Identifier: Apache-2.0
"""Makes up a scene from a seed: camera, objects, what happens, and the look."""

from __future__ import annotations

import numpy as np

from training.world import objects as shapes
from training.world.camera import CameraPath, Pinhole, sample_path
from training.world.contract import Contract
from training.world.events import TABLE, Cover, Move
from training.world.layout import Places, Words
from training.world.look import sample_look
from training.world.scene import ObjectSpec, ScenePlan

KINDS = ('calm', 'events', 'motion')
# Coming closer has the least room in the view, so it is tried most often.
DIRECTIONS, CHANCES = ('left', 'right', 'closer', 'away'), (.2, .2, .42, .18)
SALT = 0x5CE7E
#: Attempts at a scene before it is given up; most scenes of some seconds need one or two.
MOST_ROUNDS = 300


def plan_scene(contract: Contract, seed: int, split: str, seconds: float,
               kind: str | None = None) -> ScenePlan:
    """The scene of this seed. `kind` None lets the contract's shares choose.

    Raises ValueError for an unknown split or kind, a seed outside its split, seconds <= 0, or so
    few seconds that nothing can happen in a scene in which something should.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f'kind must be one of {KINDS} or None, got {kind!r}')
    if not seconds > 0:
        raise ValueError(f'seconds must be positive, got {seconds}')
    own = contract.seed(seed, split)
    rng = np.random.default_rng((SALT, own))
    events = contract.events
    drawn = kind or ('calm' if rng.random() >= events['moving_share'] else
                     'motion' if rng.random() < events['motion_kind_share'] else 'events')
    drafts = None
    for _ in range(MOST_ROUNDS):
        # The words stay while places are searched: what is hard to place must not become rare.
        drafts = Words(rng, contract, split).draw() if drafts is None else drafts
        for _ in range(25):
            camera = sample_path(rng, contract, seconds)
            places = Places(rng, contract, camera, seconds)
            specs = places.put(drafts)
            if specs is not None:
                break
        else:
            drafts = None
            continue
        happenings = Happenings(rng, contract, camera, seconds, specs, places)
        moves, covers = happenings.draw(drawn)
        if drawn != 'calm' and not moves and not covers:
            continue
        return ScenePlan(own, split, float(seconds), drawn, specs, camera, moves, covers,
                         sample_look(rng, places), contract)
    raise ValueError(f'no scene of kind {drawn} and {seconds:g} s was found for seed {seed}; more '
                     'seconds are needed')


class Happenings:
    """Draws moves and covers that meet nothing on their way and end where they can be seen."""

    def __init__(self, rng: np.random.Generator, contract: Contract, camera: CameraPath,
                 seconds: float, specs: tuple[ObjectSpec, ...], places: Places) -> None:
        self.rng, self.contract, self.camera, self.seconds = rng, contract, camera, seconds
        self.specs, self.places, self.pinhole = specs, places, Pinhole.of(contract)
        self.moves: list[Move] = []
        self.covers: list[Cover] = []
        self.riders = {i: [j for j, spec in enumerate(specs) if spec.support == i]
                       for i in range(len(specs))}

    def draw(self, kind: str) -> tuple[tuple[Move, ...], tuple[Cover, ...]]:
        """What happens in a scene of this kind."""
        rng = self.rng
        if kind == 'motion':
            for index in rng.permutation(len(self.specs)):
                # Over one half, since not every move that is wanted finds its room.
                if rng.random() < .80:
                    self.travel(int(index), 'lift' if rng.random() < .3 else 'push',
                                str(rng.choice(DIRECTIONS, p=CHANCES)))
        elif kind == 'events':
            wanted = max(1, round(self.seconds / 4 * rng.uniform(.7, 1.8)))
            for _ in range(wanted * 4):
                if len(self.moves) + len(self.covers) >= wanted:
                    break
                index = int(rng.integers(len(self.specs)))
                what = rng.random()
                if what < .27:
                    self.travel(index, 'push', str(rng.choice(DIRECTIONS, p=CHANCES)))
                elif what < .48:
                    self.travel(index, 'lift', str(rng.choice(DIRECTIONS, p=CHANCES)))
                elif what < .66:
                    self._leave(index)
                else:
                    self.cover(index)
        return tuple(sorted(self.moves, key=lambda move: (move.t0, move.index))), tuple(self.covers)

    def _busy(self, index: int) -> bool:
        """An object moves once, and not together with what carries it."""
        family = {index, self.specs[index].support, *self.riders[index]}
        return any(move.index in family for move in self.moves) \
            or any(cover.index == index for cover in self.covers)

    def _window(self) -> tuple[float, float] | None:
        low, high = self.contract.events['duration']
        span = self.seconds - .3
        if span < low:
            return None
        lasts = self.rng.uniform(low, min(high, span))
        start = self.rng.uniform(.15, self.seconds - .15 - lasts)
        return float(start), float(start + lasts)

    def _seen(self, place: np.ndarray, t: float, margin: float = 12) -> bool:
        """Whether a world point falls well inside the image at t."""
        point = self.camera.pose(t).to_camera(place[None])
        u, v = self.pinhole.project(point)[0]
        return bool(point[0, 2] > .1 and margin <= u < self.pinhole.width - margin
                    and margin <= v < self.pinhole.height - margin)

    def travel(self, index: int, kind: str, way: str, span: tuple[float, float] | None = None
               ) -> bool:
        """Let an object be pushed or lifted that way, `span` (t0, t1) seconds; False if it has no
        room. What rides on another is lifted."""
        if self._busy(index) or (span := span or self._window()) is None:
            return False
        spec, rng = self.specs[index], self.rng
        if spec.support != TABLE:
            kind = 'lift'
        start = np.array(spec.rest)
        right, forward = self.camera.pose((span[0] + span[1]) / 2).horizontal()
        axis = {'left': -right, 'right': right, 'closer': -forward, 'away': forward}[way]
        other = forward if way in ('left', 'right') else right
        low, high = self.contract.events['travel']
        for _ in range(24):
            heading = axis + other * np.tan(np.radians(rng.uniform(-11, 11)))
            step = heading / np.linalg.norm(heading) * rng.uniform(low, high)
            end = start + step
            if self._onto(index, kind, way, span, start, end):
                return True
        return False

    def _onto(self, index: int, kind: str, way: str, span: tuple[float, float],
              start: np.ndarray, end: np.ndarray) -> bool:
        """Take this move if nothing speaks against it: onto the table where it is free."""
        spec = self.specs[index]
        radius = spec.form.radius * spec.scale
        others = [spot for i, spot in enumerate(self.places.spots)
                  if spec.support != TABLE or i != index]
        end = np.array([*end[:2], 0.0])
        middle = end + (0, 0, spec.form.height * spec.scale / 2)
        if not (self._seen(middle, span[1]) and self._seen(middle, self.seconds, 4)
                and self.places.fits(spec.outline, end)):
            return False
        clear = Places.free
        saved, self.places.spots = self.places.spots, others
        try:
            stops = np.linspace(0, 1, 9) if kind == 'push' else [1.0]
            if not all(clear(self.places, *(start + (end - start) * s)[:2], radius)
                       for s in stops):
                return False
        finally:
            self.places.spots = saved
        move = Move(index, kind, *span, tuple(map(float, start)), tuple(map(float, end)),
                    height=0.0 if kind == 'push' else float(self.rng.uniform(.08, .16)))
        if not self._says(move, way):
            return False
        self.moves.append(move)
        # Both ends and the way between stay reserved, at whatever time something else moves.
        for s in np.linspace(0, 1, 5 if kind == 'push' else 2)[1:]:
            self.places.spots.append((*map(float, (start + (end - start) * s)[:2]), radius))
        return True

    def _says(self, move: Move, way: str) -> bool:
        """Whether the camera, wherever it stands during the move, sees it go that way."""
        step = np.subtract(move.end, move.start)
        for t in (move.t0, move.t1, self.seconds):
            right, forward = self.camera.pose(t).horizontal()
            x, z = float(step @ right), float(step @ forward)
            lead = {'left': -x, 'right': x, 'closer': -z, 'away': z}[way]
            across = abs(z) if way in ('left', 'right') else abs(x)
            if lead < self.contract.events['dominance'] * across or lead < abs(step[2]):
                return False
        return True

    def _leave(self, index: int) -> None:
        """Carried off to the side, out of sight; in longer scenes mostly brought back."""
        if self._busy(index) or self.riders[index]:
            return
        rng, spec = self.rng, self.specs[index]
        lasts = float(rng.uniform(.8, 1.3))
        back = rng.random() < .7 and self.seconds >= 2 * lasts + .8
        latest = self.seconds - lasts - .2 - (lasts + .5 if back else 0)
        if latest < .1:
            return
        start = float(rng.uniform(.1, latest))
        right, _ = self.camera.pose(start).horizontal()
        side = float(rng.choice((-1, 1)))
        rest = np.array(spec.rest)
        away = rest + right * side * rng.uniform(1.0, 1.2) + (0, 0, rng.uniform(.15, .35))
        if self._seen(away, start + lasts, -60):
            return
        rest, away = tuple(map(float, rest)), tuple(map(float, away))
        self.moves.append(Move(index, 'carry_off', start, start + lasts, rest, away,
                               support=spec.support, relation=spec.relation))
        if back:
            gone = start + lasts
            begin = float(rng.uniform(gone + .3, min(gone + 2.0, self.seconds - lasts - .1)))
            self.moves.append(Move(index, 'bring_back', begin, begin + lasts, away, rest,
                                   support=spec.support, relation=spec.relation))

    def cover(self, index: int, span: tuple[float, float] | None = None) -> bool:
        """Let a board pass in front of an object that stays where it is; False if it cannot."""
        rng = self.rng
        low, high = self.contract.events['hidden']
        if self._busy(index) or self.seconds < low + 1.6:
            return False
        if span is None:
            lasts = float(rng.uniform(low, min(high, self.seconds - 1.5)))
            start = float(rng.uniform(.7, self.seconds - .7 - lasts))
            span = (start, start + lasts)
        # There is one board.
        if any(span[0] < other.t1 + 1.6 and other.t0 < span[1] + 1.6 for other in self.covers):
            return False
        spec = self.specs[index]
        points = spec.outline + spec.rest
        centre = points.mean(0)
        if not (self._seen(centre, span[0]) and self._seen(centre, span[1])):
            return False
        pose = self.camera.pose(sum(span) / 2)
        share = float(rng.uniform(.66, .76))
        plane = pose.position + share * (centre - pose.position)
        right, down, normal = pose.rotation.T
        reach = []
        for t in np.linspace(*span, 9):
            eye = self.camera.pose(t).position
            rays = points - eye
            hits = eye + rays * ((plane - eye) @ normal / (rays @ normal))[:, None] - plane
            reach.append(np.stack([hits @ right, hits @ down], 1))
        reach = np.concatenate(reach)
        low2, high2 = reach.min(0) - .012, reach.max(0) + .012
        middle = (low2 + high2) / 2
        half = (high2 - low2) / 2 * rng.uniform(1.0, 1.25)
        hold = plane + middle[0] * right + middle[1] * down
        side = float(rng.choice((-1, 1)))
        depth = float((hold - pose.position) @ normal)
        far = (depth * self.pinhole.width / self.pinhole.focal + half[0] * 2 + .1) * right * side
        onward = far if rng.random() < .5 else -far
        self.covers.append(Cover(
            index, *span, float(rng.uniform(.5, .75)), tuple(map(float, hold - far)),
            tuple(map(float, hold)), tuple(map(float, hold + onward)),
            shapes.quaternion(pose.rotation), tuple(map(float, half))))
        return True

