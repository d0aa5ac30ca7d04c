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

#: Frames tracked per second of the recording under which much is missed.
SLOW_HZ = 4.0


def measured(robot: RosRobot, planner: Planner) -> list[tuple[str, str]]:
    """Frames (as the node counts them in /diagnostics), tracking rate and latency of a live run."""
    tracked, said = robot.recording.tracked_ns, robot.diagnostics
    seconds = (tracked[-1] - tracked[0]) / NS if len(tracked) > 1 else 0.0
    rate = (len(tracked) - 1) / seconds if seconds else 0.0
    lines = [
        ('frames', f"{len(robot.recording.pictures)} shown, {said.get('frames_seen', '?')} seen by "
                   f"the node, {said.get('frames_dropped', '?')} dropped for newer ones"),
        ('tracking', f"{rate:.1f} frames per second of the recording, "
                     f"{float(said.get('tracking_latency_ms', 'nan')):.0f} ms from a frame to its "
                     'masks'),
        *latency(planner)]
    if rate < SLOW_HZ:
        lines.append(('note', f'under {SLOW_HZ:g} frames per second much is missed: this machine is '
                              'slow or busy; --rate 0.5 gives it more time'))
    return lines


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
