# SPDX-License-Identifier: Apache-2.0
"""What a step of the tenses learns from: questions about long scenes, drills, and questions of the
stages before, about pictures and clips. Made on a CPU, in this process or ahead in others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor

from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import PixelReferConfig
from pixelrefer_model.pixelrefer.batch import moved
from training.ahead import WHOLE, Part, Refreshed
from training.refer.facts import with_motion
from training.refer.questions import Asker
from training.refer.scenes import Scene
from training.refer.texts import Asked, Questioner, Sequences, sequences
from training.tenses.drills import LATER, SHARES, draw_drill
from training.tenses.kinds import RECENTLY
from training.tenses.pictures import PicturePool
from training.tenses.prompts import asked_of, postponed
from training.tenses.recipe import TenseRecipe
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


class LongPool:
    """The records of every shard that is there, drawn in a seeded order; of one of several
    processes that read them, those of its `part`."""

    def __init__(self, folder: Path, shards: int, key: str, seed: int, part: Part = WHOLE
                 ) -> None:
        self.records: list[LongRecord] = []
        self.seed, self._key = seed, key
        self._left = [shard_path(folder, n) for n in range(shards)[part.of_several]]
        self.refresh()

    @property
    def ready(self) -> bool:
        """Whether there are any."""
        return bool(self.records)

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


@dataclass(frozen=True)
class TenseStep:
    """Object tokens [R, K, D] and questions about them."""

    tokens: Tensor
    asked: list[Sequences]

    def to(self, device: torch.device) -> 'TenseStep':
        """The same on another device."""
        return moved(self, device)


class TenseMaker:
    """Draws and asks; keeps the answers balanced over all that it made."""

    def __init__(self, recipe: TenseRecipe, config: PixelReferConfig, tokenizer: Tokenizer,
                 contract: Contract) -> None:
        rng = Random(recipe.seed)
        self.recipe, self.config, self.tokenizer = recipe, config, tokenizer
        self.contract = contract
        self.questioner = Questioner(rng, Asker(rng, contract, 'train'))

    def make(self, pool: LongPool, pictures: PicturePool, step: int, rank: int, late: bool
             ) -> TenseStep:
        """Step number `step` of a process. late: whether it can read by now."""
        recipe = self.recipe
        self.questioner.rng.seed(f'{recipe.seed} {step} {rank}')
        long_tokens, asked = self.asked(
            pool.draw(step, recipe.scenes + recipe.others, rank), late)
        tokens, offset = [long_tokens], len(long_tokens)
        for one in pictures.draw(step, recipe.singles, recipe.clips, rank):
            asked += self.questioner.about(one.scene, offset, singles=recipe.asked[0],
                                           pairs=recipe.pairs, windows=recipe.asked[1])
            tokens.append(one.tokens)
            offset += len(one.tokens)
        return TenseStep(torch.cat(tokens), sequences(
            asked, self.config.mask_num, self.tokenizer, buckets=recipe.buckets))

    def asked(self, records: Sequence[LongRecord], late: bool) -> tuple[Tensor, list[Asked]]:
        """Object tokens of some scenes, and the questions of a step about them: of the first
        `scenes` all kinds, of others what is read alone; and drills, on any of the tokens. late:
        whether it can read by now."""
        rng, asked, offset = self.questioner.rng, [], 0
        for number, record in enumerate(records):
            if number < self.recipe.scenes:
                asked += self._seen(record, offset, late)
            else:
                own = [query for query in record.queries if query.kind in READ]
                asked += [self._read(later(query, rng), record, offset)
                          for query in spread(own, self.recipe.read, rng)]
            offset += len(record.regions)
        asked += [draw_drill(rng, lambda: rng.randrange(offset), self.recipe.placed,
                             LATER if late else SHARES)
                  for _ in range(self.recipe.drills[late])]
        return torch.cat([record.tokens for record in records]), asked

    def _seen(self, record: LongRecord, offset: int, late: bool) -> list[Asked]:
        rng, recipe = self.questioner.rng, self.recipe
        asked = []
        own = [query for query in record.queries if query.kind in RECENTLY]
        for query in (*spread(record.queries, recipe.queries[late], rng),
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


class StepsAhead:
    """The steps of a process that learns, as another process makes them. progress: a shared tensor
    of one value, how far that training is, which says what it is asked by now. Each process that
    makes them keeps a balance of answers of its own."""

    def __init__(self, maker: TenseMaker, long: tuple, seen: tuple, progress: Tensor) -> None:
        self.maker, self.progress = maker, progress
        self._where = long, seen
        self._pools: Refreshed | None = None

    def __call__(self, step: int) -> TenseStep:
        if self._pools is None:
            part = Part.own()
            self._pools = Refreshed(LongPool(*self._where[0], part),
                                    PicturePool(*self._where[1], part))
        return self.maker.make(*self._pools.now(), step, 0,
                               float(self.progress) >= self.maker.recipe.late)


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
