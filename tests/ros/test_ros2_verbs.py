# SPDX-License-Identifier: Apache-2.0
"""`ros2 pixelrefer VERB` against a real node: what it prints, and its exit status."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from action_msgs.msg import GoalStatus, GoalStatusArray
from ros_support import ROOT, WATCHDOG, Robot, click, picture
from standin_node import ENDLESS

pytest.importorskip('ros2cli', reason='ros2cli is not installed')

ROS2 = [sys.executable, '-c', 'import sys; from ros2cli.cli import main; sys.exit(main())']


@pytest.fixture(scope='session')
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an installation tells the `ros2` command of this package."""
    folder = tmp_path_factory.mktemp('plugins')
    subprocess.run([sys.executable, 'setup.py', '-q', 'egg_info', '--egg-base', folder], cwd=ROOT,
                   check=True, capture_output=True, timeout=WATCHDOG)
    return folder


@pytest.fixture
def start(plugins: Path) -> Callable[..., subprocess.Popen]:
    """Starts `ros2 pixelrefer ARGS...` on a node's domain."""
    def popen(robot: Robot, *arguments: object) -> subprocess.Popen:
        path = os.pathsep.join([str(plugins), str(ROOT), os.environ.get('PYTHONPATH', '')])
        return subprocess.Popen(
            [*ROS2, 'pixelrefer', *map(str, arguments)], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={
                **os.environ, 'PYTHONPATH': path, 'ROS_DOMAIN_ID': str(robot.domain),
                'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'})
    return popen


@pytest.fixture
def ros2(start: Callable[..., subprocess.Popen]) -> Callable[..., tuple[int, str, str]]:
    """Runs `ros2 pixelrefer ARGS...`: status, stdout, stderr."""
    def run(robot: Robot, *arguments: object) -> tuple[int, str, str]:
        process = start(robot, *arguments)
        out, err = process.communicate(timeout=WATCHDOG)
        return process.returncode, out, err
    return run


def test_every_verb_is_found_and_says_what_it_does(quick, ros2):
    status, out, _ = ros2(quick)
    verbs = sorted(path.stem for path in (ROOT / 'pixelrefer_ros' / 'verbs').glob('*.py')
                   if path.stem not in ('__init__', 'command'))
    assert status == 0
    for verb in verbs:
        assert f'\n  {verb} ' in out
        status, told, _ = ros2(quick, verb, '--help')
        assert status == 0 and '--node' in told


def test_an_object_is_tracked_listed_described_and_asked_about(robot, ros2):
    robot.track(robot.clock.tick(), picture())
    status, out, err = ros2(robot, 'track', 'red', '--box', '60,80,120,150')
    assert (status, err) == (0, '') and out.startswith('red  TRACKED')
    assert [one.id for one in robot.list().objects] == ['red']
    status, listed, _ = ros2(robot, 'list')
    assert status == 0 and listed.startswith('red  TRACKED') and '  box ' in listed
    status, out, _ = ros2(robot, 'describe', '--detail', 'category')
    assert status == 0 and out.startswith('red: ')
    before = len(robot.answers)
    status, out, _ = ros2(robot, 'ask', 'What colour is <object:red>?', '--max-tokens', 4)
    answer = robot.until(lambda: robot.answers[before:], 'the answer')[0]
    assert (status, out.strip()) == (0, answer.text.strip())


def test_what_is_not_tracked_any_more_is_found(robot, ros2):
    robot.track(robot.clock.tick(), picture())
    ros2(robot, 'track', 'red', '--box', '60,80,120,150')
    text = robot.describe('red', detail='phrase').answers[0].text
    robot.remove('red')
    status, out, _ = ros2(robot, 'find', *text.split())
    assert status == 0 and out.startswith('red  1.00  not tracked  seen last at ') and text in out
    assert ros2(robot, 'find', 'xylophone') == (1, '', '')


def test_clicks_on_and_off_an_object_select_it(robot, ros2):
    robot.track(robot.clock.tick(), picture())
    status, out, _ = ros2(robot, 'track', '--click', '90,115', '--click', '100,120', '--off', '10,10')
    assert status == 0 and out.split()[0] == robot.list().objects[0].id


@pytest.mark.parametrize(('arguments', 'told'), [
    (['track', 'red', '--box', '60,80,60,80'], 'BAD_BOX'),
    (['track', 'red'], 'NO_PROMPT'),
    (['describe', 'nobody'], "UNKNOWN_ID: no object 'nobody'"),
    (['ask', ''], 'EMPTY_QUESTION'),
    (['list', '--camera', 'nowhere'], 'UNKNOWN_CAMERA'),
    (['list', '--node', '/nowhere'], 'there is no node /nowhere; --node may be /pixelrefer')])
def test_an_error_is_the_nodes_words_and_status_1(robot, ros2, arguments, told):
    robot.track(robot.clock.tick(), picture())
    status, out, err = ros2(robot, *arguments)
    assert (status, out) == (1, '')
    line, = err.splitlines()
    assert line.startswith(told)


def test_a_box_that_cannot_be_read_is_refused_before_a_node_is_looked_for(quick, ros2):
    status, _, err = ros2(quick, 'track', 'red', '--box', '1,2')
    assert status == 2 and 'X0,Y0,X1,Y1 is allowed' in err


def test_ctrl_c_cancels_the_answer_that_is_under_way(quick, start):
    quick.track(quick.clock.tick())
    quick.add(click(15, 15, 'cup'), use_newest=True)
    told = quick.collect(GoalStatusArray, '/pixelrefer/ask_stream/_action/status')
    asking = start(quick, 'ask', ENDLESS)
    assert asking.stdout.read(1)
    asking.send_signal(signal.SIGINT)
    asking.communicate(timeout=WATCHDOG)
    assert asking.returncode != 0
    ended = quick.until(lambda: told and told[-1].status_list and (
        told[-1].status_list[-1].status not in (GoalStatus.STATUS_EXECUTING,
                                                GoalStatus.STATUS_CANCELING)) and told[-1],
                        'the end of the goal')
    assert ended.status_list[-1].status == GoalStatus.STATUS_CANCELED
