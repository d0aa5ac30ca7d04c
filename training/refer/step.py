# SPDX-License-Identifier: Apache-2.0
"""What a training step learns from, made of records on a CPU, here or ahead in other processes."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch

from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import (
    EncodePolicy, PixelReferConfig, RegionBatch, SeededPermutation, collate)
from pixelrefer_model.pixelrefer.batch import moved
from training.ahead import Part, Refreshed
from training.refer.heads import Labels, labels
from training.refer.pool import Pool
from training.refer.questions import Asker
from training.refer.recipe import Recipe
from training.refer.records import Record
from training.refer.scenes import Scene, make_scene
from training.refer.texts import Questioner, Sequences, sequences
from training.world import Contract


@dataclass(frozen=True)
class Step:
    """Regions, what the heads should say of them, and questions about them (none in the first
    stage)."""

    batch: RegionBatch
    wanted: Labels
    asked: list[Sequences]

    def to(self, device: torch.device) -> 'Step':
        """The same on another device."""
        return moved(self, device)


class StepMaker:
    """Draws, prepares and asks; keeps the answers balanced over all that it made."""

    def __init__(self, recipe: Recipe, config: PixelReferConfig, tokenizer: Tokenizer,
                 contract: Contract) -> None:
        rng = Random(recipe.seed)
        self.recipe, self.config, self.tokenizer = recipe, config, tokenizer
        self.contract, self.policy = contract, EncodePolicy.robot()
        self.questioner = Questioner(rng, Asker(rng, contract, 'train'))
        self._shown: deque[list[Scene]] = deque(maxlen=recipe.looks)

    def make(self, pool: Pool, step: int, rank: int, speaking: bool) -> Step:
        """Step number `step` of a process; with questions where the second stage has begun."""
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, step, 13, rank))
        self._shown.append(self.scenes(pool.draw(
            step, recipe.singles // recipe.looks, recipe.clips // recipe.looks, rank), rng))
        scenes = [scene for some in self._shown for scene in some]
        return Step(*self.prepared(scenes, step), self._asked(scenes, step, rank) if speaking
                    else [])

    def scenes(self, records: list[Record], rng: np.random.Generator | None) -> list[Scene]:
        """Records as scenes, augmented if there is an `rng`."""
        most = self.recipe.objects
        made = [make_scene(record, self.config, self.policy, self.contract,
                           most=most[len(record.views) > 1], rng=rng, grey=self.recipe.grey)
                for record in records]
        return [scene for scene in made if scene is not None]

    def prepared(self, scenes: list[Scene], seed: int | None) -> tuple[RegionBatch, Labels]:
        """Scenes as the encoder and the heads take them; random first centroids with a `seed`."""
        kmeans = self.policy.kmeans if seed is None else SeededPermutation(seed)
        return collate([scene.inputs for scene in scenes], kmeans), labels(scenes)

    def _asked(self, scenes: list[Scene], step: int, rank: int) -> list[Sequences]:
        self.questioner.rng.seed(f'{self.recipe.seed} {step} {rank}')
        asked, offset = [], 0
        for scene in scenes:
            asked += self.questioner.about(
                scene, offset, singles=self.recipe.asked[0], pairs=self.recipe.pairs,
                windows=self.recipe.asked[1])
            offset += len(scene.regions)
        return sequences(asked, self.config.mask_num, self.tokenizer,
                         buckets=self.recipe.buckets)


class StepsAhead:
    """The steps of a process that learns, as another process makes them. progress: a shared tensor
    of one value, how far that training is, which says whether it is asked anything yet. Each
    process that makes them keeps a balance of answers of its own."""

    def __init__(self, maker: StepMaker, folder: Path, shards: int, progress: torch.Tensor) -> None:
        self.maker, self.progress = maker, progress
        self._where = folder, shards, maker.recipe.seed
        self._pool: Refreshed | None = None

    def __call__(self, step: int) -> Step:
        if self._pool is None:
            self._pool = Refreshed(Pool(*self._where, Part.own()))
        return self.maker.make(*self._pool.now(), step, 0,
                               float(self.progress) >= self.maker.recipe.vision)
