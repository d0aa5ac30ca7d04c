# SPDX-License-Identifier: Apache-2.0
"""The stage of training after objects and answers: questions about time.

Only the language model learns. What it is to compare, places and looks at several moments, the
object tokens of the two stages before hold already, so that they are made once; a step needs no
vision then, and nothing that is seen can be forgotten. Many questions of a step are those of before,
about pictures and clips of that time, or they were forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor

from training.refer.facts import with_motion
from training.refer.questions import Asker
from training.refer.scenes import Scene
from training.refer.texts import Asked, Questioner, sequences
from training.refer.trainer import HEADS, LANGUAGE, Recipe, Trainer
from training.tenses.drills import LATER, SHARES, draw_drill
from training.tenses.kinds import RECENTLY
from training.tenses.pictures import Picture, PicturePool
from training.tenses.prompts import asked_of, postponed
from training.tenses.records import LongRecord, Query, read_shard
from training.tenses.render import shard_path
from training.tenses.watching import time_of
from training.world import Contract
from training.world.camera import Pose

#: Kinds that may be asked long after an object was first seen, and how many frames that is at most.
POSTPONED, MOST_LATER = (*RECENTLY, 'hidden', 'when_moved', 'last_seen'), 120
#: Kinds that the history, or the times, answer alone.
READ = ('moved', 'which_moved', 'order', 'how_many_moved', 'when_moved', 'hidden', 'moving',
        'last_seen')


@dataclass(frozen=True)
class TenseRecipe(Recipe):
    """How the tenses are trained. layers: of the language model, new ones are added. scenes: of a
    step and process; queries: questions about time of each, and ahead: more about what is going on
    and comes next, which need comparing most; before: about one of its moments as a picture or a
    clip. read: questions of READ about another scene, with the history and a moment or
    two; drills: about made-up histories. late: share of the time after which it can read, and the
    second numbers of queries and drills count, for what has to be seen. told: share of the queries
    that carry the history; last: that rest on the last sight alone, or what that is worth could not
    be measured; unplaced: that tell nothing that is known of places, and say so. placed: share of
    all histories that tell places.
    """

    minutes: float = 130.0
    vision: float = 0.0
    first: tuple[str, ...] = (HEADS,)
    rate: float = 2e-3
    warm_up: int = 40
    singles: int = 2
    clips: int = 1
    pairs: int = 20
    asked: tuple[int, int] = (4, 2)
    layers: int = 5
    scenes: int = 2
    queries: tuple[int, int] = (10, 15)
    ahead: int = 4
    before: int = 3
    read: int = 6
    drills: tuple[int, int] = (36, 20)
    late: float = 0.55
    told: float = 0.5
    last: float = 0.1
    placed: float = 0.2
    unplaced: float = 0.15


#: What is different where the checkpoint that it begins with has learned to read already: fewer
#: drills, more of what has to be seen, a lower rate, and no loss of heads, which would begin anew
#: and disturb what is learned.
AGAIN = {'late': 0.0, 'rate': 1e-3, 'warm_up': 20, 'drills': (12, 12), 'ahead': 10, 'read': 4,
         'pairs': 24, 'asked': (6, 2), 'unplaced': 0.25, 'heads_later': 0.0}


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

    @property
    def late(self) -> bool:
        """Whether it can read by now."""
        return self.progress >= self.recipe.late

    def train_step(self, pool: LongPool, pictures: PicturePool) -> dict[str, float]:
        """One update; returns the losses."""
        began, recipe, rank = self.clock(), self.recipe, self.together.rank
        self.questioner.rng.seed(f'{recipe.seed} {self.step} {rank}')
        long_tokens, asked = self.asked(pool.draw(self.step, recipe.scenes + 1, rank))
        tokens, offset = [long_tokens], len(long_tokens)
        for one in pictures.draw(self.step, recipe.singles, recipe.clips, rank):
            asked += self.questioner.about(one.scene, offset, singles=recipe.asked[0],
                                           pairs=recipe.pairs, windows=recipe.asked[1])
            tokens.append(one.tokens)
            offset += len(one.tokens)
        answers, differences, matches = self.answer_loss(
            torch.cat(tokens), sequences(asked, self.model.config.mask_num, self.tokenizer,
                                         buckets=8))
        self.spoken += 1
        loss = answers + recipe.heads_later * (differences + matches)
        self._learn(loss, (HEADS, LANGUAGE), began)
        self.regions += offset * self.together.count
        return {'answers': float(answers.detach()), 'difference': float(differences.detach()),
                'match': float(matches.detach())}

    def asked(self, records: Sequence[LongRecord]) -> tuple[Tensor, list[Asked]]:
        """Object tokens of some scenes, and the questions of a step about them: of the first
        `scenes` all kinds, of others what is read alone; and drills, on any of the tokens."""
        rng, asked, offset = self.questioner.rng, [], 0
        for number, record in enumerate(records):
            if number < self.recipe.scenes:
                asked += self._seen(record, offset)
            else:
                own = [query for query in record.queries if query.kind in READ]
                asked += [self._read(later(query, rng), record, offset)
                          for query in spread(own, self.recipe.read, rng)]
            offset += len(record.regions)
        asked += [draw_drill(rng, lambda: rng.randrange(offset), self.recipe.placed,
                             LATER if self.late else SHARES)
                  for _ in range(self.recipe.drills[self.late])]
        return torch.cat([record.tokens for record in records]), asked

    def _seen(self, record: LongRecord, offset: int) -> list[Asked]:
        rng, recipe = self.questioner.rng, self.recipe
        asked = []
        own = [query for query in record.queries if query.kind in RECENTLY]
        for query in (*spread(record.queries, recipe.queries[self.late], rng),
                      *spread(own, recipe.ahead, rng)):
            last = rng.random() < recipe.last
            asked.append(asked_of(
                later(query, rng), record, offset, rng, last=last,
                history=not last and rng.random() < recipe.told,
                places=rng.random() < recipe.placed, unplaced=rng.random() < recipe.unplaced))
        scene, start = scene_of(record, rng.choice(record.windows), self.contract)
        before = self.questioner.about(scene, 0, singles=2, pairs=6, windows=2)
        return asked + [moved_to(one, [offset + row for row in start]) for one in rng.sample(
            before, min(len(before), recipe.before))]

    def _read(self, query: Query, record: LongRecord, offset: int) -> Asked:
        rng = self.questioner.rng
        return asked_of(query, record, offset, rng, newest=rng.randint(1, 2), history=True,
                        places=rng.random() < self.recipe.placed)

    @torch.no_grad()
    def measure_pictures(self, pictures: Sequence[Picture]) -> dict[str, float]:
        """Shares of whole answers that are right about pictures and clips of the stages before,
        teacher-forced, by kind."""
        right: dict[str, list[bool]] = {}
        rng = Random(5)
        self._measure_answers([one.scene for one in pictures],
                              torch.cat([one.tokens for one in pictures]),
                              Questioner(rng, Asker(rng, self.contract, 'all')), right)
        return {name.removeprefix('answer:'): sum(values) / len(values)
                for name, values in sorted(right.items())}

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
