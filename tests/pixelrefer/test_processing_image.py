# SPDX-License-Identifier: Apache-2.0
"""Whole images: their budget, the order of their patches, and the tokens of a video that move."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.pixelrefer import (
    EncodePolicy, PixelReferConfig, prepare_images, prepare_video)
from pixelrefer_model.pixelrefer.processing_image import (
    fit_to_budget, moving_tokens, normalised, patchify)

RELEASED = PixelReferConfig()
PUBLISHED, ROBOT = EncodePolicy.published(), EncodePolicy.robot()


def black(height, width):
    return np.zeros((height, width, 3), np.uint8)


def sizes(inputs):
    return inputs.grids.tolist()


def test_every_patch_of_an_image_is_a_token_and_images_share_the_budget():
    one = prepare_images([black(480, 640)], RELEASED, PUBLISHED)
    assert sizes(one) == [[34, 46]] and one.tokens == [34 * 46]
    twenty = prepare_images([black(480, 640)] * 20, RELEASED, PUBLISHED)
    assert len(twenty) == 20 and sum(twenty.tokens) <= RELEASED.mm_max_length
    assert sizes(twenty)[0] == [17, 23]


def test_a_video_has_a_token_per_square_of_patches_and_as_many_times_the_budget():
    video = prepare_video([black(480, 640)] * 20, RELEASED, PUBLISHED)
    assert video.merge == 2 and sizes(video) == [[34, 46]] * 20
    assert [len(kept) for kept in video.kept] == [17 * 23] * 20


def test_the_robot_bounds_the_tokens_of_an_image_and_changes_no_smaller_one():
    large = prepare_images([black(1080, 1920)], RELEASED, ROBOT)
    assert sum(large.tokens) <= ROBOT.image_patches < sum(
        prepare_images([black(1080, 1920)], RELEASED, PUBLISHED).tokens)
    assert sizes(prepare_images([black(480, 640)], RELEASED, ROBOT)) == [[34, 46]]
    pair = prepare_video([black(1080, 1920)] * 2, RELEASED, EncodePolicy.robot(image_patches=60))
    assert sum(len(kept) for kept in pair.kept) <= 60


def test_sides_are_whole_squares_and_tiny_images_have_sixteen_patches():
    assert fit_to_budget(black(30, 120), 10 ** 6, 14, 2).shape == (28, 112, 3)
    assert fit_to_budget(black(56, 56), 10 ** 6, 14, 2).shape == (56, 56, 3)
    assert fit_to_budget(black(14, 14), 10 ** 6, 14, 2).shape == (56, 56, 3)
    assert fit_to_budget(black(10, 280), 10 ** 6, 14, 2).shape == (28, 784, 3)


def test_frames_of_several_sizes_are_no_video():
    with pytest.raises(PixelReferError) as error:
        prepare_video([black(56, 56), black(56, 84)], RELEASED, PUBLISHED)
    assert error.value.code == 'BAD_IMAGE'
    assert len(prepare_video([], RELEASED, PUBLISHED)) == 0


def test_tokens_that_do_not_move_are_dropped_but_one_of_each_frame_stays():
    first = np.random.default_rng(0).integers(0, 255, (56, 84, 3), dtype=np.uint8)
    second = first.copy()
    second[30, 60] ^= 128
    kept = moving_tokens([first, second, second, first], 28)
    assert kept[0].tolist() == [True] * 6
    assert kept[1].tolist() == [False, False, False, False, False, True]
    assert kept[2].tolist() == [True, False, False, False, False, False]
    assert kept[3].tolist() == kept[1].tolist()


@pytest.mark.parametrize('dtype, still, moving', [
    (torch.float32, 117, 118), (torch.bfloat16, 110, 125), (torch.float16, 116, 119)])
def test_a_square_moves_when_over_117_of_its_2352_values_are_a_step_away(dtype, still, moving):
    before = np.full((28, 28 * 3, 3), 128, np.uint8)
    after = before.copy()
    for square, steps in ((1, still), (2, moving)):
        values = np.zeros(28 * 28 * 3, np.uint8)
        values[:steps] = 1
        after[:, 28 * square:28 * square + 28] += values.reshape(28, 28, 3)
    assert moving_tokens([before, after], 28, dtype)[1].tolist() == [False, False, True]


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float32])
def test_each_pixel_value_becomes_what_the_published_code_has(dtype):
    levels = torch.arange(256, dtype=torch.uint8)
    published = (levels.float() / 255 - 0.5) / 0.5
    ours = normalised(levels, dtype)
    assert ours.dtype == dtype
    assert torch.equal(ours, published.to(dtype)) if dtype != torch.float32 else \
        torch.allclose(ours, published, rtol=0, atol=2e-7)


def test_patches_of_frames_are_those_of_images():
    noise = np.random.default_rng(1).integers(0, 255, (56, 84, 3), dtype=np.uint8)
    config = replace(RELEASED, mm_max_length=100)
    video, image = (prepare([noise], config, PUBLISHED) for prepare in (
        prepare_video, prepare_images))
    assert np.array_equal(video.patches[0], image.patches[0])
    assert np.array_equal(image.patches[0], patchify(noise, 14))
