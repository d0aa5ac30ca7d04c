# SPDX-License-Identifier: Apache-2.0
"""Configured and cleaned up again and again, the node holds nothing of the rounds before."""

import re

from lifecycle_msgs.msg import Transition
from ros_support import NodeProcess, Robot, box
from test_threads import asking, reply_of

from pixelrefer.msg import ErrorCode
from pixelrefer_ros.demo.processes import own_domain

ROUNDS = 4


def test_each_round_of_the_lifecycle_releases_all_that_it_took(tmp_path):
    parameters = {'autostart': False, 'max_tokens': 2}
    with own_domain() as domain, \
            NodeProcess(domain, tmp_path / 'node.log', parameters,
                        module='counting_node') as process, \
            Robot(domain, process) as robot:
        for _ in range(ROUNDS):
            assert robot.change(Transition.TRANSITION_CONFIGURE)
            assert robot.change(Transition.TRANSITION_ACTIVATE)
            robot.watched()
            stamp = robot.clock.tick()
            robot.track(stamp)
            assert robot.add(box('cup'), stamp_ns=stamp).error_code == ErrorCode.OK
            assert reply_of(robot, asking(robot, 'What is it?', 'cup')).error_code == ErrorCode.OK
            assert robot.change(Transition.TRANSITION_DEACTIVATE)
            assert robot.change(Transition.TRANSITION_CLEANUP)
        left = re.findall(r'left: (.*)', process.output)
        frozen = re.findall(r'frozen: (\d+) before, (\d+) after', process.output)
    # What stays is not looked through for garbage while frames are tracked: that takes long.
    assert all(int(before) > 100_000 and after == '0' for before, after in frozen), frozen
    assert len(left) == len(frozen) == ROUNDS
    # The first round may leave what libraries make once and keep.
    assert len(set(left[1:])) == 1, left
    counts = dict(re.findall(r"\('(\w+)', (\d+)\)", left[-1]))
    assert set(counts) == {'tensors', 'workers', 'topics'} and counts['workers'] == '0', counts
