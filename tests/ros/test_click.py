# SPDX-License-Identifier: Apache-2.0
"""~/click selects on exactly the image that was shown, corrects where it is told to, and what
cannot be served is an event, since there is nobody to reply to."""

import pytest
from geometry_msgs.msg import Point, PointStamped

from pixelrefer.msg import ErrorCode, Event
from pixelrefer_ros import conversions


@pytest.fixture
def press(quick):
    publisher = quick.node.create_publisher(PointStamped, '/pixelrefer/click', 10)
    quick.until(publisher.get_subscription_count, 'a subscription to clicks')

    def press(x: float, y: float, stamp_ns: int = 0) -> None:
        message = PointStamped(point=Point(x=x, y=y))
        message.header = conversions.header_message(stamp_ns, 'camera_optical_frame')
        publisher.publish(message)
    yield press
    quick.set_parameters(click_corrects='', click_label=1)
    quick.node.destroy_publisher(publisher)


def faults(robot, since: int) -> list[Event]:
    return [event for event in robot.events[since:] if event.kind == Event.FAULT]


def test_a_click_selects_on_the_image_that_was_shown(quick, press):
    shown, newest = quick.clock.tick(), quick.clock.tick()
    for stamp in (shown, newest):
        quick.track(stamp)
    seen = len(quick.events)
    press(15.0, 15.0, shown)
    added = quick.until(lambda: next((event for event in quick.events[seen:]
                                      if event.kind == Event.OBJECT_ADDED), None), 'an object')
    assert conversions.nanoseconds(added.header.stamp) == shown
    assert [one.id for one in quick.list().objects] == ['object_1']


def test_a_click_without_a_stamp_is_of_the_newest_image(quick, press):
    quick.track(quick.clock.tick())
    for count in (1, 2):
        press(15.0, 15.0)
        quick.until(lambda: len(quick.list().objects) == count, 'another object')


def test_a_click_corrects_the_object_that_the_parameter_names(quick, press):
    quick.track(quick.clock.tick())
    press(15.0, 15.0)
    quick.until(lambda: len(quick.list().objects) == 1, 'an object')
    assert [r.successful for r in quick.set_parameters(
        click_corrects='object_1', click_label=0)] == [True, True], 'while the node is active'
    seen = len(quick.events)
    press(18.0, 12.0)
    quick.track(quick.clock.tick())
    assert [one.id for one in quick.list().objects] == ['object_1']
    assert not faults(quick, seen)
    quick.set_parameters(click_corrects='fork')
    press(18.0, 12.0)
    event = quick.until(lambda: next(iter(faults(quick, seen)), None), 'a fault')
    assert event.error_code == ErrorCode.UNKNOWN_ID and 'fork' in event.error_msg


@pytest.mark.parametrize('x, y, back, code', [
    (5000.0, 15.0, 0, ErrorCode.OUT_OF_IMAGE), (float('nan'), 1.0, 0, ErrorCode.NOT_FINITE),
    (15.0, 15.0, 7, ErrorCode.STAMP_TOO_OLD)])
def test_what_cannot_be_served_is_an_event_with_the_reason(quick, press, x, y, back, code):
    stamp = quick.clock.tick()
    quick.track(stamp)
    seen = len(quick.events)
    press(x, y, stamp - back)
    event = quick.until(lambda: next(iter(faults(quick, seen)), None), 'a fault')
    assert event.error_code == code and event.error_msg
    assert quick.list().objects == []
