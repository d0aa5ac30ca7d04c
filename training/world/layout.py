# SPDX-License-Identifier: Apache-2.0
"""Which objects a scene has, and where they stand: words first, then places in the view."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from training.world import objects as shapes
from training.world.camera import TABLE_HALF, CameraPath, Pinhole
from training.world.contract import Contract
from training.world.events import TABLE
from training.world.scene import ObjectSpec

CARRIERS = {'plate': .30, 'bowl': .26, 'book': .20, 'box': .24}
RIDERS = {'plate': ('mug', 'can', 'ball', 'box', 'bowl', 'bottle'),
          'bowl': ('ball', 'can', 'mug', 'box', 'bottle', 'ball'),
          'book': ('mug', 'can', 'bottle', 'box', 'bowl', 'book'),
          'box': ('mug', 'can', 'bottle', 'book', 'bowl', 'ball')}
ATTRIBUTES = ('category', 'colour', 'pattern', 'size')


@dataclass
class Draft:
    """The words of one object while a scene is being made up, and what it will stand on."""

    category: str
    colour: str
    pattern: str
    size: str
    shape: str
    scale: float
    support: int = TABLE

    def differs(self, other: 'Draft') -> int:
        """How many attributes differ."""
        return sum(getattr(self, name) != getattr(other, name) for name in ATTRIBUTES)

    @property
    def form(self) -> shapes.Shape:
        """Geometry at scale 1."""
        return shapes.shape(self.category, self.shape)

    @property
    def radius(self) -> float:
        """Footprint radius in metres."""
        return self.form.radius * self.scale


class Words:
    """Draws the objects of a scene so that the shares of the contract come out."""

    def __init__(self, rng: np.random.Generator, contract: Contract, split: str) -> None:
        self.rng, self.contract, self.split = rng, contract, split

    def draw(self) -> list[Draft]:
        """The objects of one scene, carriers before what they carry."""
        low, high = self.contract.objects_per_scene
        twins = self.rng.random() < self.contract.look_alike_share
        while True:
            count = int(self.rng.integers(low, high + 1))
            drafts = self._scene(count)
            if drafts is None or (twins and not self._twin(drafts)):
                continue
            pairs = [a.differs(b) for i, a in enumerate(drafts) for b in drafts[:i]]
            if min(pairs) >= 1 and (min(pairs) == 1) == twins:
                return drafts

    def _one(self, category: str, size: str | None = None, **want: object) -> Draft:
        rng, contract = self.rng, self.contract
        colours = [c for c in contract.colours if contract.allowed(category, c, self.split)]
        size = size or str(rng.choice(('small', 'large')))
        names = [name for name in contract.shapes[category]
                 if all(getattr(shapes.shape(category, name), key) == value
                        for key, value in want.items())]
        return Draft(category, str(rng.choice(colours)), str(rng.choice(contract.patterns)), size,
                     str(rng.choice(names)), float(rng.uniform(*contract.sizes[size])))

    def _scene(self, count: int) -> list[Draft] | None:
        rng = self.rng
        riders = min(int(self.contract.supported_share * count + rng.random()), count // 2)
        carriers = [self._carrier() for _ in range(riders)]
        # What is left evens out the categories: carriers had theirs more often than others.
        names = self.contract.categories
        weights = np.array([.45 if name in CARRIERS else 1.2 for name in names])
        free = [self._one(str(rng.choice(names, p=weights / weights.sum())))
                for _ in range(count - 2 * riders)]
        carried = []
        for index, carrier in enumerate(carriers):
            rider = self._rider(carrier)
            if rider is None:
                return None
            rider.support = index
            carried.append(rider)
        return carriers + free + carried

    def _carrier(self) -> Draft:
        category = str(self.rng.choice(list(CARRIERS), p=list(CARRIERS.values())))
        carries = 'in' if category == 'bowl' else 'on'
        if category == 'box' and self.rng.random() < .5:
            carries = 'in'
        size = 'large' if self.rng.random() < .72 else 'small'
        return self._one(category, size, carries=carries)

    def _rider(self, carrier: Draft) -> Draft | None:
        """Something that may stand there, the kinds as evenly as their sizes allow."""
        for category in self.rng.permutation(RIDERS[carrier.category]):
            for attempt in range(6):
                rider = self._one(str(category), None if attempt < 3 else 'small', rides=True)
                if self._may_ride(rider, carrier):
                    return rider
        return None

    @staticmethod
    def _may_ride(rider: Draft, carrier: Draft) -> bool:
        form = carrier.form
        inside = form.carries == 'in'
        # A ball stays only where an edge holds it, and what lies deep inside is not seen.
        rolls = rider.category == 'ball' and not inside and carrier.category in ('book', 'box')
        low = inside and rider.form.height * rider.scale < .6 * form.height * carrier.scale
        return not rolls and not low and rider.radius < form.room * carrier.scale * .97

    def _twin(self, drafts: list[Draft]) -> bool:
        """Make one free object a copy of another but for one attribute."""
        free = [i for i, draft in enumerate(drafts)
                if draft.support == TABLE and all(other.support != i for other in drafts)]
        if not free:
            return False
        index = int(self.rng.choice(free))
        others = [i for i in range(len(drafts)) if i != index]
        model = drafts[int(self.rng.choice(others))]
        what = str(self.rng.choice(ATTRIBUTES, p=(.2, .32, .26, .22)))
        twin = replace(model, support=TABLE)
        if what == 'category':
            other = self._one(str(self.rng.choice([c for c in self.contract.categories
                                                   if c != model.category])), model.size)
            twin = replace(other, colour=model.colour, pattern=model.pattern)
        elif what == 'size':
            twin.size = 'small' if model.size == 'large' else 'large'
            twin.scale = float(self.rng.uniform(*self.contract.sizes[twin.size]))
        else:
            values = self.contract.colours if what == 'colour' else self.contract.patterns
            setattr(twin, what, str(self.rng.choice([v for v in values
                                                     if v != getattr(model, what)])))
        drafts[index] = twin
        return self.contract.allowed(twin.category, twin.colour, self.split)


def hull_area(pixels: np.ndarray) -> float:
    """Area in pixels of the convex hull of [n,2] points."""
    return float(cv2.contourArea(cv2.convexHull(pixels.astype(np.float32))))


class Places:
    """Puts drafts on the table, within view of the camera path, each inside the contract's areas.

    `spots` holds (x, y, radius) of what already stands there. `hiding` and `cutting` are the shares
    of places tried right behind or before another object, and at the image edge.
    """

    TRIES = 50

    def __init__(self, rng: np.random.Generator, contract: Contract, camera: CameraPath,
                 seconds: float, hiding: float = .19, cutting: float = .02) -> None:
        self.rng, self.contract, self.camera = rng, contract, camera
        self.hiding, self.cutting = hiding, cutting
        self.pinhole = Pinhole.of(contract)
        self.poses = [camera.pose(t) for t in np.linspace(0, seconds, 4)]
        self.spots: list[tuple[float, float, float]] = []

    def ground(self, u: float, v: float, pose: int = 1) -> np.ndarray | None:
        """The table point [2] seen at a pixel of the n-th sampled pose, or None."""
        pose = self.poses[pose]
        ray = pose.rotation @ self.pinhole.ray(u, v)
        if ray[2] > -1e-3:
            return None
        point = pose.position - ray * pose.position[2] / ray[2]
        return point[:2]

    def free(self, x: float, y: float, radius: float, gap: float = .008) -> bool:
        """Whether a disc lies on the table and meets nothing that stands there."""
        if abs(x) + radius > TABLE_HALF[0] or abs(y) + radius > TABLE_HALF[1]:
            return False
        return all(np.hypot(x - a, y - b) > radius + r + gap for a, b, r in self.spots)

    def _proposal(self, radius: float) -> np.ndarray | None:
        rng, width, height = self.rng, self.contract.width, self.contract.height
        choice = rng.random()
        if self.spots and choice < self.hiding:
            # Behind or before another, so that one hides part of the other.
            x, y, other = self.spots[int(rng.integers(len(self.spots)))]
            right, forward = self.poses[1].horizontal()
            along = (radius + other + rng.uniform(.009, .07)) * rng.choice((-1, 1))
            across = rng.uniform(-.8, .8) * max(radius, other)
            return np.array([x, y]) + (forward * along + right * across)[:2]
        if choice > 1 - self.cutting:
            side = int(rng.integers(3))
            u = (rng.uniform(-4, 12), rng.uniform(width - 12, width + 4),
                 rng.uniform(30, width - 30))[side]
            v = rng.uniform(100, 215) if side < 2 else rng.uniform(height - 12, height + 2)
            return self.ground(u, v, int(rng.integers(4)))
        return self.ground(rng.uniform(54, width - 54), rng.uniform(64, height - 52))

    def area(self, outline: np.ndarray, place: np.ndarray) -> tuple[float, float]:
        """Least and greatest outline area in pixels over the sampled poses."""
        areas = [hull_area(self.pinhole.project(pose.to_camera(outline + place)))
                 for pose in self.poses]
        return min(areas), max(areas)

    def fits(self, outline: np.ndarray, place: np.ndarray) -> bool:
        """Whether the object stays within the contract's areas there."""
        least, most = self.area(outline, place)
        return least > self.contract.area['min'] * 1.25 and most < self.contract.area['max'] * .95

    def put(self, drafts: list[Draft]) -> tuple[ObjectSpec, ...] | None:
        """All drafts placed, or None when one finds no place."""
        specs: list[ObjectSpec] = []
        for draft in drafts:
            spec = self._ride(draft, specs[draft.support]) if draft.support >= 0 \
                else self._stand(draft)
            if spec is None:
                return None
            specs.append(spec)
        return tuple(specs)

    def _spec(self, draft: Draft) -> ObjectSpec:
        rng = self.rng
        quat = shapes.about('z', rng.uniform(0, 2 * np.pi))
        if draft.category == 'ball' and draft.shape == 'sphere':
            # About its middle a sphere may be turned any way; its outline does not change.
            turn = rng.normal(size=4)
            quat = tuple(turn / np.linalg.norm(turn))
        return ObjectSpec(draft.category, draft.colour, draft.pattern, draft.size, draft.shape,
                          draft.scale, int(rng.integers(2)), float(rng.uniform(.88, 1.06)),
                          (0, 0, 0), tuple(map(float, quat)))

    def _stand(self, draft: Draft) -> ObjectSpec | None:
        spec = self._spec(draft)
        for _ in range(self.TRIES):
            point = self._proposal(draft.radius)
            if point is None or not self.free(*point, draft.radius):
                continue
            place = np.array([*point, 0.0])
            if self.fits(spec.outline, place):
                self.spots.append((*map(float, point), draft.radius))
                return replace(spec, rest=tuple(map(float, place)))
        return None

    def _ride(self, draft: Draft, carrier: ObjectSpec) -> ObjectSpec | None:
        spec, form = self._spec(draft), carrier.form
        slack = max(0.0, form.room * carrier.scale - draft.radius) * .8
        turn, away = self.rng.uniform(0, 2 * np.pi), slack * np.sqrt(self.rng.random())
        place = np.array(carrier.rest) + (away * np.cos(turn), away * np.sin(turn),
                                          form.top * carrier.scale)
        if not self.fits(spec.outline, place):
            return None
        return replace(spec, rest=tuple(map(float, place)), support=draft.support,
                       relation=form.carries)
