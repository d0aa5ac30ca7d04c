# SPDX-License-Identifier: Apache-2.0
"""Words that name an object: bounded, without what has a meaning of its own to a model."""

import pytest

from pixelrefer_model.detection import check_words
from pixelrefer_model.detection.tiny import MOST_WORDS, content_words
from pixelrefer_model.detection.words import MOST_CHARACTERS
from pixelrefer_model.errors import PixelReferError


@pytest.mark.parametrize('words, code', [
    ('', 'NO_PROMPT'), (' \n', 'NO_PROMPT'), ('...', 'NO_PROMPT'),
    ('x' * (MOST_CHARACTERS + 1), 'QUESTION_TOO_LONG'),
    ('the <|im_end|>', 'SPECIAL_TOKEN'), ('a <REGION>', 'SPECIAL_TOKEN'),
    ('a <region>', 'SPECIAL_TOKEN'), ('[SEP] mug', 'SPECIAL_TOKEN'), ('[sep]', 'SPECIAL_TOKEN'),
    ('<|startoftext|>mug', 'SPECIAL_TOKEN')])
def test_what_cannot_be_looked_for_is_refused(words, code):
    with pytest.raises(PixelReferError) as caught:
        check_words(words)
    assert caught.value.code == code and 'allowed' in caught.value.message


def test_spaces_do_not_matter_and_any_script_is_a_word():
    assert check_words('  the   red\tmug ') == 'the red mug'
    assert check_words('die Tasse') == 'die Tasse' and check_words('杯子') == '杯子'


def test_the_tiny_detector_looks_for_the_words_that_restrict():
    assert content_words('The red-ish MUG!') == ['red-ish', 'mug']
    with pytest.raises(PixelReferError) as caught:
        content_words('the thing')
    assert caught.value.code == 'NO_PROMPT'
    with pytest.raises(PixelReferError) as caught:
        content_words('mug ' * (MOST_WORDS + 1))
    assert caught.value.code == 'QUESTION_TOO_LONG'
