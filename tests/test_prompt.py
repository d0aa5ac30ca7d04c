# SPDX-License-Identifier: Apache-2.0
"""Rules of frames and prompts: what is refused, with which code and which words."""

import numpy as np
import pytest

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_model.prompt import Box, Click, MaskPrompt, Scribble

NAN = float('nan')


def click(*points, labels=None):
    return Click(np.array(points, float).reshape(-1, 2),
                 np.ones(len(points), int) if labels is None else np.array(labels))


@pytest.mark.parametrize('prompt, code, words', [
    (click((NAN, 3)), 'NOT_FINITE', 'NaN'),
    (click((320, 3)), 'OUT_OF_IMAGE', '0 <= x < 320'),
    (click((5, -1)), 'OUT_OF_IMAGE', '(5, -1)'),
    (click(), 'BAD_POINTS', '1 to 64'),
    (click((5, 5), labels=[1, 0]), 'BAD_LABELS', 'one label per point'),
    (click((5, 5), labels=[7]), 'BAD_LABELS', '[7]'),
    (Box(5, 5, 5, 9), 'BAD_BOX', '1 x 1'),
    (Box(9, 9, 5, 5), 'BAD_BOX', '-4 x -4'),
    (Box(5, 5, NAN, 9), 'NOT_FINITE', 'NaN'),
    (Box(0, 0, 321, 9), 'OUT_OF_IMAGE', '320,240'),
    (Box(0, 0, 9, 9, click((400, 1))), 'OUT_OF_IMAGE', '(400, 1)'),
    (Scribble(np.zeros((1, 2))), 'BAD_POINTS', '2 to 10000'),
    (Scribble(np.array([[1.0, 1.0], [NAN, 2.0]])), 'NOT_FINITE', 'NaN'),
    (MaskPrompt(np.zeros((240, 320), bool)), 'EMPTY_MASK', 'at least one pixel'),
    (MaskPrompt(np.ones((120, 160), bool)), 'MASK_SIZE', '160x120'),
])
def test_a_bad_prompt_is_refused_with_its_code_and_reason(prompt, code, words):
    with pytest.raises(PixelReferError) as refused:
        prompt.check(320, 240)
    assert refused.value.code == code
    assert words in refused.value.message


@pytest.mark.parametrize('prompt', [
    click((0, 0), (319.9, 239.9), labels=[1, 0]),
    Box(0, 0, 320, 240),
    Box(10, 10, 20, 20, click((15, 15))),
    Scribble(np.array([[1.0, 1.0], [9.0, 9.0]])),
    MaskPrompt(np.eye(240, 320, dtype=bool)),
])
def test_a_prompt_that_touches_the_border_is_good(prompt):
    prompt.check(320, 240)


def test_a_scribble_becomes_clicks_evenly_spaced_along_its_length():
    points = Scribble(np.array([[0.0, 0.0], [70.0, 0.0]])).clicks().points
    assert points[:, 0] == pytest.approx([0, 10, 20, 30, 40, 50, 60, 70])


@pytest.mark.parametrize('image', [
    np.zeros((240, 320), np.uint8), np.zeros((240, 320, 4), np.uint8),
    np.zeros((240, 320, 3), np.float32), np.zeros((0, 320, 3), np.uint8),
    np.zeros((240, 8200, 3), np.uint8),
])
def test_an_image_of_another_shape_type_or_size_is_no_frame(image):
    with pytest.raises(PixelReferError) as refused:
        Frame(image, 0)
    assert refused.value.code == 'BAD_IMAGE'
