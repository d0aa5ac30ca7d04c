# SPDX-License-Identifier: Apache-2.0
"""Positions and sizes from depth hold what is measured, and nothing that stands behind it."""

import numpy as np
import pytest

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.geometry import Pinhole, Pose, locate, surface

CAMERA = Pinhole(300.0, 300.0, 160.0, 120.0, 320, 240)


def plane(x0: int, y0: int, x1: int, y1: int, z: float = 2.0, behind: float = 5.0):
    """A plane that faces the camera, before a wall."""
    mask = np.zeros((240, 320), bool)
    mask[y0:y1, x0:x1] = True
    return mask, np.where(mask, z, behind).astype(np.float32)


def test_the_middle_of_a_surface_is_where_its_pixels_point():
    placed = locate(*plane(160, 60, 220, 100), CAMERA)
    np.testing.assert_allclose(placed.position, [29.5 * 2 / 300, -40.5 * 2 / 300, 2.0], atol=1e-6)
    assert placed.seen == 2400 and placed.pixels == 58 * 38


def test_the_size_is_that_of_what_is_seen():
    placed = locate(*plane(100, 60, 220, 100), CAMERA)
    width, height, depth = placed.size
    assert width == pytest.approx(120 * 2 / 300, abs=2 * placed.size_deviation[0])
    assert height == pytest.approx(40 * 2 / 300, abs=2 * placed.size_deviation[1])
    assert depth == 0


def test_pixels_of_the_wall_behind_and_without_depth_change_nothing():
    mask, depth = plane(100, 60, 160, 120)
    clean = locate(mask, depth, CAMERA)
    rng = np.random.default_rng(0)
    spoilt = depth.copy()
    inside = np.argwhere(mask)
    for share, value in ((0.2, 5.0), (0.2, np.nan), (0.1, 0.0), (0.1, np.inf), (0.05, -1.0)):
        for row, column in inside[rng.random(len(inside)) < share]:
            spoilt[row, column] = value
    made = locate(mask, spoilt, CAMERA)
    np.testing.assert_allclose(made.position, clean.position, atol=0.02)
    assert made.pixels < 0.7 * clean.pixels


def test_the_error_that_is_stated_is_the_error_that_is_made():
    """Over many noisy images: positions lie within two stated deviations of the truth about as
    often as they should, with errors alike within patches of 8 x 8 pixels."""
    mask, depth = plane(100, 60, 164, 124)
    rng = np.random.default_rng(1)
    within = 0
    for _ in range(200):
        noise = np.kron(rng.normal(0, 0.03, (30, 40)), np.ones((8, 8)))
        placed = locate(mask, depth + noise.astype(np.float32), CAMERA)
        within += abs(placed.position[2] - 2.0) <= 2 * np.sqrt(placed.covariance[2, 2])
    assert 0.88 <= within / 200 <= 1.0


def test_the_rim_of_a_mask_is_not_believed():
    mask, depth = plane(100, 60, 120, 80)
    grown = np.zeros_like(mask)
    grown[59:81, 99:121] = True
    np.testing.assert_allclose(locate(grown, depth, CAMERA).position,
                               locate(mask, depth, CAMERA).position, atol=1e-6)


def test_too_little_depth_is_said_in_words():
    mask, depth = plane(100, 60, 140, 100)
    depth[mask] = np.nan
    depth[70, 110:115] = 2.0
    with pytest.raises(PixelReferError, match='5 of the 1600 pixels') as error:
        locate(mask, depth, CAMERA)
    assert error.value.code == 'NO_POSITION'
    with pytest.raises(PixelReferError, match='no pixel'):
        locate(np.zeros_like(mask), depth, CAMERA)


def test_a_thin_object_keeps_its_rim():
    mask, depth = plane(100, 60, 102, 100)
    assert locate(mask, depth, CAMERA).pixels == 80


def test_depth_of_another_size_is_refused():
    mask, depth = plane(100, 60, 140, 100)
    with pytest.raises(PixelReferError, match='160x120') as error:
        locate(mask, depth[::2, ::2], CAMERA)
    assert error.value.code == 'MASK_SIZE'


#: The optical frame of a camera that looks along x of a frame with z up, from 1 m above its origin.
LOOKS_ALONG_X = Pose.of((-0.5, 0.5, -0.5, 0.5), (0.0, 0.0, 1.0))


def test_in_another_frame_the_same_surface_lies_along_its_axes():
    mask, depth = plane(100, 60, 220, 100)
    seen = locate(mask, depth, CAMERA)
    placed = surface(mask, depth, CAMERA).placed(LOOKS_ALONG_X)
    x, y, z = seen.position
    np.testing.assert_allclose(placed.position, [z, -x, 1 - y], atol=1e-9)
    np.testing.assert_allclose(placed.size, seen.size[[2, 0, 1]], atol=1e-9)
    np.testing.assert_allclose(placed.size_deviation, seen.size_deviation[[2, 0, 1]], atol=1e-9)
    np.testing.assert_allclose(np.diag(placed.covariance), np.diag(seen.covariance)[[2, 0, 1]],
                               atol=1e-12)
    assert (placed.pixels, placed.seen) == (seen.pixels, seen.seen)


def test_extents_are_measured_along_the_axes_and_do_not_grow_by_turning():
    """A square that is seen turned by 45 degrees, in a frame that is turned back."""
    rows, columns = np.mgrid[0:240, 0:320]
    mask = abs(rows - 120) + abs(columns - 160) <= 60
    found = surface(mask, np.full(mask.shape, 2.0, np.float32), CAMERA)
    turned_back = Pose.of((0.0, 0.0, np.sin(np.pi / 8), np.cos(np.pi / 8)), (0.0, 0.0, 0.0))
    side = 60 * np.sqrt(2) * 2 / 300
    assert found.placed(turned_back).size[:2] == pytest.approx([side, side], rel=0.03)
    assert (found.placed().size[:2] > 1.1 * side).all()


def test_the_middle_is_that_of_the_extent():
    """Of an L the median lies in its long arm."""
    mask = np.zeros((240, 320), bool)
    mask[60:160, 100:120] = mask[140:160, 100:200] = True
    placed = locate(mask, np.full(mask.shape, 2.0, np.float32), CAMERA)
    np.testing.assert_allclose(
        placed.middle, [(149.5 - 160) * 2 / 300, (109.5 - 120) * 2 / 300, 2.0], atol=0.01)
    assert abs(placed.position[0] - placed.middle[0]) > 0.05
