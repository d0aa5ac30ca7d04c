# SPDX-License-Identifier: Apache-2.0
"""A training record made ready for one step: augmented, with regions chosen and prepared."""

from dataclasses import dataclass

import numpy as np

from pixelrefer_model.pixelrefer import (
    EncodePolicy, PixelReferConfig, RegionInputs, prepare_regions)
from training.refer.augment import vary_colour, without_colour
from training.refer.facts import Fact, visible, with_motion
from training.refer.records import Record
from training.refer.spoil import SPOILED, spoil_mask
from training.world import Contract
from training.world.camera import Pose


@dataclass(frozen=True)
class Scene:
    """Regions of one record.

    inputs: all regions, view after view. regions: per region (view, object). facts: per view, of
    every object. poses: per view (world position, yaw off the table's axis, pitch, roll), float
    [6], mirrored with the image. seconds: per view. motions: per object its motion from the first
    to the last view where it can be seen. grey: whether the images show no colours.
    """

    inputs: RegionInputs
    regions: list[tuple[int, int]]
    facts: list[list[Fact]]
    poses: list[np.ndarray]
    seconds: list[float]
    motions: dict[int, str | None]
    grey: bool = False

    def region(self, view: int, thing: int) -> int | None:
        """Place of an object of a view among the regions, or None."""
        wanted = (view, thing)
        return self.regions.index(wanted) if wanted in self.regions else None

    def views_of(self, thing: int) -> list[int]:
        """The views that an object is a region in."""
        return [view for view, other in self.regions if other == thing]


def make_scene(record: Record, config: PixelReferConfig, policy: EncodePolicy,
               contract: Contract, *, most: int, rng: np.random.Generator | None,
               grey: float = 0.0) -> Scene | None:
    """Choose at most `most` objects of a record and prepare them; None when none can be seen.

    With `rng` the choice is random and the images and masks are augmented, this share of them into
    shades of `grey`; without, the first objects and the images as they are.
    """
    flip = rng is not None and rng.random() < 0.5
    greyed = rng is not None and rng.random() < grey
    seen = sorted({i for view in record.views for i in visible(view.facts)})
    if len(record.views) > 1:
        # A window needs the object at two moments.
        seen = [i for i in seen if sum(v.facts[i].visible for v in record.views) > 1]
    chosen = seen[:most] if rng is None else \
        sorted(rng.permutation(seen)[:most].astype(int).tolist())
    if rng is not None and len(record.views) == 1:
        chosen += [i for i, fact in enumerate(record.views[0].facts) if fact.faint][:1]
    images, masks, image_of, regions = [], [], [], []
    for number, view in enumerate(record.views):
        image, seg = np.ascontiguousarray(view.image()), view.seg()
        if rng is not None and rng.random() < 0.8:
            image = vary_colour(image, rng)
        if greyed:
            image = without_colour(image)
        for i in chosen:
            fact = view.facts[i]
            if not fact.visible and not (fact.faint and len(record.views) == 1):
                continue
            spoiled = rng is not None and rng.random() < SPOILED
            mask = spoil_mask(image, seg, i, rng) if spoiled else seg == i + 1
            masks.append(mask[:, ::-1] if flip else mask)
            image_of.append(number)
            regions.append((number, i))
        images.append(np.ascontiguousarray(image[:, ::-1]) if flip else image)
    if not regions:
        return None
    used = sorted(set(image_of))
    inputs = prepare_regions([images[v] for v in used], masks, [used.index(v) for v in image_of],
                             config, policy)
    motions = _motions(record, chosen, contract)
    facts = [view.facts for view in record.views]
    if flip:
        mirrored = {'left': 'right', 'right': 'left'}
        facts = [[fact.mirrored() for fact in view] for view in facts]
        motions = {i: mirrored.get(m, m) for i, m in motions.items()}
    poses = [pose_numbers(view.pose, flip) for view in record.views]
    return Scene(inputs, regions, facts, poses, record.seconds, motions, greyed)


def _motions(record: Record, chosen: list[int], contract: Contract) -> dict[int, str | None]:
    motions = {}
    for i in chosen:
        views = [v for v in record.views if v.facts[i].visible]
        if len(views) > 1:
            motions[i] = with_motion(views[-1].facts[i], views[0].facts[i], views[-1].pose,
                                     contract).motion
    return motions


def shift(scene: Scene, thing: int) -> tuple[float, float, float]:
    """How far an object of a clip moved from its first view to its last: right and forward of the
    last camera, and up, in metres."""
    views = scene.views_of(thing)
    x, y, z = np.subtract(scene.facts[views[-1]][thing].world, scene.facts[views[0]][thing].world)
    yaw = scene.poses[views[-1]][3]
    return x * np.cos(yaw) + y * np.sin(yaw), y * np.cos(yaw) - x * np.sin(yaw), z


def pose_numbers(pose: Pose, flip: bool) -> np.ndarray:
    """World position, yaw from the y axis, pitch and roll: [6]. x, yaw and roll mirror."""
    forward, across = pose.rotation[:, 2], pose.rotation[:, 0]
    level, _ = pose.horizontal()
    numbers = np.array([
        *pose.position, np.arctan2(-forward[0], forward[1]), np.arcsin(-forward[2]),
        np.arctan2(across[2], across @ level)])
    return numbers * (-1, 1, 1, -1, 1, -1) if flip else numbers
