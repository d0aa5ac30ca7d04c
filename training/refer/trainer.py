# SPDX-License-Identifier: Apache-2.0
"""Two-stage training: objects first (auxiliary heads), then questions and answers (all weights).

The order is the paper's: object perception, then instructions. Progress is measured in seconds of
training, so that a run fits the time it is given; every draw depends on the seed and the step.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import EncodePolicy, PixelReferLite, SeededPermutation, collate
from training.optimizer import Optimizer
from training.refer.heads import UNKNOWN, Heads, Labels, labels
from training.refer.pool import Pool
from training.refer.questions import Asker
from training.refer.records import Record
from training.refer.scenes import Scene, make_scene
from training.refer.texts import Questioner, Sequences, sequences
from training.together import Together
from training.world import Contract


#: Groups of parameters that learn by themselves, and how their names begin.
HEADS, VISION, LANGUAGE = 'heads', 'vision', 'language'
PARTS = {VISION: ('model.vision_encoder', 'model.region_encoder'),
         LANGUAGE: ('model.layers', 'model.embed', 'model.norm')}
#: What the names of matrices between hidden layers contain.
HIDDEN = ('.self_attn.', '.mlp.', '.feat_linear.', '.fusion_attention')


@dataclass(frozen=True)
class Recipe:
    """How it is trained. minutes: of training in all; vision: share of the first stage. singles,
    clips: records of a step and process; objects: at most, of a single frame and of a clip.
    pairs: questions about two objects per frame; asked: per object of a frame and of a window.
    first: what learns in the first stage. steps: where not 0, it is over after so many, however
    long they take."""

    minutes: float = 100.0
    vision: float = 0.38
    first: tuple[str, ...] = (HEADS, VISION)
    seed: int = 0
    rate: float = 2e-3
    last_rate: float = 0.02
    warm_up: int = 80
    decay: float = 0.03
    clip: float = 1.0
    singles: int = 4
    clips: int = 2
    objects: tuple[int, int] = (5, 3)
    pairs: int = 10
    asked: tuple[int, int] = (3, 3)
    heads_later: float = 1.0
    steps: int = 0


@dataclass(frozen=True)
class Encoded:
    """A step's scenes through the encoder: object tokens [R, K, D], losses and predictions of the
    heads, and what they should have been."""

    tokens: Tensor
    losses: dict[str, Tensor]
    said: dict[str, Tensor]
    wanted: Labels


class Trainer:
    """Model, heads, optimiser and the clock of a run: the wall's, or `time.process_time`, which
    other work on the machine does not use up."""

    def __init__(self, model: PixelReferLite, tokenizer: Tokenizer, recipe: Recipe,
                 contract: Contract, together: Together = Together(), *,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.model, self.tokenizer, self.recipe = model, tokenizer, recipe
        self.contract = contract
        self.heads = Heads(model.config)
        self.policy = EncodePolicy.robot()
        self.together, self.clock = together, clock
        rng = Random(recipe.seed)
        self.questioner = Questioner(rng, Asker(rng, contract, 'train'))
        self.optimizer = Optimizer(
            [*model.named_parameters(), *self.heads.named_parameters()], recipe.rate, recipe.decay,
            hidden=lambda name: any(word in name for word in HIDDEN),
            part=lambda name: next((p for p, begin in PARTS.items() if name.startswith(begin)),
                                   HEADS))
        self.step, self.seconds, self.spoken = 0, 0.0, 0
        self.regions = 0
        self._since: float | None = None

    @property
    def progress(self) -> float:
        """0 at the start, 1 when the time, or the steps, are used up."""
        if self.recipe.steps:
            return self.step / self.recipe.steps
        return self.seconds / (self.recipe.minutes * 60)

    @property
    def speaking(self) -> bool:
        """Whether the second stage has begun."""
        return self.progress >= self.recipe.vision

    def scenes(self, records: list[Record], rng: np.random.Generator | None) -> list[Scene]:
        """Records as scenes, augmented if there is an `rng`."""
        most = self.recipe.objects
        made = [make_scene(record, self.model.config, self.policy, self.contract,
                           most=most[len(record.views) > 1], rng=rng) for record in records]
        return [scene for scene in made if scene is not None]

    def encode(self, scenes: list[Scene], seed: int | None) -> Encoded:
        """Object tokens and what the heads say; random first centroids with a `seed`."""
        kmeans = self.policy.kmeans if seed is None else SeededPermutation(seed)
        batch = collate([scene.inputs for scene in scenes], kmeans)
        features = self.model.features(batch)
        encoder = self.model.model.region_encoder
        cells = encoder.select(features, batch)
        counts = np.diff(batch.bounds).tolist()
        tokens = encoder(features, batch).tokens
        wanted = labels(scenes)
        losses, said = self.heads.losses(tokens, cells, counts, features[batch.global_.rows],
                                         wanted)
        return Encoded(tokens, losses, said, wanted)

    def answer_loss(self, tokens: Tensor, batches: list[Sequences]
                    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean cross-entropy over all answer tokens, and the mean losses of the compared places and
        of the probed words."""
        total, differences, matches, count = 0.0, 0.0, 0.0, 0
        for batch in batches:
            hidden, before = self.states(tokens, batch)
            scores, truth = self.answer_scores(hidden, batch)
            total = total + F.cross_entropy(scores, truth, reduction='sum')
            count += len(truth)
            ends = hidden[torch.arange(len(hidden)), batch.ends]
            differences = differences + self.heads.difference_loss(ends, batch.differences)
            rows, places, numbers = batch.probes.T
            matches = matches + self.heads.match_loss(before[rows, places], numbers)
        return total / count, differences / len(batches), matches / len(batches)

    def states(self, tokens: Tensor, batch: Sequences) -> tuple[Tensor, Tensor]:
        """The language model's states [B, N, D] over prompts and answers: of its last layer, and of
        the one before, which is the last that a later place can still read."""
        embeds = self.model.embed(batch.ids, tokens.flatten(0, 1)[batch.rows])
        made = self.model.model(inputs_embeds=embeds, use_cache=False, output_hidden_states=True)
        return made.last_hidden_state, made.hidden_states[-2]

    def answer_scores(self, hidden: Tensor, batch: Sequences) -> tuple[Tensor, Tensor]:
        """Scores [T, V] and truth [T] at every place where an answer token is due."""
        due = batch.targets >= 0
        return self.model.logits(hidden[due]), batch.targets[due]

    def train_step(self, pool: Pool) -> dict[str, float]:
        """One update; returns the losses."""
        began, recipe, rank = self.clock(), self.recipe, self.together.rank
        rng = np.random.default_rng((recipe.seed, self.step, 13, rank))
        scenes = self.scenes(pool.draw(self.step, recipe.singles, recipe.clips, rank), rng)
        encoded = self.encode(scenes, self.step)
        loss = sum(encoded.losses.values())
        shown = {name: float(value.detach()) for name, value in encoded.losses.items()}
        parts = recipe.first
        if self.speaking:
            self.questioner.rng.seed(f'{recipe.seed} {self.step} {rank}')
            answers, differences, matches = self.answer_loss(encoded.tokens, self._asked(scenes))
            shown |= {'answers': float(answers.detach()),
                      'difference': float(differences.detach()),
                      'match': float(matches.detach())}
            loss = answers + differences + matches + recipe.heads_later * loss
            self.spoken += 1
            parts = (HEADS, VISION, LANGUAGE)
        self._learn(loss, parts, began)
        self.regions += len(encoded.tokens) * self.together.count
        return shown

    def _learn(self, loss: Tensor, parts: tuple[str, ...], began: float) -> None:
        """One step of these parts of the model and the heads, and of the clock."""
        self._set_rates()
        loss.backward()
        learning = self.optimizer.parameters(*parts)
        for parameter in set(self.optimizer.parameters()) - set(learning):
            parameter.grad = None  # or it would be stepped, by each process on its own
        # A machine that slept or was stopped must not use up the time.
        since, self._since = self._since or began, self.clock()
        self.seconds += self.together.average(learning, min(self._since - since, 10.0))
        torch.nn.utils.clip_grad_norm_(learning, self.recipe.clip)
        self.optimizer.step()
        self.step += 1

    def _asked(self, scenes: list[Scene]) -> list[Sequences]:
        asked, offset = [], 0
        for scene in scenes:
            asked += self.questioner.about(
                scene, offset, singles=self.recipe.asked[0], pairs=self.recipe.pairs,
                windows=self.recipe.asked[1])
            offset += len(scene.regions)
        return sequences(asked, self.model.config.mask_num, self.tokenizer)

    def _set_rates(self) -> None:
        recipe = self.recipe
        own = max(0.0, (self.progress - recipe.vision) / (1 - recipe.vision))
        for group in self.optimizer.param_groups:
            late = group['part'] not in recipe.first
            part, steps = (own, self.spoken) if late else (self.progress, self.step)
            falling = 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))
            group['lr'] = recipe.rate * min(1.0, (steps + 1) / recipe.warm_up) * (
                recipe.last_rate + (1 - recipe.last_rate) * falling)

    @torch.no_grad()
    def measure(self, scenes: list[Scene], size: int = 6) -> dict[str, float]:
        """Shares of right predictions on held-out scenes: the heads', and, in the second stage,
        of whole answers (`answer:KIND`), teacher-forced."""
        right: dict[str, list[bool]] = {}
        questions = Random(5)
        questioner = Questioner(questions, Asker(questions, self.contract, 'all'))
        for at in range(0, len(scenes), size):
            some = scenes[at:at + size]
            encoded = self.encode(some, None)
            truth = {**encoded.wanted.words,
                     'motion': torch.tensor([m for _, m in encoded.wanted.clips])}
            for name, said in encoded.said.items():
                known = truth[name] != UNKNOWN
                right.setdefault(name, []).extend((said == truth[name])[known].tolist())
            if self.speaking:
                self._measure_answers(some, encoded.tokens, questioner, right)
        return {name: sum(values) / len(values) for name, values in right.items()}

    def _measure_answers(self, scenes: list[Scene], tokens: Tensor, questioner: Questioner,
                         right: dict[str, list[bool]]) -> None:
        asked, offset = [], 0
        for scene in scenes:
            asked += questioner.about(scene, offset, singles=4, pairs=5, windows=2)
            offset += len(scene.regions)
        asked.sort(key=lambda one: one.item.kind)
        for kind in dict.fromkeys(one.item.kind for one in asked):
            some = [one for one in asked if one.item.kind == kind]
            batch, = sequences(some, self.model.config.mask_num, self.tokenizer, buckets=1)
            scores, truth = self.answer_scores(self.states(tokens, batch)[0], batch)
            wrong = torch.zeros(len(some), dtype=torch.bool)
            sequence = (batch.targets >= 0).nonzero()[:, 0]
            wrong.index_put_((sequence,), scores.argmax(1) != truth, accumulate=True)
            right.setdefault(f'answer:{kind}', []).extend((~wrong).tolist())

    def state(self) -> dict:
        """Everything that a later process needs to go on; plain values and tensors."""
        return {'model': self.model.state_dict(), 'heads': self.heads.state_dict(),
                'optimizer': self.optimizer.state_dict(), 'step': self.step,
                'seconds': self.seconds, 'spoken': self.spoken, 'regions': self.regions,
                'balance': self.questioner.asker.balance.state()}

    def load_state(self, state: dict) -> None:
        """Go on where `state` was taken."""
        self.model.load_state_dict(state['model'])
        self.heads.load_state_dict(state['heads'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.step, self.seconds = state['step'], state['seconds']
        self.spoken, self.regions = state['spoken'], state['regions']
        self.questioner.asker.balance.load_state(state['balance'])
