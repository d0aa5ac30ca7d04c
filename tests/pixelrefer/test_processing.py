# SPDX-License-Identifier: Apache-2.0
"""Crops, grids and budgets: what is cut out, at what scale, and what the policies change."""

from dataclasses import replace

import numpy as np
import pytest

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.pixelrefer import EncodePolicy, PixelReferConfig, prepare_regions
from pixelrefer_model.pixelrefer.processing_pixelrefer import (
    cell_coordinates, crop_grid, crop_region, fit_to_budget, patchify, region_images)
from pixelrefer_support import boxed, outline

RELEASED = PixelReferConfig()
PUBLISHED, ROBOT = EncodePolicy.published(), EncodePolicy.robot()


def crop_of_square(side, policy=PUBLISHED):
    rows, columns = crop_grid(side + 56, side + 56, side * side, RELEASED, policy)
    return rows * columns


@pytest.mark.parametrize('side, patches', [(40, 196), (24, 529), (16, 676), (12, 1156), (8, 2116)])
def test_small_objects_are_enlarged_by_whole_factors(side, patches):
    assert crop_of_square(side) == patches


@pytest.mark.parametrize('side', [80, 120, 200, 400])
def test_large_objects_become_81_to_150_patches(side):
    assert 81 <= crop_of_square(side) <= 150


def test_scales_follow_patch_size_and_k():
    patch7 = replace(RELEASED, vision=replace(RELEASED.vision, patch_size=7), mask_num=16)
    # 28 x 28 = 784 pixels are exactly K patches of 7 pixels: taken as they are.
    assert crop_grid(56, 56, 784, patch7, PUBLISHED) == (8, 8)
    assert crop_grid(56, 56, 783, patch7, PUBLISHED) == (16, 16)


def test_the_robot_bounds_every_crop_and_changes_no_other():
    assert crop_of_square(8, ROBOT) <= RELEASED.crop_patches < crop_of_square(8)
    assert crop_of_square(16, ROBOT) == crop_of_square(16)
    for height, width in ((20, 1200), (700, 30), (57, 57), (16, 16), (1080, 1920)):
        rows, columns = crop_grid(height, width, 9, RELEASED, EncodePolicy.robot(100))
        assert 1 <= rows * columns <= 100


def test_the_crop_has_two_patches_of_context_and_stays_in_the_image(small_config):
    image = np.zeros((120, 160, 3), np.uint8)
    inside, _ = crop_region(image, boxed(50, 40, 20, 10), small_config, PUBLISHED)
    corner, _ = crop_region(image, boxed(0, 110, 12, 10), small_config, PUBLISHED)
    assert inside.box == (40 - 14, 50 - 14, 49 + 14, 69 + 14)
    assert corner.box == (110 - 14, 0, 119, 11 + 14)


def test_an_empty_mask_is_one_black_patch_as_published_and_refused_by_the_robot(small_config):
    image, nothing = np.full((120, 160, 3), 9, np.uint8), np.zeros((120, 160), bool)
    crop, missed = crop_region(image, nothing, small_config, PUBLISHED)
    assert missed and crop.box == (0, 0, 0, 0) and not crop.image.any()
    assert crop.mask_grid.shape == (1, 1) and crop.context is image
    with pytest.raises(PixelReferError) as error:
        crop_region(image, nothing, small_config, ROBOT)
    assert error.value.code == 'EMPTY_MASK'


def test_a_mask_of_another_size_is_refused(small_config):
    with pytest.raises(PixelReferError) as error:
        prepare_regions([np.zeros((120, 160, 3), np.uint8)], [np.ones((60, 80), bool)], [0],
                        small_config, ROBOT)
    assert error.value.code == 'MASK_SIZE' and '80x60' in error.value.message


@pytest.mark.parametrize('policy, shared', [(PUBLISHED, True), (ROBOT, False)])
def test_local_images_are_shared_as_published_and_each_objects_own_for_the_robot(
        policy, shared, small_config, picture):
    made = region_images([picture], [boxed(10, 10, 20, 20), boxed(90, 60, 20, 20)], [0, 0],
                         small_config, policy)
    assert made.global_of == [0, 0] and len(made.globals_) == 1
    assert made.local_of == ([0, 0] if shared else [0, 1])
    if not shared:
        assert not np.array_equal(*made.locals_)


def test_the_published_budget_shrinks_with_the_number_of_regions(small_config, picture):
    masks = [boxed(10 + 9 * r, 20, 20, 20) for r in range(8)]
    for policy, side in ((PUBLISHED, 10), (ROBOT, 12)):
        inputs = prepare_regions([picture], masks, [0] * 8, small_config, policy)
        assert inputs.grids[inputs.global_[0]].tolist() == [side, side]


def test_the_budget_leaves_an_image_that_fits_and_enlarges_a_tiny_one():
    image = np.zeros((70, 140, 3), np.uint8)
    assert fit_to_budget(image, 196 * 50, 14) is image
    assert fit_to_budget(image, 196 * 49, 14).shape == (56, 126, 3)
    assert fit_to_budget(np.zeros((14, 14, 3), np.uint8), 196 * 50, 14).shape == (56, 56, 3)
    with pytest.raises(PixelReferError) as error:
        fit_to_budget(np.zeros((14, 14 * 201, 3), np.uint8), 10 ** 9, 14)
    assert error.value.code == 'BAD_IMAGE'


def test_patches_are_in_raster_order_with_channels_outermost():
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    patches = patchify(image, 2)
    assert patches.shape == (6, 12)
    assert patches[4].tolist() == [int(image[y, x, c]) for c in range(3) for y in (2, 3)
                                   for x in (2, 3)]


def test_positions_keep_the_published_exchange_of_axes():
    at = cell_coordinates((10, 40, 30, 100), (2, 3), (101, 201)).reshape(2, 3, 2)
    assert at[0, :, 0] == pytest.approx([(10 + 20 * c / 3) / 200 for c in range(3)])
    assert at[:, 0, 1] == pytest.approx([(40 + 60 * r / 2) / 100 for r in range(2)])


def test_a_mask_that_two_taps_miss_is_marked_and_only_the_robot_fills_it(small_config, picture):
    thin = outline(30, 20, 90, 80)
    published, missed = crop_region(picture, thin, small_config, PUBLISHED)
    filled, also_missed = crop_region(picture, thin, small_config, EncodePolicy.robot(None))
    assert missed and also_missed
    assert not published.mask_grid.any() and filled.mask_grid.any()
    assert not filled.mask_grid[len(filled.mask_grid) // 2, filled.mask_grid.shape[1] // 2]
