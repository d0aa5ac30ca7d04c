# SPDX-License-Identifier: Apache-2.0
"""Decoding: events, ends, cancels, batches, characters; all of it greedy and repeatable."""

import collections
import dataclasses
import itertools

import pytest
import torch

from language_support import CHECKPOINT, observed
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language import (
    CudaGraphs, KeepPrefixes, LanguageModel, collect, compose, decoding)
from pixelrefer_model.language.chat import RenderedPrompt
from pixelrefer_model.language.sampling import Greedy, Sampler
from pixelrefer_model.pixelrefer import PixelReferLite


@pytest.fixture(scope='module')
def model():
    return PixelReferLite.from_checkpoint(CHECKPOINT)


@pytest.fixture(scope='module')
def language(model):
    return LanguageModel(model)


@pytest.fixture(scope='module')
def prompts():
    return [
        compose('What is <object1>?', [observed('a', seed=5)]),
        compose('Which is taller?', [observed('a', seed=2), observed('b', seed=3)]),
        compose('What moved?', [observed('a', 3, [0, 0.5, 1], seed=4)])]


@pytest.fixture
def script(monkeypatch):
    """Let the model say given ids: every row the same."""
    def say(ids):
        coming = iter(ids)

        def choose(self, scores):
            return torch.full((len(scores),), next(coming)), torch.full((len(scores),), 0.5)
        monkeypatch.setattr(Sampler, 'choose', choose)
    return say


@pytest.fixture
def calls(monkeypatch):
    """The forward passes, by name."""
    made = []
    for name in ('prefill', 'decode'):
        function = getattr(decoding, name)
        monkeypatch.setattr(
            decoding, name, lambda *a, n=name, f=function: (made.append(n), f(*a))[1])
    return made


def test_a_batch_answers_as_each_prompt_alone(model, prompts):
    for penalty in (1, 1.1):
        language = LanguageModel(model, generation={'repetition_penalty': penalty})
        together = collect(language.generate(prompts, max_new_tokens=24), 3)
        for prompt, answer in zip(prompts, together):
            alone = collect(language.generate([prompt], max_new_tokens=24), 1)[0]
            assert alone.token_ids == answer.token_ids and alone.text == answer.text
            assert alone.confidence == pytest.approx(answer.confidence, abs=1e-4)


def test_rows_that_end_leave_the_batch_and_the_others_go_on(model, prompts):
    whole = collect(LanguageModel(model).generate(prompts, max_new_tokens=12), 3)
    early = whole[1].token_ids[4]
    language = LanguageModel(model, generation={'eos_token_id': [early, 496]})
    for answer, full in zip(collect(language.generate(prompts, max_new_tokens=12), 3), whole):
        cut = full.token_ids.index(early) + 1 if early in full.token_ids else 12
        assert answer.token_ids == full.token_ids[:cut]
        assert answer.reason == ('stop' if early in full.token_ids else 'length')


def test_every_answer_ends_once_with_its_reason(language, prompts):
    events = list(language.generate(prompts, max_new_tokens=5))
    assert sorted(e.index for e in events if e.finished) == [0, 1, 2]
    assert all((e.reason != '') == e.finished for e in events)
    assert [sum(e.index == i for e in events) for i in range(3)] == [5, 5, 5]


def test_the_end_token_is_an_event_without_text(language, prompts, script):
    script([60, language.tokenizer.end_id])
    answer = list(language.generate(prompts[:1]))
    assert [(e.token_id, e.finished, e.reason) for e in answer] == [
        (60, False, ''), (language.tokenizer.end_id, True, 'stop')]
    assert answer[1].text_delta == ''


def test_one_prefill_then_one_decode_per_token(language, prompts, calls):
    list(language.generate(prompts, max_new_tokens=6))
    assert calls == ['prefill'] + ['decode'] * 5


def test_after_a_cancel_no_token_is_computed(language, prompts, calls):
    events = list(language.generate(prompts[:2], max_new_tokens=50,
                                    ended=lambda _: 'cancelled' if len(calls) == 3 else ''))
    assert calls == ['prefill', 'decode', 'decode']
    assert [(e.token_id, e.reason) for e in events[-2:]] == [(None, 'cancelled')] * 2
    assert len(events) == 3 * 2 + 2


def test_a_cancel_before_the_start_computes_nothing(language, prompts, calls):
    events = list(language.generate(prompts, ended=lambda _: 'cancelled'))
    assert calls == [] and [e.reason for e in events] == ['cancelled'] * 3


def test_a_deadline_ends_the_answers_with_what_they_have(language, prompts, calls):
    events = list(language.generate(prompts[:2], max_new_tokens=50,
                                    ended=lambda _: 'deadline' if len(calls) == 2 else ''))
    assert calls == ['prefill', 'decode'] and len(events) == 2 * 2 + 2
    assert [(e.token_id, e.reason) for e in events[-2:]] == [(None, 'deadline')] * 2


def test_one_answer_of_a_batch_may_end_and_the_others_stay_as_they_are(model, prompts):
    language = LanguageModel(model)
    whole = collect(language.generate(prompts, max_new_tokens=12), 3)
    told = collections.Counter()

    def ended(index: int) -> str:
        told[index] += 1
        return 'cancelled' if index == 1 and told[1] > 4 else ''

    made = collect(language.generate(prompts, max_new_tokens=12, ended=ended), 3)
    assert (made[1].token_ids, made[1].reason) == (whole[1].token_ids[:4], 'cancelled')
    assert [made[0].token_ids, made[2].token_ids] == [whole[0].token_ids, whole[2].token_ids]


def test_what_is_not_finite_is_an_error_and_spoils_nothing_that_comes_after(model, prompts):
    for how in ({'prefixes': KeepPrefixes()}, {'steps': CudaGraphs()}):
        language = LanguageModel(model, **how)
        clean = collect(LanguageModel(model, **how).generate(prompts[:1], max_new_tokens=8), 1)
        bad = compose('What is it?', [observed()])
        bad = dataclasses.replace(bad, tokens=torch.full_like(bad.tokens, torch.nan))
        with pytest.raises(PixelReferError) as error:
            collect(language.generate([bad], max_new_tokens=8), 1)
        assert error.value.code == 'NOT_FINITE' and 'float32' in error.value.message
        assert collect(language.generate(prompts[:1], max_new_tokens=8), 1) == clean


def test_every_prompt_may_have_a_budget_of_its_own(model, prompts):
    language = LanguageModel(model)
    language.ends = frozenset()
    whole = collect(language.generate(prompts, max_new_tokens=9), 3)
    made = collect(language.generate(prompts, max_new_tokens=[3, 9, 1]), 3)
    assert [len(one.token_ids) for one in made] == [3, 9, 1]
    for one, other in zip(made, whole, strict=True):
        assert other.token_ids[:len(one.token_ids)] == one.token_ids
    with pytest.raises(PixelReferError) as error:
        list(language.generate(prompts, max_new_tokens=[3, 0, 1]))
    assert error.value.code == 'BAD_BUDGET'


def test_a_stop_word_ends_an_answer_before_it_and_none_of_it_is_shown(language, prompts, script):
    script(language.tokenizer.encode('it is red. And') + [60] * 9)
    events = list(language.generate(prompts[:1], max_new_tokens=99, stop=['red. A']))
    assert ''.join(e.text_delta for e in events) == 'it is '
    assert events[-1].finished and events[-1].reason == 'stop'
    assert len(events) < 14


def test_text_held_for_a_stop_word_is_shown_when_the_answer_ends_otherwise(
        language, prompts, script):
    ids = language.tokenizer.encode('it is red')
    for how, count in (({'max_new_tokens': len(ids)}, 0),
                       ({'ended': lambda _: 'cancelled' if next(asked) >= len(ids) else ''}, 1)):
        asked = itertools.count()
        script(ids + [60] * 9)
        events = list(language.generate(prompts[:1], stop=['red.'], **how))
        assert ''.join(e.text_delta for e in events) == 'it is red'
        assert len(events) == len(ids) + count


def test_a_delta_never_ends_inside_a_character(language, prompts, script):
    tokenizer = language.tokenizer
    text = 'a \u2615 na\u00efve \U0001f916 ok'
    ids = tokenizer.encode(text)
    assert len(ids) > len(text)
    script(ids + [tokenizer.end_id])
    deltas = [e.text_delta for e in language.generate(prompts[:1], max_new_tokens=99)]
    assert ''.join(deltas) == text and not any('\ufffd' in d for d in deltas)


@pytest.mark.parametrize('last', ['stop', 'length'])
def test_a_character_left_unfinished_is_shown_as_broken_at_the_end(language, prompts, script, last):
    half = language.tokenizer.encode('\u2615')[:1]
    script(half + [language.tokenizer.end_id])
    answer = collect(language.generate(prompts[:1], max_new_tokens=2 if last == 'stop' else 1), 1)
    assert answer[0].text == '\ufffd' and answer[0].reason == last


def test_deltas_together_are_the_decoded_answer(language, prompts):
    for answer in collect(language.generate(prompts, max_new_tokens=40), 3):
        assert answer.text == language.tokenizer.backend.decode(answer.token_ids).strip()


def test_bytes_of_tokens_are_what_the_tokenizer_decodes(language):
    tokenizer = language.tokenizer
    for token in range(len(tokenizer)):
        assert tokenizer.decode([token]) == tokenizer.backend.decode([token])
    assert tokenizer.bytes_of(len(tokenizer) + 5) == b''


def test_probabilities_are_those_of_the_scores_before_the_penalty(language, prompts):
    state = language.prefill(prompts[:1])
    first = next(language.generate(prompts[:1]))
    assert first.probability == pytest.approx(float(state.scores[0].softmax(0).max()), abs=1e-6)


def test_an_answer_is_as_sure_as_its_least_sure_token(language, prompts):
    events = list(language.generate(prompts[:1], max_new_tokens=7))
    answer = collect(iter(events), 1)[0]
    assert answer.confidence == min(e.probability for e in events)
    assert answer.confidence < max(e.probability for e in events) and len(events) == 7
    assert collect(iter([]), 1)[0].confidence == 0.0


def test_the_penalty_looks_at_the_answer_and_not_at_the_prompt(model, prompts):
    language = LanguageModel(model, generation={'repetition_penalty': 1e4})
    first = next(LanguageModel(model).generate(prompts[:1]))
    ids = collect(language.generate(prompts[:1], max_new_tokens=30), 1)[0].token_ids
    assert ids[0] == first.token_id and len(set(ids)) == len(ids)


def test_the_penalty_divides_what_is_over_zero_and_multiplies_what_is_under():
    for scores, best in (([3.0, 2.0, 1.0], 1), ([-1.0, -1.5, -3.0], 1),
                         ([3.0, 1.0, 1.0], 0), ([-1.0, -2.5, -3.0], 0)):
        sampler = Sampler(Greedy(), 2.0, 1, 2, 3, torch.device('cpu'))
        scores = torch.tensor([scores])
        assert [sampler.choose(scores)[0].tolist() for _ in range(2)] == [[0], [best]]


def test_prefill_scores_only_the_last_position(language, prompts):
    assert language.prefill(prompts).scores.shape == (3, 522)


def test_eos_may_be_one_id_a_list_or_nothing_and_the_chat_end_always_ends(model):
    for given, ends in ((None, {498}), (496, {496, 498}), ([498, 496], {496, 498})):
        assert LanguageModel(model, generation={'eos_token_id': given}).ends == ends


def test_a_prompt_longer_than_the_model_reaches_is_refused(language, prompts, calls):
    long = compose('word ' * 4096, [observed()])
    with pytest.raises(PixelReferError) as error:
        list(language.generate([prompts[0], long]))
    assert error.value.code == 'QUESTION_TOO_LONG' and '4095' in error.value.message
    assert calls == []


def test_an_answer_ends_where_the_positions_end(language, prompts, script, monkeypatch):
    length = language.check(prompts[0])
    monkeypatch.setattr(type(language), 'longest_prompt', length + 1)
    script([60] * 9)
    answer = collect(language.generate(prompts[:1], max_new_tokens=9), 1)[0]
    # Positions length and length + 1 are left, and the last token needs none.
    assert len(answer.token_ids) == 3 and answer.reason == 'length'


def test_a_budget_of_nothing_is_refused(language, prompts):
    with pytest.raises(PixelReferError) as error:
        list(language.generate(prompts, max_new_tokens=0))
    assert error.value.code == 'BAD_BUDGET'


def test_a_checkpoints_own_added_tokens_are_refused_too(language, prompts):
    odd = RenderedPrompt(prompts[0].text, prompts[0].tokens, 'what <|stream_end|>')
    with pytest.raises(PixelReferError) as error:
        language.check(odd)
    assert error.value.code == 'SPECIAL_TOKEN'


def test_object_tokens_must_be_as_many_as_their_places(language, prompts):
    short = RenderedPrompt(prompts[0].text, prompts[0].tokens[1:])
    with pytest.raises(ValueError):
        language.prefill([short])


def test_the_object_tokens_change_the_answer(language):
    one, other = (language.prefill([compose('What is it?', [observed(seed=s)])]).scores
                  for s in (1, 2))
    assert not torch.allclose(one, other, atol=1e-2)


def test_generating_leaves_the_caller_able_to_train(language, prompts):
    events = language.generate(prompts[:1], max_new_tokens=3)
    next(events)
    weight = torch.ones(2, requires_grad=True)
    (weight * 2).sum().backward()
    assert weight.grad is not None and not torch.is_inference_mode_enabled()


def test_bfloat16_answers_too(prompts):
    model = PixelReferLite.from_checkpoint(CHECKPOINT, dtype=torch.bfloat16)
    answer = collect(LanguageModel(model).generate(prompts, max_new_tokens=4), 3)
    assert [len(a.token_ids) for a in answer] == [4, 4, 4]
