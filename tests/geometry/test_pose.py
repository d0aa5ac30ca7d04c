# SPDX-License-Identifier: Apache-2.0
"""A pose turns points and errors as the transforms of ROS do."""

import numpy as np
import pytest

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.geometry import Pose

HALF = np.sqrt(0.5)


@pytest.mark.parametrize('quaternion, turned', [
    ((0, 0, 0, 1), (1, 2, 3)), ((0, 0, HALF, HALF), (-2, 1, 3)), ((HALF, 0, 0, HALF), (1, -3, 2)),
    ((0, HALF, 0, HALF), (3, 2, -1)), ((0, 0, 1, 0), (-1, -2, 3)),
    ((-0.5, 0.5, -0.5, 0.5), (3, -1, -2)), ((0.5, -0.5, 0.5, -0.5), (3, -1, -2))])
def test_a_quaternion_turns_as_x_y_z_w(quaternion, turned):
    """Quarter turns about each axis, and from the optical frame to the one of the robot."""
    pose = Pose.of(quaternion, (10.0, 20.0, 30.0))
    np.testing.assert_allclose(pose.points(np.array([[1.0, 2.0, 3.0]])),
                               [np.add(turned, (10, 20, 30))], atol=1e-12)


def test_every_rotation_is_one():
    rng = np.random.default_rng(0)
    for quaternion in rng.normal(0, 3, (50, 4)):
        rotation = Pose.of(quaternion, (0, 0, 0)).rotation
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_an_error_turns_with_its_point():
    rng = np.random.default_rng(1)
    errors = rng.normal(0, (0.01, 0.02, 0.05), (20_000, 3))
    pose = Pose.of((0.3, -0.5, 0.2, 0.8), (1.0, 2.0, 3.0))
    turned = np.cov(pose.points(errors).T)
    np.testing.assert_allclose(pose.covariance(np.cov(errors.T)), turned, atol=1e-12)
    np.testing.assert_allclose(pose.deviations(np.array([0.01, 0.02, 0.05])),
                               np.sqrt(np.diag(turned)), rtol=0.03)


@pytest.mark.parametrize('quaternion, translation', [
    ((0, 0, 0, 0), (0, 0, 0)), ((0, 0, np.nan, 1), (0, 0, 0)), ((0, 0, 0, 1), (np.inf, 0, 0))])
def test_what_is_no_pose_is_refused(quaternion, translation):
    with pytest.raises(PixelReferError, match='are allowed') as error:
        Pose.of(quaternion, translation)
    assert error.value.code == 'NO_POSITION'
