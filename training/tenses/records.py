# SPDX-License-Identifier: Apache-2.0
"""Long scenes as training and measuring use them: questions, the frames that they rest on, and the
object tokens of these frames.

Only the language model learns the tenses, so that tokens are made once, by the checkpoint that
training begins with, and kept in shards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor

from pixelrefer_model.memory.record import Happening
from pixelrefer_model.pixelrefer import RegionEncoder
from training.refer import answers
from training.refer.augment import vary_colour
from training.refer.facts import Fact, facts_of
from training.refer.questions import Balance
from training.refer.scenes import pose_numbers
from training.refer.spoil import SPOILED, spoil_mask
from training.tenses.kinds import FUTURE, PAST, PRESENT, RECENTLY, Moment, draw
from training.tenses.watching import (
    BUDGET, RECENT, Watched, everything, frames_of, recently, stamp_of, time_of, watch)
from training.world import ScenePlan, World
from training.world.long_scenes import plan_long_scene


@dataclass(frozen=True)
class Moments:
    """At how many moments of a scene is asked. moving: of so many moves, `looks` times while it
    lasts; after: soon after so many; covered: while a board hides so many. tries: how often each
    kind about what goes on and comes next is drawn at one."""

    moving: int = 4
    looks: int = 1
    after: int = 2
    covered: int = 2
    tries: int = 1


#: What is measured, and what is taught: scenes are watched for long and asked about in no time, and
#: what comes next needs comparing most.
MEASURED, TAUGHT = Moments(), Moments(moving=8, looks=2, after=4, tries=3)
#: Objects of a moment that questions about the whole time are about.
GROUP = 3
#: Frames that are encoded at once.
AT_ONCE = 16
#: Of the questions in a shard: counts up whenever they are made otherwise.
FORM = 2
#: First seed of the scenes that are measured; training uses none above.
FIRST_SEED = 6_000_000


@dataclass(frozen=True)
class Query:
    """A question about time. things: its objects. frame: at which it is asked. seen: per object the
    frames that it rests on. firsts: per object the frame from which its seconds count. now: the
    time in the question, if it has one. events: what happened to its objects within its window, by
    index."""

    kind: str
    things: tuple[int, ...]
    frame: int
    seen: tuple[tuple[int, ...], ...]
    firsts: tuple[int, ...]
    answer: str
    difference: tuple[float, float, float] | None
    now: float | None
    events: tuple[Happening, ...]


@dataclass(frozen=True)
class LongRecord:
    """A scene's questions, and of each frame that is needed the facts of every object and the
    numbers of the camera's pose. regions: (frame, object) of each row of tokens [R, K, D]. windows:
    runs of frames, with a region at least, that can be asked about as a picture or as a clip."""

    seed: int
    queries: list[Query]
    regions: list[tuple[int, int]]
    tokens: Tensor
    facts: dict[int, list[Fact]]
    poses: dict[int, np.ndarray]
    windows: list[list[int]]


def queries_of(watched: Watched, balance: Balance, rng: Random, tokens_each: int,
               moments: Moments) -> tuple[list[Query], list[list[int]]]:
    """The questions of a scene, and the windows that its frames make. Each knows the events within
    its window, as the node tells them."""
    made, windows, memory, asked = [], [], watched.memory(), set()
    for frame, kinds, lead in _moments(watched, moments, rng):
        moment = Moment(watched, frame)
        whole = any(kind not in RECENTLY for kind in kinds)
        if whole:
            moment.things = _group(moment, rng, lead)
        for kind in kinds:
            drawn = draw(moment, kind, balance, rng, lead, asked)
            if drawn is None:
                continue
            things, truth = drawn
            asked.add((frame, kind, things))
            most, window = (RECENT, recently(frame)) if kind in RECENTLY else (
                BUDGET.moments(len(things), tokens_each), everything(frame))
            firsts = tuple(watched.first(i) for i in things)
            ids = {str(i) for i in things}
            made.append(Query(
                kind, things, frame, frames_of(memory, things, window, most), firsts, truth.answer,
                truth.difference,
                round(time_of(frame - firsts[0]), 1) if kind == 'hidden' else None,
                tuple(one for one in watched.within(window) if one.object_id in ids)))
        windows.append([frame] if whole else list(range(frame - RECENT + 1, frame + 1)))
    return made, windows


def _moments(watched: Watched, moments: Moments, rng: Random
             ) -> Iterator[tuple[int, tuple[str, ...], int | None]]:
    """Frames to ask at, the kinds to ask there, and the object that is mostly asked about."""
    plan, last, step = watched.plan, len(watched) - 1, time_of(1)
    soon = (*FUTURE, 'moving') * moments.tries
    moves = [m for m in plan.moves if RECENT < m.t1 / step < last - 2 and m.kind in (
        'push', 'roll', 'lift')]
    for move in rng.sample(moves, min(moments.moving, len(moves))) * moments.looks:
        share = rng.uniform(0.5, 0.75) if move.kind == 'lift' else rng.uniform(0.35, 0.65)
        yield round((move.t0 + (move.t1 - move.t0) * share) / step), soon, move.index
    for move in rng.sample(moves, min(moments.after, len(moves))):
        yield int(move.t1 / step) + 2, soon, move.index
    for cover in rng.sample(plan.covers, min(moments.covered, len(plan.covers))):
        frame = round(rng.uniform(cover.t0 + 0.9, cover.t1) / step)
        if RECENT < frame <= last:
            yield frame, ('hidden', 'last_seen', 'moved', 'was_on'), cover.index
    whole = (*PAST, *(kind for kind in PRESENT if kind != 'moving')) * 2
    yield rng.randint(last // 2, last - 1), whole, None
    yield last, whole, None


def _group(moment: Moment, rng: Random, lead: int | None) -> list[int]:
    """Some objects, of which one at least has moved where one did, with the one asked about."""
    moved = [i for i in moment.things if moment.truth('moved', (i,)) is not None
             and moment.truth('moved', (i,)).cell == 'True']
    chosen = [lead] if lead in moment.things else rng.sample(moved, min(len(moved), 2))
    others = [i for i in moment.things if i not in chosen]
    return chosen + rng.sample(others, min(len(others), max(0, GROUP - len(chosen))))


class Scribe:
    """Makes records with one world and one encoder; keeps the answers balanced over all of them.

    vary: colours and masks are varied as in the training of objects, and each scene is seen in a
    mirror too, where left is right. moments: at which they are asked.
    """

    def __init__(self, world: World, encoder: RegionEncoder, *, vary: bool,
                 moments: Moments = MEASURED) -> None:
        self.world, self.encoder, self.vary, self.moments = world, encoder, vary, moments
        self.balance = Balance(slack=2)

    def records(self, seed: int, split: str, seconds: tuple[float, float]) -> list[LongRecord]:
        """The record of a scene, and of it in the mirror; the same for the same arguments and
        records before."""
        plan = plan_long_scene(self.world.contract, seed, split, seconds)
        watched = watch(self.world, plan)
        queries, windows = queries_of(watched, self.balance, Random(f'{split} {seed}'),
                                      self.encoder.config.mask_num, self.moments)
        return self._encoded(plan, watched, queries, windows, seed)

    def _encoded(self, plan: ScenePlan, watched: Watched, queries: list[Query],
                 windows: list[list[int]], seed: int) -> list[LongRecord]:
        wanted = {(k, i) for query in queries
                  for i, frames in zip(query.things, query.seen) for k in frames}
        # Asked about as pictures: all that is in sight; as clips: what is asked about anyway.
        for window in windows:
            known = {i for k, i in wanted if k in window} if len(window) > 1 else range(
                len(plan.objects))
            wanted |= {(k, i) for k in window for i in known if watched.seen(i, k)}
        regions = sorted(wanted)
        windows = [window for window in windows if {k for k, _ in regions} & set(window)]
        views, facts, poses = ([], []), ({}, {}), ({}, {})
        rng = np.random.default_rng((seed, 17))
        for k in sorted({k for k, _ in wanted}):
            image, seg = self.world.render(plan, time_of(k)).rgb, watched.segs[k]
            if self.vary and rng.random() < 0.8:
                image = vary_colour(image, rng)
            masks = [spoil_mask(image, seg, i, rng) if self.vary and rng.random() < SPOILED
                     else seg == i + 1 for frame, i in regions if frame == k]
            own, pose = facts_of(plan, time_of(k), seg), plan.camera_pose(time_of(k))
            for flip in (False, True)[:1 + self.vary]:
                views[flip].append([np.ascontiguousarray(one[:, ::-1]) if flip else one
                                    for one in (image, *masks)])
                facts[flip][k] = [fact.mirrored() for fact in own] if flip else own
                poses[flip][k] = pose_numbers(pose, flip)
        tokens = [self._tokens(some) for some in views]
        return [LongRecord(seed, [mirrored(query) for query in queries] if flip else queries,
                           regions, tokens[flip], facts[flip], poses[flip], windows)
                for flip in (False, True)[:1 + self.vary]]

    def _tokens(self, views: Sequence[Sequence[np.ndarray]]) -> Tensor:
        """Object tokens [R, K, D] of frames, each with its masks behind it, AT_ONCE together."""
        made = []
        for at in range(0, len(views), AT_ONCE):
            some = views[at:at + AT_ONCE]
            made.append(self.encoder.encode_regions(
                [image for image, *_ in some], [m for _, *masks in some for m in masks],
                [n for n, (_, *masks) in enumerate(some) for _ in masks]).tokens)
        return torch.cat(made) if made else torch.zeros(0)


def mirrored(query: Query) -> Query:
    """The same question about the scene in a mirror, where left is right."""
    swapped = {one: other for group in (answers.SIDES, answers.MOTION_ANSWERS)
               for one, other in ((group['left'], group['right']), (group['right'], group['left']))}
    x, y, z = query.difference or (0.0, 0.0, 0.0)
    return replace(query, answer=swapped.get(query.answer, query.answer),
                   difference=None if query.difference is None else (-x, y, z))


def write_shard(path: Path, records: Sequence[LongRecord], key: str) -> None:
    """Write records so that a reader never meets half a file. key: what their tokens are made
    with."""
    part = path.with_suffix('.part')
    torch.save({'key': key, 'form': FORM, 'records': [{
        'seed': one.seed, 'queries': [asdict(query) for query in one.queries],
        'regions': one.regions, 'tokens': one.tokens.to(torch.bfloat16),
        'facts': {k: [asdict(fact) for fact in facts] for k, facts in one.facts.items()},
        'poses': {k: pose.tolist() for k, pose in one.poses.items()},
        'windows': one.windows} for one in records]}, part)
    part.rename(path)


def read_shard(path: Path, key: str) -> list[LongRecord]:
    """The records of a shard. Raises ValueError where its tokens are of another checkpoint, or its
    questions were made otherwise than now."""
    held = torch.load(path, weights_only=True)
    if held.get('form') != FORM:
        raise ValueError(f'{path} holds questions of form {held.get("form")}, not {FORM}; it has '
                         'to be made anew')
    if held['key'] != key:
        raise ValueError(f'{path} was made with {held["key"]}, not with {key}')
    return [LongRecord(
        one['seed'],
        [Query(**{**query, 'events': tuple(Happening(**event) for event in query['events'])})
         for query in one['queries']],
        one['regions'], one['tokens'].float(),
        {k: [Fact(**fact) for fact in facts] for k, facts in one['facts'].items()},
        {k: np.array(pose) for k, pose in one['poses'].items()}, one['windows'])
        for one in held['records']]


def seconds_of(query: Query) -> list[list[float]]:
    """Per object of a question the times of what it rests on, since its first sighting."""
    return [[round(time_of(k - first), 1) for k in frames]
            for frames, first in zip(query.seen, query.firsts)]


def origins_of(query: Query) -> dict[str, int]:
    """The stamps from which the times of a question's objects count."""
    return {str(i): stamp_of(first) for i, first in zip(query.things, query.firsts)}
