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

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import PixelReferLite, RegionBatch
from pixelrefer_model.pixelrefer.batch import moved
from training.optimizer import Optimizer
from training.refer.heads import UNKNOWN, Heads, Labels
from training.refer.pool import Pool
from training.refer.questions import Asker
from training.refer.recipe import HEADS, PARTS, Recipe, progress_of
from training.refer.scenes import Scene
from training.refer.step import Step, StepMaker
from training.refer.texts import Questioner, Sequences, sequences
from training.together import Together
from training.world import Contract

#: What the names of matrices between hidden layers contain.
HIDDEN = ('.self_attn.', '.mlp.', '.feat_linear.', '.fusion_attention')


@dataclass(frozen=True)
class Encoded:
    """A step's scenes through the encoder: object tokens [R, K, D], losses and predictions of the
    heads."""

    tokens: Tensor
    losses: dict[str, Tensor]
    said: dict[str, Tensor]


class Trainer:
    """Model, heads, optimiser and the clock of a run: the wall's, or `time.process_time`, which
    other work on the machine does not use up. It learns on the device that the model is on."""

    def __init__(self, model: PixelReferLite, tokenizer: Tokenizer, recipe: Recipe,
                 contract: Contract, together: Together = Together(), *,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.model, self.tokenizer, self.recipe = model, tokenizer, recipe
        self.contract = contract
        self.heads = Heads(model.config).to(model.device)
        self.together, self.clock = together, clock
        self.maker = self._maker()
        self.optimizer = Optimizer(
            [*model.named_parameters(), *self.heads.named_parameters()], recipe.rate, recipe.decay,
            hidden=lambda name: any(word in name for word in HIDDEN),
            part=lambda name: next((p for p, begin in PARTS.items() if name.startswith(begin)),
                                   HEADS))
        for parameter in set(self.optimizer.parameters()) - set(
                self.optimizer.parameters(*recipe.first, *recipe.second)):
            parameter.requires_grad_(False)
        self.step, self.seconds, self.spoken = 0, 0.0, 0
        self.regions = 0
        self._since: float | None = None

    @property
    def progress(self) -> float:
        """0 at the start, 1 when the time, or the steps, are used up."""
        return progress_of(self.recipe, {'step': self.step, 'seconds': self.seconds})

    @property
    def speaking(self) -> bool:
        """Whether the second stage has begun."""
        return self.progress >= self.recipe.vision

    def _maker(self) -> StepMaker:
        return StepMaker(self.recipe, self.model.config, self.tokenizer, self.contract)

    def encode(self, batch: RegionBatch, wanted: Labels) -> Encoded:
        """Object tokens and what the heads say."""
        features = self.model.features(batch)
        encoder = self.model.model.region_encoder
        tokens = encoder(features, batch).tokens
        losses, said = self.heads.losses(tokens, encoder.select(features, batch),
                                         features[batch.global_.rows], wanted)
        return Encoded(tokens, losses, said)

    def answer_loss(self, tokens: Tensor, batches: list[Sequences]
                    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean cross-entropy over all answer tokens, and the mean losses of the compared places and
        of the probed words."""
        total, ends, probed = 0.0, [], []
        for batch in batches:
            hidden, before = self.states(tokens, batch)
            total = total + F.cross_entropy(self.answer_scores(hidden, batch), batch.truth,
                                            reduction='sum')
            ends.append(hidden.flatten(0, 1)[batch.compared])
            probed.append(before.flatten(0, 1)[batch.probes])
        return (total / sum(len(batch.truth) for batch in batches),
                self.heads.difference_loss(torch.cat(ends), torch.cat(
                    [batch.differences for batch in batches])),
                self.heads.match_loss(torch.cat(probed), torch.cat(
                    [batch.matches for batch in batches])))

    def states(self, tokens: Tensor, batch: Sequences) -> tuple[Tensor, Tensor]:
        """The language model's states [B, N, D] over prompts and answers: of its last layer, and of
        the one before, which is the last that a later place can still read."""
        # As `embed` does, but for its count of the places, for which a GPU would have to be waited.
        embeds = self.model.model.embed_tokens(batch.ids)
        embeds = embeds.flatten(0, 1).index_copy(
            0, batch.places, tokens.flatten(0, 1)[batch.rows]).view_as(embeds)
        on_gpu = embeds.device.type == 'cuda'
        with torch.autocast('cuda', torch.bfloat16, enabled=on_gpu):
            made = self.model.model(inputs_embeds=embeds, attention_mask={'full_attention': None},
                                    use_cache=False, output_hidden_states=True)
        return made.last_hidden_state.float(), made.hidden_states[-2].float()

    def answer_scores(self, hidden: Tensor, batch: Sequences) -> Tensor:
        """Scores [A, V] at every place where an answer token is due."""
        return self.model.logits(hidden.flatten(0, 1)[batch.due])

    def train_step(self, pool: Pool) -> dict[str, Tensor]:
        """One update on what is made of `pool` now; returns the losses."""
        began = self.clock()
        return self.learn(self.maker.make(pool, self.step, self.together.rank, self.speaking),
                          began)

    def learn(self, step: Step, began: float | None = None) -> dict[str, Tensor]:
        """One update; returns the losses. began: when its making did, by the clock."""
        began = self.clock() if began is None else began
        step = step.to(self.model.device)
        encoded = self.encode(step.batch, step.wanted)
        losses = dict(encoded.losses)
        loss, parts = sum(losses.values()), self.recipe.first
        if step.asked:
            answers, differences, matches = self.answer_loss(encoded.tokens, step.asked)
            losses |= {'answers': answers, 'difference': differences, 'match': matches}
            loss = answers + differences + matches + self.recipe.heads_later * loss
            self.spoken += 1
            parts = self.recipe.second
        self._learn(loss, parts, began)
        self.regions += len(encoded.tokens) * self.together.count
        return {name: value.detach() for name, value in losses.items()}

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
            batch, wanted = moved(self.maker.prepared(some, None), self.model.device)
            encoded = self.encode(batch, wanted)
            truth = {**wanted.words, 'motion': wanted.motions}
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
            batch, = moved(sequences(some, self.model.config.mask_num, self.tokenizer, buckets=1),
                           self.model.device)
            scores = self.answer_scores(self.states(tokens, batch)[0], batch)
            wrong = torch.zeros(len(some), dtype=torch.bool, device=scores.device)
            wrong.index_put_((batch.due // batch.ids.shape[1],), scores.argmax(1) != batch.truth,
                             accumulate=True)
            right.setdefault(f'answer:{kind}', []).extend((~wrong).tolist())

    def state(self) -> dict:
        """Everything that a later process needs to go on; plain values and tensors."""
        return {'model': self.model.state_dict(), 'heads': self.heads.state_dict(),
                'optimizer': self.optimizer.state_dict(), 'step': self.step,
                'seconds': self.seconds, 'spoken': self.spoken, 'regions': self.regions,
                'balance': self.maker.questioner.asker.balance.state()}

    def load_state(self, state: dict) -> None:
        """Go on where `state` was taken."""
        self.model.load_state_dict(state['model'])
        self.heads.load_state_dict(state['heads'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.step, self.seconds = state['step'], state['seconds']
        self.spoken, self.regions = state['spoken'], state['regions']
        self.maker.questioner.asker.balance.load_state(state['balance'])
