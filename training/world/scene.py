# SPDX-License-Identifier: Apache-2.0
"""A planned scene as a value: objects, camera path, events, and all truth that needs no pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from training.world import objects as shapes
from training.world.camera import CameraPath, Pinhole, Pose
from training.world.contract import Contract
from training.world.events import NOTHING, SLIDING, TABLE, Cover, Move
from training.world.truth import ObjectTruth, Relation, Truth, direction


@dataclass(frozen=True)
class ObjectSpec:
    """One tracked object. The first five fields are the words a person would use of it.

    `support` is the index of the object it starts on or in (`relation`: 'on' or 'in'), -1 for the
    table. `rest` is its first position (bottom middle, world metres), `quat` its turn (w, x, y, z)
    about its middle.
    """

    category: str
    colour: str
    pattern: str
    size: str
    shape: str
    scale: float
    layout: int
    tint: float
    rest: tuple[float, float, float]
    quat: tuple[float, float, float, float]
    support: int = TABLE
    relation: str = 'on'

    @property
    def form(self) -> shapes.Shape:
        """Its geometry at scale 1."""
        return shapes.shape(self.category, self.shape)

    @property
    def words(self) -> dict[str, str]:
        """The attributes by name."""
        return {'category': self.category, 'colour': self.colour, 'pattern': self.pattern,
                'size': self.size, 'shape': self.shape}

    @cached_property
    def outline(self) -> np.ndarray:
        """[n,3] points that span the object, in the world's axes, about its bottom middle."""
        middle = np.array([0, 0, self.form.height * self.scale / 2])
        turned = (self.form.points * self.scale - middle) @ shapes.rotation(self.quat).T
        return turned + middle


@dataclass(frozen=True)
class Look:
    """What a scene looks like beyond its objects: numbers that the renderer turns into things."""

    table: int
    table_tint: tuple[float, float, float]
    floor: int
    wall: tuple[float, float, float]
    light: tuple[float, float, float]
    light_dir: tuple[float, float, float]
    ambient: float
    clutter: tuple[shapes.Geom, ...]
    clutter_rgb: tuple[tuple[float, float, float], ...]
    board_rgb: tuple[float, float, float]


@dataclass(frozen=True)
class ScenePlan:
    """A scene over `seconds`: pure data, the same for the same (seed, split, seconds, kind).

    kind: 'calm' nothing moves, 'events' one or two things happen, 'motion' every object that can
    is still or travels with equal chance, 'long' one thing after another. Indices count the objects
    from 0; times are seconds.
    """

    seed: int
    split: str
    seconds: float
    kind: str
    objects: tuple[ObjectSpec, ...]
    camera: CameraPath
    moves: tuple[Move, ...]
    covers: tuple[Cover, ...]
    look: Look
    contract: Contract = field(repr=False, compare=False)

    @property
    def events(self) -> tuple[Move | Cover, ...]:
        """Moves and covers in order of time."""
        return tuple(sorted((*self.moves, *self.covers), key=lambda event: event.t0))

    @property
    def moving(self) -> bool:
        """Whether any tracked object changes place."""
        return bool(self.moves)

    @cached_property
    def _own(self) -> dict[int, list[Move]]:
        own: dict[int, list[Move]] = {}
        for move in sorted(self.moves, key=lambda move: move.t0):
            own.setdefault(move.index, []).append(move)
        return own

    def camera_pose(self, t: float) -> Pose:
        """The camera at `t`."""
        return self.camera.pose(t)

    def support(self, i: int, t: float) -> tuple[int, str]:
        """(index or TABLE or NOTHING, 'on' or 'in') of what carries object i at `t`."""
        support = (self.objects[i].support, self.objects[i].relation)
        for move in self._own.get(i, ()):
            if t <= move.t0:
                break
            if move.kind in SLIDING:
                support = (move.support, move.relation)
            else:
                landed = t >= move.t1 and move.kind != 'carry_off'
                support = (move.support, move.relation) if landed else (NOTHING, 'on')
        return support

    def position(self, i: int, t: float) -> np.ndarray:
        """World position [3] of the bottom middle of object i at `t`."""
        spec, moves = self.objects[i], self._own.get(i, ())
        place, since = np.array(spec.rest), 0.0
        for move in moves:
            if t < move.t0:
                break
            place, since = move.position(t), move.t1
        carrier = self.support(i, t)[0]
        if carrier >= 0:
            # What rides goes with what carries it, from the moment it was put there.
            place = place + self.position(carrier, t) - self.position(carrier, since)
        return place

    def present(self, i: int, t: float) -> bool:
        """False while object i is away: after it was carried off, before it is brought back."""
        away = False
        for move in self._own.get(i, ()):
            if move.kind == 'carry_off' and t >= move.t1:
                away = True
            if move.kind == 'bring_back' and t > move.t0:
                away = False
        return not away

    def middle(self, i: int, t: float) -> np.ndarray:
        """World position [3] of the middle of object i at `t`: what its truth is measured at."""
        spec = self.objects[i]
        return self.position(i, t) + (0, 0, spec.form.height * spec.scale / 2)

    def hull(self, i: int, t: float) -> np.ndarray:
        """[n,2] pixels whose convex hull is about the unoccluded outline of object i at `t`."""
        points = self.objects[i].outline + self.position(i, t)
        return Pinhole.of(self.contract).project(self.camera.pose(t).to_camera(points))

    def motion(self, i: int, t0: float, t1: float) -> str:
        """'still', 'left', 'right', 'closer' or 'away': how object i moved from t0 to t1, seen
        along the level axes of the camera as it stands at t1."""
        return direction(self._step(i, t0, t1), self.camera.pose(t1), self.contract)[0]

    def motion_clear(self, i: int, t0: float, t1: float) -> bool:
        """Whether motion() is beyond doubt: still, or one axis leads by the contract's factor and
        the object is there at both ends."""
        there = self.present(i, t0) and self.present(i, t1)
        return there and direction(self._step(i, t0, t1), self.camera.pose(t1), self.contract)[1]

    def _step(self, i: int, t0: float, t1: float) -> np.ndarray:
        return self.position(i, t1) - self.position(i, t0)

    def relation(self, i: int, j: int, t: float) -> Relation:
        """Where object i is as seen from the camera, compared to object j, at `t`."""
        pose = self.camera.pose(t)
        return Relation.between(*pose.to_camera([self.middle(i, t), self.middle(j, t)]),
                                self.contract)

    def hidden(self, i: int, t: float) -> bool:
        """Whether a board of a Cover is fully in front of object i at `t`, by plan."""
        return any(cover.index == i and cover.t0 <= t <= cover.t1 for cover in self.covers)

    def truth(self, t: float) -> Truth:
        """Everything known without rendering at `t`, per object in order."""
        pose, pinhole = self.camera.pose(t), Pinhole.of(self.contract)
        middles = np.stack([self.middle(i, t) for i in range(len(self.objects))])
        seen = pose.to_camera(middles)
        pixels = pinhole.project(seen)
        found = []
        for i in range(len(self.objects)):
            support, relation = self.support(i, t)
            name: int | str | None = {TABLE: 'table', NOTHING: None}.get(support, support)
            inside = bool(seen[i, 2] > 0 and (pixels[i] >= 0).all()
                          and pixels[i, 0] < pinhole.width and pixels[i, 1] < pinhole.height)
            before = self._step(i, max(0.0, t - .05), t + .05) / (t + .05 - max(0.0, t - .05))
            present = self.present(i, t)
            found.append(ObjectTruth(
                index=i, world=middles[i], camera=seen[i], pixel=pixels[i], present=present,
                in_view=present and inside, hidden=self.hidden(i, t), support=name,
                relation=None if name is None else relation, velocity=before))
        return Truth(t, tuple(found))
