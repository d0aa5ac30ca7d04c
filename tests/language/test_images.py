# SPDX-License-Identifier: Apache-2.0
"""Prompts with whole images: where they stand, and that their tokens come before the objects'."""

import pytest
import torch

from language_support import D, K, observed
from pixelrefer_model.language import compose
from pixelrefer_model.language.chat import chat_text
from pixelrefer_model.language.images import (
    VIDEO, fill_images, image_text, video_text, with_images)

MUG = f'[{"<REGION>" * K}]'


def image(count, value):
    return torch.full((count, D), float(value))


def test_images_come_first_and_their_tokens_too():
    prompt = compose('What is <object1>?', [observed()])
    shown = with_images(prompt, [image(3, 1), image(2, 2)])
    assert shown.text == chat_text(f'<image><image><image>\n<image><image>\nWhat is {MUG}?')
    assert shown.tokens.shape == (5 + K, D)
    assert shown.tokens[:5, 0].tolist() == [1, 1, 1, 2, 2]
    assert torch.equal(shown.tokens[5:], prompt.tokens) and shown.question == prompt.question


def test_frames_of_a_video_have_their_times():
    shown = with_images(compose('What is <object1>?', [observed()]), [image(2, 1), image(1, 2)],
                        [0, 0.54])
    assert shown.text == chat_text(
        f'Time 0.0s:<image><image>,Time 0.5s:<image>\nWhat is {MUG}?')


def test_a_prompt_without_an_image_stays_as_it_is():
    prompt = compose('What is <object1>?', [observed()])
    assert with_images(prompt, []) is prompt


@pytest.mark.parametrize('text, filled', [
    ('<image>\nWhich is it?', '<image><image>\nWhich is it?'),
    ('Which is it? ', '<image><image>\nWhich is it?'),
    ('Here: <image> Which is it?', 'Here:<image><image>\nWhich is it?'),
])
def test_a_published_question_has_the_image_where_its_tag_stands(text, filled):
    assert fill_images(text, [image_text(2)]) == filled


def test_a_published_question_about_a_video_or_several_images():
    assert fill_images(f'{VIDEO}\nWho?', [video_text([1, 1], [0, 1])], VIDEO) == (
        'Time 0.0s:<image>,Time 1.0s:<image>\nWho?')
    both = [image_text(1), image_text(2)]
    assert fill_images('<image>\n<image>\nWho?', both) == fill_images('Who?', both) == (
        '<image>\n<image><image>\nWho?')
    with pytest.raises(ValueError):
        fill_images('<image>\nWho?', both)
