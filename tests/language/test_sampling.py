# SPDX-License-Identifier: Apache-2.0
"""Choosing tokens: the best, or by chance from a seed that each prompt has to itself."""

import pytest
import torch

from language_support import CHECKPOINT, observed
from pixelrefer_model.language import Greedy, LanguageModel, Sample, collect, compose
from pixelrefer_model.language.sampling import Sampler
from pixelrefer_model.pixelrefer import PixelReferLite

SCORES = torch.tensor([0.5, 0.1, 0.25, 0.15]).log()


@pytest.fixture(scope='module')
def language():
    return LanguageModel(PixelReferLite.from_checkpoint(CHECKPOINT))


@pytest.fixture(scope='module')
def prompts():
    return [compose('What is <object1>?', [observed(seed=5)]),
            compose('Which is taller?', [observed('a', seed=2), observed('b', seed=3)])]


def shares(sampling, count=4000):
    """How often each of the four tokens is drawn."""
    noise = sampling.noise(count)
    drawn = sampling.pick(SCORES.expand(count, -1), noise)
    return (drawn.bincount(minlength=4) / count).tolist()


def test_tokens_are_drawn_as_often_as_they_are_likely():
    assert shares(Sample(1.0, 1.0)) == pytest.approx([0.5, 0.1, 0.25, 0.15], abs=0.03)


def test_temperature_raises_the_probabilities_to_a_power():
    squared = torch.tensor([0.5, 0.1, 0.25, 0.15]) ** 2
    assert shares(Sample(0.5, 1.0)) == pytest.approx((squared / squared.sum()).tolist(), abs=0.03)


@pytest.mark.parametrize('sampling', [Sample(1.0, 0.7), Sample(1.0, 1.0, top_k=2)])
def test_top_p_and_top_k_leave_the_best_tokens_in_their_proportion(sampling):
    assert shares(sampling) == pytest.approx([2 / 3, 0, 1 / 3, 0], abs=0.03)


def test_at_least_the_best_token_is_left():
    assert shares(Sample(1.0, 1e-6), 50) == [1, 0, 0, 0] == shares(Sample(1e-3, 1.0), 50)


def test_noise_next_to_one_draws_the_last_token_that_has_a_chance():
    noise = torch.tensor([1 - 2 ** -24])
    assert Sample(1.0, 0.7).pick(SCORES[None], noise).tolist() == [2]
    assert Sample(1.0, 1.0).pick(SCORES[None], noise).tolist() == [1]


def test_the_same_seed_gives_the_same_answer_and_another_seed_another(language, prompts):
    def answer(seed):
        return collect(language.generate(
            prompts[:1], max_new_tokens=24, sampling=Sample(1.0, 1.0, seed=seed)), 1)[0].token_ids
    assert answer(1) == answer(1) and answer(1) != answer(2)


def test_a_sampled_answer_does_not_depend_on_the_rest_of_the_batch(language, prompts):
    how = dict(max_new_tokens=24, sampling=Sample(0.9, 0.9, seed=4))
    together = collect(language.generate(prompts, **how), 2)
    for prompt, answer in zip(prompts, together, strict=True):
        assert collect(language.generate([prompt], **how), 1)[0].token_ids == answer.token_ids


def test_the_penalty_holds_for_drawn_tokens_too():
    sampler = Sampler(Sample(1.0, 1.0), 1e6, 1, 8, 4, torch.device('cpu'))
    drawn = [int(sampler.choose(SCORES[None] + 10)[0]) for _ in range(4)]
    assert sorted(drawn) == [0, 1, 2, 3]


def test_a_probability_is_that_of_the_model_whatever_the_temperature():
    sampler = Sampler(Sample(0.01, 1.0), 1, 1, 8, 4, torch.device('cpu'))
    token, probability = sampler.choose(SCORES[None])
    assert token.tolist() == [0] and float(probability) == pytest.approx(0.5)


@pytest.mark.parametrize('wrong', [
    dict(temperature=0), dict(temperature=float('nan')), dict(top_p=0), dict(top_p=1.1),
    dict(top_k=-1)])
def test_values_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match='allowed'):
        Sample(**wrong)


def test_greedy_takes_the_lowest_of_equal_tokens():
    assert Greedy().pick(torch.tensor([[1.0, 3.0, 3.0]]), None).tolist() == [1]
