# SPDX-License-Identifier: Apache-2.0
"""Simulated time: a jump of the ROS clock starts one new epoch, its own pace none."""

from ros_support import SECOND, click, running, to_ns
from rosgraph_msgs.msg import Clock as ClockMessage

from pixelrefer.msg import ErrorCode, Event, TrackedObject
from pixelrefer_ros import conversions


def test_a_bag_that_starts_over_starts_one_epoch(tmp_path):
    parameters = {'use_sim_time': True, 'diagnostics_period': 0.1}
    with running(tmp_path / 'node.log', parameters, standin=0.0) as robot:
        clock = robot.node.create_publisher(ClockMessage, '/clock', 10)
        robot.until(clock.get_subscription_count, 'a node that follows the clock')

        def play(stamp: int) -> int:
            def taken() -> bool:
                # Again and again, as a clock does: the node listens to it with best effort. It
                # has taken the time when its diagnostics carry it.
                clock.publish(ClockMessage(clock=conversions.time_message(stamp)))
                return robot.diagnostics and to_ns(robot.diagnostics[-1].header.stamp) == stamp

            robot.until(taken, 'the time')
            return stamp

        robot.track(play(1000 * SECOND))
        assert robot.add(click(15, 15, 'cup'), stamp_ns=1000 * SECOND).error_code == ErrorCode.OK
        for step in range(1, 4):
            robot.track(play(1000 * SECOND + step * SECOND))
        assert robot.list().epoch == 0

        play(500 * SECOND)
        began = robot.until(
            lambda: [e for e in robot.events if e.kind == Event.NEW_EPOCH], 'an epoch')
        assert 'clock' in began[0].error_msg
        array = robot.track(500 * SECOND)
        assert array.epoch == 1
        assert [(o.id, o.state) for o in array.objects] == [('cup', TrackedObject.LOST)]

        # The other way round: an image of the new time comes before the clock does.
        assert robot.track(100 * SECOND).epoch == 2
        play(100 * SECOND)
        assert robot.track(101 * SECOND).epoch == 2
        assert len([e for e in robot.events if e.kind == Event.NEW_EPOCH]) == 2
