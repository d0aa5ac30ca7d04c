# SPDX-License-Identifier: Apache-2.0
"""Where bondpy is installed a lifecycle manager can bond with the node while it is active."""

import os

import pytest
from lifecycle_msgs.msg import Transition
from ros_support import running

PARAMETERS = {'diagnostics_period': 0.1, 'bond_timeout': 60.0}


@pytest.fixture
def bondpy():
    return pytest.importorskip('bondpy.bondpy')


class Manager:
    """The other end of the bond, as a lifecycle manager makes it once the node is active. A context
    manager: a bond that is left to itself starts a thread when Python ends, and hangs it."""

    def __init__(self, bondpy, robot, timeout: float) -> None:
        self.formed, self.broken = [], []
        self.bond = bondpy.Bond(robot.node, '/bond', 'pixelrefer',
                                on_formed=lambda: self.formed.append(1),
                                on_broken=lambda: self.broken.append(1))
        self.bond.heartbeat_timeout = self.bond.connect_timeout = timeout
        self.bond.heartbeat_period = 0.1
        self.bond.start()
        self._node = robot.node

    def __enter__(self) -> 'Manager':
        return self

    def __exit__(self, *_: object) -> None:
        self.fall_silent()

    def fall_silent(self) -> None:
        """As a process that was killed: it lets nobody know."""
        if self.bond.is_shutdown:
            return
        self.bond.set_broken_callback(None)
        with self.bond.lock:
            self.bond.is_shutdown = True
            self.bond.condition.notify_all()
        self.bond.thread.join()
        self._node.destroy_subscription(self.bond.sub)
        self._node.destroy_publisher(self.bond.pub)


def state(robot) -> tuple[bytes, str]:
    return next(((status.level, status.message) for array in robot.diagnostics[-1:]
                 for status in array.status if status.name.endswith('bond')), (b'', ''))


def test_a_bond_is_formed_while_active_and_broken_at_once_when_not(bondpy, tmp_path):
    with running(tmp_path / 'node.log', PARAMETERS, standin=0.0) as robot:
        for _ in range(2):
            with Manager(bondpy, robot, timeout=600.0) as manager:
                robot.until(lambda: manager.formed, 'a bond')
                robot.until(lambda: state(robot)[1] == 'bonded', 'the bond in diagnostics')
                assert robot.change(Transition.TRANSITION_DEACTIVATE)
                # Long before a heartbeat would be missed: the node says so itself.
                robot.until(lambda: manager.broken, 'the end of the bond')
                robot.until(lambda: robot.node.count_publishers('/bond') == 1, 'no publisher')
            assert robot.change(Transition.TRANSITION_ACTIVATE)
            robot.watched()


def test_a_manager_that_is_gone_is_told_of_and_the_node_goes_on(bondpy, tmp_path):
    with running(tmp_path / 'node.log', {**PARAMETERS, 'bond_timeout': 1.0}, standin=0.0) as robot:
        for times in (1, 2):
            with Manager(bondpy, robot, timeout=600.0) as manager:
                robot.until(lambda: manager.formed, 'a bond')
            robot.until(lambda: robot.process.output.count('bond with the lifecycle manager broke')
                        == times, 'a warning')
            robot.until(lambda: state(robot) == (b'\1', 'the manager is gone'), 'diagnostics')
            robot.track(robot.clock.tick())
            assert robot.change(Transition.TRANSITION_DEACTIVATE)
            assert robot.change(Transition.TRANSITION_ACTIVATE)
            robot.watched()


def test_a_bond_that_is_not_wanted_is_not_there(bondpy, tmp_path):
    with running(tmp_path / 'node.log', {**PARAMETERS, 'bond_timeout': 0.0}, standin=0.0) as robot:
        robot.until(lambda: state(robot)[1] == 'off', 'diagnostics')
        assert not robot.node.count_publishers('/bond')


def test_without_bondpy_the_node_is_active_and_says_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / 'bondpy.py').write_text("raise ImportError('not on this machine')\n")
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(
        [str(tmp_path), os.environ.get('PYTHONPATH', '')]))
    with running(tmp_path / 'node.log', PARAMETERS, standin=0.0) as robot:
        robot.until(lambda: state(robot)[1] == 'bondpy is not installed', 'diagnostics')
        assert 'bond with a lifecycle manager with bondpy' in robot.process.output
        assert not robot.node.count_publishers('/bond')
