# SPDX-License-Identifier: Apache-2.0
"""`--words`: an object by what it is called, found by the tiny detector."""

import pytest
from cli_support import IMAGE, MUG

from pixelrefer_model.engine import PerceptionEngine


def test_words_select_what_a_box_would(told):
    made = told('describe', IMAGE, '--words', 'the red mug')
    found, = made['objects']
    x0, y0, x1, y1 = map(float, MUG.split(','))
    x, y, width, height = found['box']
    assert abs(x - x0) < 8 and abs(y - y0) < 8
    assert abs(x + width - x1) < 8 and abs(y + height - y1) < 8
    assert found['selected'] == '--words the red mug'
    assert 'red' in made['answers'][0]['text'] and 'mug' in made['answers'][0]['text']


def test_what_is_not_there_is_said(pixelrefer):
    status, out, err = pixelrefer(
        'describe', IMAGE, '--words', 'the purple mug', '--device', 'cpu')
    assert (status, out) == (2, '')
    assert "--words the purple mug" in err and 'NO_MATCH' in err


@pytest.mark.parametrize('words, code', [
    ('', 'NO_PROMPT'), ('the <REGION>', 'SPECIAL_TOKEN'), ('x' * 201, 'QUESTION_TOO_LONG')])
def test_words_that_cannot_be_looked_for_are_refused_before_a_model_is_loaded(
        pixelrefer, monkeypatch, words, code):
    monkeypatch.setattr(PerceptionEngine, 'from_checkpoints', None)
    status, _, err = pixelrefer('describe', IMAGE, '--words', words)
    assert status == 2 and code in err
