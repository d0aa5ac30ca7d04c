# SPDX-License-Identifier: Apache-2.0
"""Records: the same for the same seed, test seeds apart, and in the mirror left is right."""

from random import Random

import numpy as np
import pytest
import torch
from tenses_support import CONTRACT, K, Counting, Outlines

from pixelrefer_model.language import compose
from pixelrefer_model.language.chat import SPECIAL_TOKENS
from training.refer.paraphrases import plainly
from training.refer.pool import CURVE_SEED
from training.refer.questions import Asker
from training.tenses.kinds import KINDS
from training.tenses.measure import MAJORITY, Tally, usual
from training.tenses.measure import measured_scenes
from training.tenses.prompts import evidence_of, facts_of_query, postponed
from training.tenses.records import (
    FIRST_SEED, Scribe, mirrored, read_shard, seconds_of, write_shard)
from training.tenses.wording import WORDINGS, text_of, wordings


def test_a_scene_and_it_in_the_mirror_are_the_same_for_the_same_seed(records):
    again = Scribe(Outlines(), Counting(), vary=True).records(1, 'train', (30.0, 36.0))
    for one, other in zip(again, records):
        assert one.queries == other.queries and one.regions == other.regions
        assert one.facts == other.facts and torch.equal(one.tokens, other.tokens)
    plain, mirror = again
    assert mirror.regions == plain.regions and not torch.equal(mirror.tokens, plain.tokens)
    assert [mirrored(query) for query in mirror.queries] == plain.queries
    turned = [(a, b) for a, b in zip(plain.queries, mirror.queries) if a.answer != b.answer]
    assert turned and all({'left', 'right'} & set(
        a.answer.lower().replace('.', ' ').replace(',', ' ').split()) for a, _ in turned)
    for query, other in zip(plain.queries, mirror.queries):
        if query.kind == 'now_side':
            i, j = query.things
            assert (mirror.facts[query.frame][i].x < mirror.facts[query.frame][j].x) == (
                'left' in other.answer)
            apart = np.subtract(mirror.facts[query.frame][i].camera,
                                mirror.facts[query.frame][j].camera)
            assert other.difference == pytest.approx(apart)


def test_every_question_has_tokens_of_all_that_it_rests_on(records):
    for record in records:
        assert record.tokens.shape[:2] == (len(record.regions), K)
        for query in record.queries:
            evidence = evidence_of(query, record)
            for one, frames, seconds in zip(evidence, query.seen, seconds_of(query)):
                assert len(one.tokens) == len(frames) and list(one.seconds) == seconds
            last = evidence_of(query, record, last=True)
            assert all(len(one.tokens) == 1 and one.seconds is None for one in last)
            assert all(torch.equal(a.tokens[-1:], b.tokens) for a, b in zip(evidence, last))
            compose(text_of(query.kind, query.now, Random(0)), evidence,
                    facts=facts_of_query(query))
        rows = {frame for frame, _ in record.regions}
        assert all(rows & set(window) for window in record.windows)


def test_test_seeds_are_never_trained_on():
    seen = []

    class Noting(Outlines):
        def segment(self, plan, t):
            seen.append((plan.seed, plan.split))
            return super().segment(plan, t)

    next(measured_scenes(Noting(), Counting(), 1, 1))
    assert set(seen) == {(FIRST_SEED + 10_000, 'test')}
    assert CONTRACT.train_seeds <= CURVE_SEED < FIRST_SEED
    with pytest.raises(ValueError, match='train seeds are below'):
        Scribe(Outlines(), Counting(), vary=True).records(FIRST_SEED, 'train', (30.0, 31.0))


def test_a_shard_gives_back_what_was_written_and_refuses_tokens_of_another_checkpoint(
        records, tmp_path):
    write_shard(tmp_path / 'shard.pt', records, 'one')
    for one, other in zip(read_shard(tmp_path / 'shard.pt', 'one'), records, strict=True):
        assert one.queries == other.queries and one.facts == other.facts
        assert one.windows == other.windows and torch.equal(one.tokens, other.tokens)
    with pytest.raises(ValueError, match='not with other'):
        read_shard(tmp_path / 'shard.pt', 'other')


def test_a_postponed_question_has_later_times_and_no_beginning(records):
    for query in records[0].queries:
        late = postponed(query, 10)
        for before, after in zip(seconds_of(query), seconds_of(late)):
            assert after == [round(second + 5.0, 1) for second in before]
        assert not any('first seen' in fact for fact in facts_of_query(late))
        if query.answer.startswith('At '):
            assert float(late.answer[3:-1]) == float(query.answer[3:-1]) + 5.0
        assert (late.now is None) == (query.now is None)


def test_wordings_name_each_object_once_and_the_measured_ones_are_never_trained_on():
    assert set(WORDINGS) == set(KINDS)
    for kind, count in KINDS.items():
        held_out = {plainly(Asker.named(w)) for w in wordings(kind, 'test')}
        drawn = {plainly(text_of(kind, 7.5, Random(n))) for n in range(200)}
        assert len(held_out) == 2 and not any(
            text.endswith(kept.replace('{now}', '7.5')) for text in drawn for kept in held_out)
        for wording in WORDINGS[kind]:
            names = [wording.count(name) for name in ('{a}', '{b}', '{c}')]
            assert names in ([1] * count + [0] * (3 - count), [0] * 3) and (
                ('{now}' in wording) == (kind == 'hidden')), wording
            assert not any(token in wording for token in SPECIAL_TOKENS)


def test_the_usual_answer_is_the_one_that_is_right_most_often(records):
    most = usual(records[0].queries)
    for kind, answer in most.items():
        own = [query.answer for query in records[0].queries if query.kind == kind]
        if not answer.startswith('At '):
            assert own.count(answer) == max(map(own.count, own))


def test_figures_of_a_tense_are_those_of_all_its_kinds():
    tally = Tally()
    for scene in range(4):
        tally.count('moved', MAJORITY, scene, scene > 0)
        tally.count('order', MAJORITY, scene, False)
    table = tally.table()
    assert table['past'][MAJORITY].value == 3 / 8 and table['past'][MAJORITY].n == 8
    assert table['moved'][MAJORITY].value == 3 / 4 and table['future'][MAJORITY] is None
