# SPDX-License-Identifier: Apache-2.0
"""Frames that come faster than they are tracked; with a stand-in for the models, which is slow."""

from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from ros_support import click, image_message, picture, running, to_ns
from sensor_msgs.msg import Image

from pixelrefer.msg import ErrorCode

NAMES = ('seen', 'tracked', 'dropped', 'rejected', 'out_of_order', 'failed')


def test_the_newest_frame_wins_and_those_that_are_dropped_are_counted_and_held(tmp_path):
    parameters = {'diagnostics_period': 0.1}
    with running(tmp_path / 'node.log', parameters, standin=0.3) as robot:
        small = picture(size=(64, 48))
        stamps = [robot.clock.tick() for _ in range(8)]
        for stamp in stamps:
            robot.send(stamp, small)
        last = robot.objects_of(stamps[-1])

        def counts() -> dict[str, int] | None:
            values = robot.values()
            found = {name: int(values[f'frames_{name}']) for name in NAMES}
            whole = 2 * found['seen'] == sum(found.values())
            return found if whole and found['tracked'] == len(robot.objects) else None

        found = robot.until(counts, 'counts that add up')
        assert found['seen'] == 8 and found['tracked'] < 8 and found['dropped']
        tracked = [to_ns(m.header.stamp) for m in robot.objects]
        assert tracked == sorted(tracked) and robot.objects[-1] is last

        dropped = next(stamp for stamp in stamps if stamp not in tracked)
        added = robot.add(click(15, 15, 'cup'), stamp_ns=dropped)
        assert added.error_code == ErrorCode.OK and to_ns(added.stamp_used) == dropped


def test_in_lockstep_a_publisher_that_runs_ahead_loses_no_frame(tmp_path):
    with running(tmp_path / 'node.log', {'lockstep': True}, standin=0.005) as robot:
        keep_all = QoSProfile(
            history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)
        camera = robot.node.create_publisher(Image, 'image', keep_all)
        robot.until(camera.get_subscription_count, 'a node that listens')
        small = picture(size=(64, 48))
        stamps = [robot.clock.tick() for _ in range(300)]
        for stamp in stamps:
            camera.publish(image_message(stamp, small))
        robot.objects_of(stamps[-1])
        assert [to_ns(m.header.stamp) for m in robot.objects] == stamps
