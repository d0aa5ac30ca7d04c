# SPDX-License-Identifier: Apache-2.0
"""The stage of training after objects and answers: questions about time.

Only the language model learns. What it is to compare, places and looks at several moments, the
object tokens of the two stages before hold already, so that they are made once; a step needs no
vision then, and nothing that is seen can be forgotten. Many questions of a step are those of before,
about pictures and clips of that time, or they were forgotten.
"""

from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor

from pixelrefer_model.pixelrefer.batch import moved
from training.refer.questions import Asker
from training.refer.recipe import HEADS, LANGUAGE
from training.refer.texts import Questioner, sequences
from training.refer.trainer import Trainer
from training.tenses.pictures import Picture, PicturePool
from training.tenses.prompts import asked_of
from training.tenses.recipe import TenseRecipe
from training.tenses.records import LongRecord
from training.tenses.step import LongPool, TenseMaker, TenseStep


class TenseTrainer(Trainer):
    """A Trainer that asks about time, of object tokens that are made already."""

    recipe: TenseRecipe

    @property
    def late(self) -> bool:
        """Whether it can read by now."""
        return self.progress >= self.recipe.late

    def _maker(self) -> TenseMaker:
        return TenseMaker(self.recipe, self.model.config, self.tokenizer, self.contract)

    def train_step(self, pool: LongPool, pictures: PicturePool) -> dict[str, Tensor]:
        """One update on what is made of the pools now; returns the losses."""
        began = self.clock()
        return self.learn(self.maker.make(pool, pictures, self.step, self.together.rank, self.late),
                          began)

    def learn(self, step: TenseStep, began: float | None = None) -> dict[str, Tensor]:
        """One update; returns the losses. began: when its making did, by the clock."""
        began = self.clock() if began is None else began
        step = step.to(self.model.device)
        answers, differences, matches = self.answer_loss(step.tokens, step.asked)
        self.spoken += 1
        self._learn(answers + self.recipe.heads_later * (differences + matches),
                    (HEADS, LANGUAGE), began)
        self.regions += len(step.tokens) * self.together.count
        return {'answers': answers.detach(), 'difference': differences.detach(),
                'match': matches.detach()}

    @torch.no_grad()
    def measure_pictures(self, pictures: Sequence[Picture]) -> dict[str, float]:
        """Shares of whole answers that are right about pictures and clips of the stages before,
        teacher-forced, by kind."""
        right: dict[str, list[bool]] = {}
        rng = Random(5)
        self._measure_answers([one.scene for one in pictures],
                              torch.cat([one.tokens for one in pictures]).to(self.model.device),
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
                    tokens, (batch,) = moved((record.tokens, sequences(
                        [one], self.model.config.mask_num, self.tokenizer, buckets=1)),
                        self.model.device)
                    scores = self.answer_scores(self.states(tokens, batch)[0], batch)
                    right.setdefault(query.kind + ('' if history else ' alone'), []).append(
                        bool((scores.argmax(1) == batch.truth).all()))
        return {name: sum(values) / len(values) for name, values in sorted(right.items())}
