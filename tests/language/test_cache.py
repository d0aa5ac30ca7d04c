# SPDX-License-Identifier: Apache-2.0
"""Kept prefixes: what was read once is not read again, and changes no answer."""

import pytest
import torch

from language_support import CHECKPOINT, D, K, observed
from pixelrefer_model.language import Evidence, KeepPrefixes, LanguageModel, collect, compose
from pixelrefer_model.language.cache import KeyValueCache, PrefixCache, tokenized
from pixelrefer_model.pixelrefer import PixelReferLite

REGION = 9


@pytest.fixture(scope='module')
def model():
    return PixelReferLite.from_checkpoint(CHECKPOINT)


@pytest.fixture
def keeping(model):
    return LanguageModel(model, prefixes=KeepPrefixes())


def ask(language, question, *evidence, **how):
    return collect(language.generate([compose(question, evidence)], max_new_tokens=16, **how), 1)[0]


def behind_the_tokens(language, question, *evidence):
    """Tokens of a prompt after its last object token."""
    ids = language.tokenizer.encode(compose(question, evidence).text)
    return len(ids) - 1 - max(n for n, i in enumerate(ids) if i == language.tokenizer.region_id)


def test_a_second_question_reads_only_what_follows_the_observations(keeping):
    seen = [observed(name, 2, [0, 1], seed=n) for n, name in enumerate('abcde')]
    ask(keeping, 'Which one is red?', *seen)
    for question in ('Which one is left of the others?', 'How many are there?'):
        before = keeping.prefilled
        ask(keeping, question, *seen)
        assert keeping.prefilled - before == behind_the_tokens(keeping, question, *seen) < K


def test_answers_are_the_same_with_kept_prefixes_and_without(model, keeping):
    seen = [observed(name, seed=n) for n, name in enumerate('ab')]
    bare = LanguageModel(model)
    for question in ('Which is red?', 'What moved?', 'Is <object1> on <object2>?',
                     'Is <object1> in <object2>?', 'Which is red?'):
        kept, anew = ask(keeping, question, *seen), ask(bare, question, *seen)
        assert (kept.token_ids, kept.text) == (anew.token_ids, anew.text)
        assert kept.probabilities == pytest.approx(anew.probabilities, abs=1e-5)
    assert keeping.prefilled < 0.6 * bare.prefilled


def test_a_batch_of_kept_and_new_prompts_answers_as_each_alone(model, keeping):
    long, short = observed('a', 3, [0, 1, 2], seed=1), observed('b', seed=2)
    prompts = [compose('What moved?', [long]), compose('Is <object1> red or blue?', [short]),
               compose('Where?', [observed('c', 2, [0, 1], seed=3)])]
    ask(keeping, 'Is it red?', long)
    before = keeping.prefilled
    together = collect(keeping.generate(prompts, max_new_tokens=16), 3)
    assert keeping.prefilled - before < sum(map(keeping.count, prompts))
    for prompt, answer in zip(prompts, together, strict=True):
        alone = collect(LanguageModel(model).generate([prompt], max_new_tokens=16), 1)[0]
        assert alone.token_ids == answer.token_ids


def test_a_prefix_ends_at_the_first_object_token_that_is_another(keeping):
    seen, other = observed('a', 2, [0, 1], seed=1), observed('a', 2, [0, 1], seed=1)
    ask(keeping, 'What is it?', seen)
    tokens = seen.tokens.clone()
    tokens[1, 5] += 1e-3
    other = Evidence('a', tokens, [0, 1])
    before = keeping.prefilled
    said = ask(keeping, 'What is it?', other)
    behind = behind_the_tokens(keeping, 'What is it?', other)
    assert keeping.prefilled - before == K - 5 + behind
    assert said.token_ids == ask(LanguageModel(keeping.model), 'What is it?', other).token_ids


def test_a_history_that_grew_reads_only_its_new_moments(keeping):
    tokens = observed('a', 4, [0, 1, 2, 3]).tokens
    grown = [Evidence('a', tokens[:n], list(range(n))) for n in (3, 4)]
    ask(keeping, 'What moved?', grown[0])
    before = keeping.prefilled
    ask(keeping, 'What moved?', grown[1])
    assert keeping.prefilled - before < 2 * K
    assert len(keeping.prefixes) == 1, 'the longer one has taken the place of the shorter'


def test_the_same_prompt_again_reads_its_end_and_is_kept_once(keeping):
    first = ask(keeping, 'What is it?', observed())
    before, held = keeping.prefilled, keeping.prefixes.bytes
    again = ask(keeping, 'What is it?', observed())
    assert keeping.prefilled - before < 20 and keeping.prefixes.bytes == held
    assert again.token_ids == first.token_ids


def test_without_leave_nothing_is_kept(model):
    language = LanguageModel(model)
    ask(language, 'What is it?', observed())
    assert len(language.prefixes) == language.prefixes.bytes == 0


def prompt(*ids, seed=0):
    """Ids with REGION for the places of random object tokens [n, 2]."""
    rows = torch.randn(ids.count(REGION), 2, generator=torch.Generator().manual_seed(seed))
    return tokenized(ids, [REGION], rows)


def kept(cache, *prompts):
    for one in prompts:
        cache.keep(one, torch.ones(1, 1, len(one), 4), torch.ones(1, 1, len(one), 4))


def test_what_was_not_used_for_longest_goes_first_and_the_bound_holds():
    one, two, three = (prompt(n, REGION, REGION, 5, seed=n) for n in (1, 2, 3))
    size = 2 * 3 * 4 * 4 + 2 * 2 * 4
    cache = PrefixCache(KeepPrefixes(2 * size))
    kept(cache, one, two)
    assert cache.bytes == 2 * size
    assert cache.longest(one)[1] == 3
    kept(cache, three)
    assert cache.bytes == 2 * size and len(cache) == 2
    assert [cache.longest(p)[1] for p in (one, two, three)] == [3, 0, 3]


def test_a_prefix_larger_than_the_bound_is_not_kept_and_drives_nothing_out():
    cache = PrefixCache(KeepPrefixes(150))
    kept(cache, prompt(1, REGION, 5), prompt(*[REGION] * 9))
    assert len(cache) == 1 and cache.longest(prompt(1, REGION, 5))[1] == 2


def test_the_last_token_of_a_prompt_is_always_read():
    cache = PrefixCache(KeepPrefixes())
    kept(cache, prompt(1, REGION))
    assert cache.longest(prompt(1, REGION))[1] == 1


def test_a_prompt_without_object_tokens_is_not_kept():
    cache = PrefixCache(KeepPrefixes())
    kept(cache, prompt(1, 2, 3))
    assert len(cache) == 0


def test_the_cache_of_a_batch_takes_its_memory_once(model):
    config = model.model.config
    cache = KeyValueCache(config, 3, 40, device=torch.device('cpu'), dtype=torch.float32)
    size = config.hidden_size // config.num_attention_heads
    assert cache.bytes == 2 * config.num_hidden_layers * 3 * config.num_key_value_heads * (
        40 * size * 4)
    where = cache.keys.data_ptr()
    cache.place(torch.arange(5)[None].expand(3, -1), 5, 0)
    new = torch.ones(3, config.num_key_value_heads, 5, size)
    keys, _ = cache.update(new, new, 0)
    assert keys.shape[2] == 5 and keys.data_ptr() == where and cache.room == 40


def test_the_room_of_an_answer_is_prompt_and_budget_and_never_over_the_positions(model):
    language, most = LanguageModel(model), model.config.language.max_position_embeddings
    one = compose('What is it?', [observed()])
    assert language.prefill([one], 9).cache.room == language.count(one) + 8
    assert language.prefill([one], 10 ** 6).cache.room == most
    assert D == model.config.language.hidden_size
