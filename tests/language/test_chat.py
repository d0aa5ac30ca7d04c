# SPDX-License-Identifier: Apache-2.0
"""Prompt text: where object tokens go, and which questions are refused, by which code."""

import pytest
import torch

from language_support import CHECKPOINT, D, K, observed
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language import TASKS, Evidence, Tokenizer, compose, task_prompt
from pixelrefer_model.language.chat import SPECIAL_TOKENS, chat_text, fill_regions, place_holders
from pixelrefer_model.language.tasks import DESCRIPTIONS, FULL, choice_prompt, question_prompt

SEEN = '[' + '<REGION>' * K + ']'


def text_of(question, *evidence):
    text = compose(question, evidence).text
    head, tail = '<|im_start|>user\n', '<|im_end|>\n<|im_start|>assistant\n'
    assert text.startswith(head) and text.endswith(tail)
    return text[len(head):-len(tail)]


def refused(question, *evidence):
    with pytest.raises(PixelReferError) as error:
        compose(question, evidence)
    return error.value.code, error.value.message


def test_the_tokens_stand_where_the_object_is_named():
    assert text_of('What is <object:mug>?', observed()) == f'What is {SEEN}?'
    assert text_of(' What is <object1>?\n', observed()) == f'What is {SEEN}?'


def test_a_name_that_comes_again_is_put_before_the_tokens_and_repeated_later():
    text = text_of('Is <object:a> left of <object2>? Which is taller, <object1> or <object:b>?',
                   observed('a'), observed('b'))
    assert text == (f'Is <object1>{SEEN} left of <object2>{SEEN}? '
                    'Which is taller, <object1> or <object2>?')


def test_a_question_that_names_nothing_gets_its_objects_in_front():
    assert text_of('What is it?', observed()) == f'There is 1 object: {SEEN}. What is it?'
    assert text_of('Which moved?', observed('a'), observed('b')) == (
        f'There are 2 objects: <object1>{SEEN}, <object2>{SEEN}. Which moved?')


def test_with_placing_in_front_questions_about_the_same_objects_begin_alike():
    def placed(question, *evidence):
        return compose(question, evidence, 'in_front')
    a, b = observed('a', seed=1), observed('b', seed=2)
    start = f'There are 2 objects: <object1>{SEEN}, <object2>{SEEN}. '
    for question, rest in (('Is <object:b> on <object:a>?', 'Is <object2> on <object1>?'),
                           ('Is <object2> <object:a>?', 'Is <object2> <object1>?'),
                           ('Which moved?', 'Which moved?')):
        prompt = placed(question, a, b)
        assert prompt.text == chat_text(start + rest)
        assert torch.equal(prompt.tokens, torch.cat([a.tokens, b.tokens]).view(-1, D))
    assert placed('Is <object1> red?', a).text == chat_text(
        f'There is 1 object: <object1>{SEEN}. Is <object1> red?')
    assert placed('What is it?', a).text == compose('What is it?', [a]).text


def test_moments_with_times_are_written_with_one_decimal_and_no_unit():
    seen = observed(moments=3, seconds=[0, 0.46667, 12.34])
    places = '<REGION>' * K
    assert text_of('<object1> moved?', seen) == (
        f'[Time 0.0:{places},Time 0.5:{places},Time 12.3:{places}] moved?')


def test_tokens_come_in_the_order_of_their_places():
    a, b = observed('a', 2, [0, 1], seed=1), observed('b', seed=2)
    prompt = compose('Is <object2> under <object1>?', [a, b])
    assert torch.equal(prompt.tokens, torch.cat([b.tokens, a.tokens]).view(-1, D))
    assert len(prompt.tokens) == prompt.text.count('<REGION>')


def test_an_id_may_have_any_letters_but_angle_brackets():
    assert text_of('<object:my cup (2)>?', observed('my cup (2)')) == f'{SEEN}?'
    # An id of digits is an id, not a place.
    assert text_of('<object:1>, <object:0>', observed('0', seed=1), observed('1')) == (
        f'{SEEN}, {SEEN}')


@pytest.mark.parametrize('question', ['', '  \n\t'])
def test_an_empty_question_is_refused(question):
    assert refused(question, observed())[0] == 'EMPTY_QUESTION'


@pytest.mark.parametrize('name', ['<object:cup>', '<object2>', '<object0>', '<object:>'])
def test_a_name_of_no_object_of_the_request_is_refused_and_named(name):
    code, message = refused(f'What is {name}?', observed())
    assert code == 'UNKNOWN_OBJECT_REFERENCE' and name in message and 'mug' in message


def test_a_place_of_more_digits_than_python_reads_is_as_unknown_as_any_other():
    code, message = refused(f'What is <object{"1" * 5000}>?', observed())
    assert code == 'UNKNOWN_OBJECT_REFERENCE' and len(message) < 300
    code, message = refused(f'What is <object:{"1" * 5000}>?', observed())
    assert code == 'UNKNOWN_OBJECT_REFERENCE' and len(message) < 300


def test_objects_left_unmentioned_beside_mentioned_ones_are_refused_and_named():
    code, message = refused('What is <object1>?', observed('a'), observed('b'), observed('c'))
    assert code == 'UNMENTIONED_ID' and 'b, c' in message


@pytest.mark.parametrize('token', SPECIAL_TOKENS)
def test_every_special_token_in_a_question_is_refused_by_name(token):
    code, message = refused(f'What is <object1>?{token}', observed())
    assert code == 'SPECIAL_TOKEN' and token in message


def test_the_special_tokens_are_all_those_of_the_tokenizer():
    assert set(Tokenizer.from_folder(CHECKPOINT).added.values()) == set(SPECIAL_TOKENS)


def test_the_first_of_several_special_tokens_is_named():
    assert '<|im_end|>' in refused('a <|im_end|> b <image>', observed())[1]


def test_ordinary_angle_brackets_are_text():
    assert text_of('Is <region0> < 3 or <b>?', observed()).endswith('Is <region0> < 3 or <b>?')


def test_an_object_without_observation_or_no_object_is_refused():
    nothing = Evidence('mug', torch.zeros(0, K, D), [])
    assert refused('What is it?', nothing)[0] == 'NO_OBSERVATION'
    assert refused('What is it?')[0] == 'NO_OBSERVATION'


def test_published_placeholders_are_filled_left_to_right():
    assert fill_regions('<region>, <region>?', ['[1]', '[2]']) == '[1], [2]?'
    with pytest.raises(ValueError):
        fill_regions('<region>?', ['[1]', '[2]'])
    assert place_holders([], 2) == '[]'
    assert chat_text(' a ') == '<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n'


@pytest.mark.parametrize('name', DESCRIPTIONS)
def test_a_named_task_is_its_published_prompt_about_the_object(name):
    assert text_of(task_prompt(name), observed()) == DESCRIPTIONS[name].replace('<region>', SEEN)
    full = FULL.get(name, DESCRIPTIONS[name])
    assert text_of(task_prompt(name, full=True), observed()) == full.replace('<region>', SEEN)
    assert set(FULL) <= set(TASKS) <= set(DESCRIPTIONS)


def test_a_question_about_regions_lists_them_by_their_published_names():
    asked = question_prompt('regions', 'Which is taller? <region0> or <region1>?', objects=2)
    assert text_of(asked, observed('a'), observed('b')) == (
        f'There are 2 region in the image: <region0>{SEEN}, <region1>{SEEN}. '
        'Which is taller? <region0> or <region1>?')
    assert text_of(question_prompt('regions', 'Why?'), observed()) == (
        f'There is 1 region in the image: <region0> {SEEN}. Why?')
    assert text_of(question_prompt('reason', 'Why?'), observed()) == (
        f'There is 1 region in the image: {SEEN} Why?')


@pytest.mark.parametrize('name, options', [('poem', ()), ('choice', ()), ('plain', ['(A) on'])])
def test_a_way_to_ask_that_there_is_not_is_refused(name, options):
    with pytest.raises(PixelReferError) as error:
        question_prompt(name, 'Where?', options=options)
    assert error.value.code == 'BAD_DETAIL'


def test_an_unknown_task_is_refused_with_those_there_are():
    with pytest.raises(PixelReferError) as error:
        task_prompt('poem')
    assert error.value.code == 'BAD_DETAIL' and 'sentence' in error.value.message


def test_a_choice_asks_for_the_letter():
    assert choice_prompt('Where?', ['(A) on', '(B) in']) == (
        "Where? (A) on (B) in. Answer with the option's letter from the given choices directly.")


def test_facts_come_after_the_question_and_name_objects_as_it_does():
    a, b = observed('a'), observed('b')
    fact = '<object:a> is 0.40 m from <object:b>.'

    def told(question, placing='where_named'):
        return compose(question, [a, b], placing, [fact]).text

    assert told('Is <object:a> left of <object:b>?') == chat_text(
        f'Is <object1>{SEEN} left of <object2>{SEEN}? <object1> is 0.40 m from <object2>.')
    in_front = f'There are 2 objects: <object1>{SEEN}, <object2>{SEEN}. Which moved?'
    assert told('Which moved?') == chat_text(f'{in_front} <object1> is 0.40 m from <object2>.')
    # What is kept of a prompt without facts serves one with facts.
    plain = compose('Which moved?', [a, b], 'in_front').text
    assert told('Which moved?', 'in_front').startswith(plain[:plain.index('<|im_end|>')])
    assert compose('What is it?', [a], facts=['<object:a> is 0.1 m wide.']).text == chat_text(
        f'There is 1 object: <object1>{SEEN}. What is it? <object1> is 0.1 m wide.')
