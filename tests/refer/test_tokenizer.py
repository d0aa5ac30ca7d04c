# SPDX-License-Identifier: Apache-2.0
"""Rules of the tiny checkpoint's tokenizer."""

import json

import pytest

from pixelrefer_model.engine import TINY
from pixelrefer_model.language import TASKS, Tokenizer, chat_text
from pixelrefer_model.language.chat import SPECIAL_TOKENS
from training.refer.facts import CATEGORIES, COLOURS, PATTERNS
from training.refer.tokenizer import ENTRIES, train_tokenizer
from training.tenses.tokenizer import tense_tokenizer


@pytest.fixture(scope='module')
def tokenizer() -> Tokenizer:
    return train_tokenizer()


@pytest.mark.parametrize('text', [
    'What is the category of [x]? Using only one word or phrase.', 'naïve Ω 水 🙂 \t\n  end ',
    "it's 12.5 %", 'A small checkered orange bottle on a book.'])
def test_any_text_comes_back_from_its_ids(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_tokens_follow_the_vocabulary_in_the_released_order(tokenizer):
    assert [tokenizer.added[ENTRIES + n] for n in range(len(SPECIAL_TOKENS))] \
        == list(SPECIAL_TOKENS)
    assert len(tokenizer) == ENTRIES + len(SPECIAL_TOKENS)
    assert tokenizer.added[tokenizer.region_id] == '<REGION>' == SPECIAL_TOKENS[-1]


def test_words_that_answers_rest_on_are_one_token(tokenizer):
    for word in (*CATEGORIES, *COLOURS, *PATTERNS):
        assert len(tokenizer.encode(f' {word}')) == 1, word


def test_prompts_stay_short(tokenizer):
    for task in TASKS.values():
        text = chat_text(task.replace('<region>', '[]'))
        assert len(tokenizer.encode(text)) < len(text) / 3, task


def test_the_packaged_checkpoint_has_the_words_of_the_last_stage():
    """It keeps its words when wordings are added later: what it writes may differ by a piece."""
    packaged, last = Tokenizer.from_folder(TINY['refer']), tense_tokenizer()
    for text in (*TASKS.values(), 'Did the mug fall? Größe', 'Had <object1> moved before 12.5?'):
        assert packaged.decode(packaged.encode(text)) == text
        assert abs(len(packaged.encode(text)) - len(last.encode(text))) <= 1, text
    for word in ('moved', 'seen', 'hidden', 'first', 'last', 'still', 'when', 'which'):
        assert len(packaged.encode(f' {word}')) == len(last.encode(f' {word}')) == 1, word
    config = json.loads((TINY['refer'] / 'config.json').read_text())
    assert config['vocab_size'] == len(last)
    assert config['region_token_index'] == last.region_id
    assert config['eos_token_id'] == last.end_id
