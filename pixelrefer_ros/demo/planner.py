# SPDX-License-Identifier: Apache-2.0
"""The planner's process: asks a live node over ROS 2, and judges what it is told.

    python -m pixelrefer_ros.demo.planner

It waits for the node, opens its eyes (at which the player begins), and runs the script.
"""

import argparse
import signal
import sys

from pixelrefer_ros.demo.report import Report
from pixelrefer_ros.demo.robot import NS, RobotError
from pixelrefer_ros.demo.ros_robot import RosRobot
from pixelrefer_ros.demo.run import CAMERA, NO_RUN, latency, options, play
from pixelrefer_ros.demo.script import Planner
from pixelrefer_ros.demo.truth import Truth, TruthError


def measured(robot: RosRobot, planner: Planner) -> list[tuple[str, str]]:
    """Frames, rate and latency of a live run."""
    shown, tracked = len(robot.recording.pictures), robot.recording.tracked_ns
    seconds = (tracked[-1] - tracked[0]) / NS if len(tracked) > 1 else 0.0
    rate = f', {(len(tracked) - 1) / seconds:.1f} Hz' if seconds else ''
    return [('frames', f'{shown} seen, {len(tracked)} tracked{rate}, '
                       f'{shown - len(tracked)} dropped'), *latency(planner)]


def main(argv: list[str] | None = None) -> int:
    """Run the script against a live node; see `play` for the exit status."""
    parser = argparse.ArgumentParser(prog='python -m pixelrefer_ros.demo.planner')
    options(parser)
    args = parser.parse_args(argv)
    report = Report()
    robot = RosRobot(CAMERA)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: robot.stop())
    try:
        truth = Truth.load(args.bag)
        with robot:
            report.fact('node', f'ready after {robot.wait_ready():.1f} s')
            return play(robot, truth, report, args.out, lambda p: measured(robot, p))
    except (RobotError, TruthError) as error:
        print(f'demo: {error}', file=sys.stderr)
        return NO_RUN


if __name__ == '__main__':
    sys.exit(main())
