# SPDX-License-Identifier: Apache-2.0
"""The stage of training after objects and answers: questions about time.

Only the language model learns. What it is to compare, places and looks at several moments, the
object tokens of the two stages before hold already, so that they are made once; a step needs no
vision then, and nothing that is seen can be forgotten. A share of each step are the questions of
before, about the same scenes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor

from training.refer.facts import with_motion
from training.refer.scenes import Scene
from training.refer.texts import Asked, sequences
from training.refer.trainer import HEADS, LANGUAGE, Recipe, Trainer
from training.tenses.kinds import RECENTLY
from training.tenses.prompts import asked_of, postponed
from training.tenses.records import LongRecord, Query, read_shard
from training.tenses.render import shard_path
from training.tenses.watching import time_of
from training.world import Contract
from training.world.camera import Pose

#: Kinds that may be asked long after an object was first seen, and how many frames that is at most.
POSTPONED, MOST_LATER = (*RECENTLY, 'hidden', 'when_moved', 'last_seen'), 120


@dataclass(frozen=True)
class TenseRecipe(Recipe):
    """How the tenses are trained. scenes: of a step and process; queries, before: questions about
    time of each, and of the stages before; told: share of the first that carry the history; last:
    that rest on the last sight alone, or what that is worth could not be measured."""

    minutes: float = 45.0
    vision: float = 0.0
    first: tuple[str, ...] = (HEADS,)
    rate: float = 1.5e-3
    warm_up: int = 20
    scenes: int = 2
    queries: int = 10
    before: int = 6
    told: float = 0.4
    last: float = 0.1


class LongPool:
    """The records of every shard that is there, drawn in a seeded order."""

    def __init__(self, folder: Path, shards: int, key: str, seed: int) -> None:
        self.records: list[LongRecord] = []
        self.seed, self._key = seed, key
        self._left = [shard_path(folder, n) for n in range(shards)]
        self.refresh()

    def refresh(self) -> None:
        """Read the shards that were finished since."""
        for path in [path for path in self._left if path.exists()]:
            self._left.remove(path)
            self.records += read_shard(path, self._key)

    def draw(self, step: int, count: int, rank: int = 0) -> list[LongRecord]:
        """Records of one step of one process; the same for the same arguments and pool."""
        rng = np.random.default_rng((self.seed, step, 19, rank))
        return [self.records[i] for i in rng.choice(len(self.records),
                                                    min(count, len(self.records)), replace=False)]


class TenseTrainer(Trainer):
    """A Trainer that asks about time, of object tokens that are made already."""

    recipe: TenseRecipe

    def train_step(self, pool: LongPool) -> dict[str, float]:
        """One update; returns the losses."""
        began, recipe = self.clock(), self.recipe
        self.questioner.rng.seed(f'{recipe.seed} {self.step} {self.together.rank}')
        records = pool.draw(self.step, recipe.scenes, self.together.rank)
        tokens, asked = self.asked(records)
        answers, differences, matches = self.answer_loss(
            tokens, sequences(asked, self.model.config.mask_num, self.tokenizer, buckets=6))
        self.spoken += 1
        self._learn(answers + differences + matches, (HEADS, LANGUAGE), began)
        self.regions += len(tokens) * self.together.count
        return {'answers': float(answers.detach()), 'difference': float(differences.detach()),
                'match': float(matches.detach())}

    def asked(self, records: Sequence[LongRecord]) -> tuple[Tensor, list[Asked]]:
        """Object tokens of some scenes, and the questions of a step about them."""
        rng, asked, offset = self.questioner.rng, [], 0
        for record in records:
            queries = spread(record.queries, self.recipe.queries, rng)
            asked += [self._asked_of(later(query, rng), record, offset) for query in queries]
            scene, start = scene_of(record, rng.choice(record.windows), self.contract)
            before = self.questioner.about(scene, 0, singles=2, pairs=6, windows=2)
            asked += [moved_to(one, [offset + row for row in start]) for one in rng.sample(
                before, min(len(before), self.recipe.before))]
            offset += len(record.regions)
        return torch.cat([record.tokens for record in records]), asked

    def _asked_of(self, query: Query, record: LongRecord, offset: int) -> Asked:
        rng, recipe = self.questioner.rng, self.recipe
        last = rng.random() < recipe.last
        return asked_of(query, record, offset, rng, last=last,
                        history=not last and rng.random() < recipe.told)

    @torch.no_grad()
    def measure(self, records: Sequence[LongRecord]) -> dict[str, float]:
        """Shares of whole answers that are right, teacher-forced, by kind: with the history, and
        without (`KIND alone`)."""
        right: dict[str, list[bool]] = {}
        for record in records:
            for history in (True, False):
                rng = Random(record.seed)
                for query in record.queries:
                    one = asked_of(query, record, 0, rng, history=history, part='all')
                    batch, = sequences([one], self.model.config.mask_num, self.tokenizer,
                                       buckets=1)
                    scores, truth = self.answer_scores(self.states(record.tokens, batch)[0], batch)
                    right.setdefault(query.kind + ('' if history else ' alone'), []).append(
                        bool((scores.argmax(1) == truth).all()))
        return {name: sum(values) / len(values) for name, values in sorted(right.items())}


def spread(queries: Sequence[Query], most: int, rng: Random) -> list[Query]:
    """Some of the questions, the kinds in turn, so that common kinds do not crowd out rare ones."""
    by_kind: dict[str, list[Query]] = {}
    for query in rng.sample(queries, len(queries)):
        by_kind.setdefault(query.kind, []).append(query)
    turns = sorted((n, rng.random(), query) for some in by_kind.values()
                   for n, query in enumerate(some))
    return [query for *_, query in turns[:most]]


def later(query: Query, rng: Random) -> Query:
    """The question, half of the times as if asked longer after its objects were first seen."""
    if query.kind not in POSTPONED or rng.random() < 0.5:
        return query
    return postponed(query, rng.randint(1, MOST_LATER))


def scene_of(record: LongRecord, window: Sequence[int], contract: Contract
             ) -> tuple[Scene, list[int]]:
    """A picture or clip of a long scene, as the stages before know it, and the row of each of its
    regions in the record."""
    rows = [n for n, (k, _) in enumerate(record.regions) if k in window]
    frames = sorted({record.regions[n][0] for n in rows})
    regions = [(frames.index(record.regions[n][0]), record.regions[n][1]) for n in rows]
    facts = [record.facts[k] for k in frames]
    poses = [record.poses[k] for k in frames]
    motions = {}
    for i in {i for _, i in regions} if len(frames) > 1 else ():
        views = [v for v, other in regions if other == i]
        if len(views) > 1:
            motions[i] = with_motion(facts[views[-1]][i], facts[views[0]][i],
                                     _level_pose(poses[views[-1]]), contract).motion
    seconds = [time_of(k - frames[0]) for k in frames]
    return Scene(None, regions, facts, poses, seconds, motions), rows


def moved_to(one: Asked, rows: Sequence[int]) -> Asked:
    """A question about a scene's regions as one about these rows."""
    return replace(one, regions=[[rows[n] for n in some] for some in one.regions])


def _level_pose(numbers: np.ndarray) -> Pose:
    """A pose that looks along the table where the camera of these numbers does."""
    sine, cosine = np.sin(numbers[3]), np.cos(numbers[3])
    return Pose(numbers[:3], np.array([[cosine, 0, -sine], [sine, 0, cosine], [0, -1, 0]]))
