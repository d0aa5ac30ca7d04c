# SPDX-License-Identifier: Apache-2.0
"""What ends in the middle of an answer: the node is deactivated or cleaned up, or the client dies.
Everybody is answered, and nothing of it stays. With a stand-in for the models."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from ros_support import ROOT, SECOND, Goal, running
from rosgraph_msgs.msg import Clock
from standin_node import ENDLESS
from test_threads import answering, asking, reply_of, select

from pixelrefer.msg import ErrorCode
from pixelrefer_ros import conversions

STREAMS = 3
#: A client that sends goals which nobody stops, says how many were accepted, and waits.
CLIENT = '''
import sys
sys.path.insert(0, sys.argv[3])
from builtin_interfaces.msg import Duration
from ros_support import Client, Goal
with Client(int(sys.argv[1])) as client:
    goals = [Goal(client, 'endlessly', 'cup', deadline=Duration(nanosec=300_000_000))
             for _ in range(int(sys.argv[2]))]
    for goal in goals:
        client.until(lambda: goal.feedback or goal._result.done(), 'feedback or an end')
    print('streaming', flush=True)
    client.until(lambda: False, 'the end')
'''


@pytest.fixture(scope='module')
def node(tmp_path_factory: pytest.TempPathFactory):
    """A node that keeps the results of goals for a second only."""
    log = tmp_path_factory.mktemp('midway') / 'node.log'
    with running(log, {'diagnostics_period': 0.1, 'stream_goals': STREAMS}, standin=0.0,
                 forgets=True) as robot:
        yield robot


@pytest.fixture
def robot(node):
    """The same, without objects."""
    node.reset(remove_objects=True)
    return node


def begin_again(robot, *transitions: int) -> None:
    """Transitions to the node that answers again, and an answer."""
    for transition in transitions:
        assert robot.change(transition)
    robot.watched()
    select(robot, 'tray')
    assert robot.ask('What is it?', 'tray').error_code == ErrorCode.OK
    with Goal(robot, 'What is it?', 'tray') as goal:
        assert goal.result().answer.text == 'word word word'


@pytest.mark.parametrize('ways', [
    [Transition.TRANSITION_DEACTIVATE],
    [Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP]],
    ids=['deactivate', 'deactivate and cleanup'])
def test_who_asked_a_node_that_is_deactivated_is_told_so_and_it_answers_again(robot, ways):
    select(robot, 'cup')
    waiting = [asking(robot, ENDLESS, 'cup') for _ in range(2)]
    with Goal(robot, ENDLESS, 'cup') as goal:
        goal.told(2)
        answering(robot, 3)
        for way in ways:
            assert robot.change(way)
        assert goal.result().error_code == ErrorCode.SHUTTING_DOWN
        assert goal.status == GoalStatus.STATUS_ABORTED
    for one in waiting:
        response = reply_of(robot, one)
        assert response.error_code == ErrorCode.SHUTTING_DOWN and response.answer.text == ''
    assert robot.ask('What is it?', 'cup').error_code == ErrorCode.NOT_ACTIVE
    begin_again(robot, *[Transition.TRANSITION_CONFIGURE] * (len(ways) == 2),
                Transition.TRANSITION_ACTIVATE)


def killed_client(robot) -> None:
    """A process with goals under way, killed."""
    with subprocess.Popen(
            [sys.executable, '-c', CLIENT, str(robot.domain), str(STREAMS),
             str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}) as client:
        try:
            assert client.stdout.readline() == 'streaming\n'
        finally:
            client.send_signal(signal.SIGKILL)


def test_goals_of_clients_that_are_killed_end_by_their_deadline_and_free_their_places(robot):
    select(robot, 'cup')
    for _ in range(2):
        killed_client(robot)
        answering(robot, 0)
        # All places at once, which a goal that hangs would not leave.
        goals = [Goal(robot, 'What is it?', 'cup') for _ in range(STREAMS)]
        for goal in goals:
            with goal:
                assert goal.result().error_code == ErrorCode.OK


def forgotten(robot, goal: Goal) -> None:
    """Wait until the node knows nothing of a goal that has ended."""
    def unknown() -> bool:
        asked = goal.handle._action_client._get_result_async(goal.handle)
        robot.until(asked.done, 'a reply')
        return asked.result().status == GoalStatus.STATUS_UNKNOWN

    robot.until(unknown, 'the end of a result')


def test_a_result_that_nobody_fetches_is_kept_for_a_time_and_no_longer(robot):
    select(robot, 'cup')
    with Goal(robot, 'What is it?', 'cup') as goal:
        assert goal.result().error_code == ErrorCode.OK
        forgotten(robot, goal)


def test_a_result_goes_also_where_simulated_time_stands(tmp_path):
    with running(tmp_path / 'node.log', {'use_sim_time': True, 'diagnostics_period': 0.1},
                 standin=0.0, forgets=True) as robot:
        clock = robot.node.create_publisher(Clock, '/clock', 10)
        robot.until(clock.get_subscription_count, 'a node that follows the clock')
        clock.publish(Clock(clock=conversions.time_message(1000 * SECOND)))
        robot.clock.now = 1000 * SECOND
        select(robot, 'cup')
        with Goal(robot, 'What is it?', 'cup') as goal:
            assert goal.result().error_code == ErrorCode.OK
            forgotten(robot, goal)
