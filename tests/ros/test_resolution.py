# SPDX-License-Identifier: Apache-2.0
"""A camera may change its resolution while objects are tracked: what is published is of the image
that it belongs to."""

import cv2
import numpy as np
import pytest
from ros_support import SECOND, box, box_mask, mask, picture
from sensor_msgs.msg import Image

from pixelrefer.msg import ErrorCode, TrackedObject
from pixelrefer_ros import conversions


@pytest.mark.parametrize('size', [(160, 120), (480, 360), (240, 240)])
def test_an_object_is_followed_into_images_of_another_size(robot, size):
    labels: list[Image] = robot.collect(Image, 'label_image')
    robot.until(lambda: robot.node.count_subscribers('/pixelrefer/label_image'), 'a listener')
    stamp = robot.clock.tick()
    robot.track(stamp)
    assert robot.add(mask('cup'), stamp_ns=stamp).error_code == ErrorCode.OK
    width, height = size
    small = cv2.resize(picture(), size, interpolation=cv2.INTER_AREA)
    expected = cv2.resize(box_mask().astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
    for image, whole, (w, h) in ((small, expected, size), (picture(), box_mask(), (320, 240))):
        stamp = robot.clock.tick()
        tracked = robot.track(stamp, image)
        assert (tracked.width, tracked.height) == (w, h)
        cup, = tracked.objects
        assert cup.state == TrackedObject.TRACKED and cup.position_error
        found = conversions.mask_from(cup.mask)
        assert found.shape == (h, w)
        assert (found & whole).sum() > 0.7 * (found | whole).sum()
        shown = robot.until(lambda: next(
            (m for m in labels if conversions.nanoseconds(m.header.stamp) == stamp), None),
            'labels')
        assert (shown.width, shown.height) == (w, h)
    assert robot.ask('What is it?', 'cup').error_code == ErrorCode.OK


def test_a_prompt_counts_in_the_pixels_of_its_own_frame_whatever_came_since(robot):
    old = robot.clock.tick()
    robot.track(old)
    robot.track(robot.clock.tick(), cv2.resize(picture(), (160, 120)))
    added = robot.add(box('cup'), stamp_ns=old)
    assert added.error_code == ErrorCode.OK, added.error_msg
    refused = robot.add(box('other'), use_newest=True)
    assert refused.error_code == ErrorCode.OUT_OF_IMAGE and '160' in refused.error_msg
    # Over a second later, so that it is not of the frames that may be caught up.
    tracked = robot.track(robot.clock.tick(2 * SECOND), cv2.resize(picture(), (160, 120)))
    cup, = tracked.objects
    assert cup.state == TrackedObject.TRACKED
    assert 0 <= cup.box.x and cup.box.x + cup.box.width <= 160
