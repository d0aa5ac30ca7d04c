# SPDX-License-Identifier: Apache-2.0
"""Nodes that tests share. Each has a ROS domain of its own; tests leave it without objects."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('pixelrefer', reason='the interfaces are not built here')

import ros_support  # noqa: E402


class Robot(ros_support.Client):
    """A client with the node that it talks to and the camera's clock."""

    def __init__(self, domain: int, process: ros_support.NodeProcess) -> None:
        super().__init__(domain, process)
        self.process = process
        self.clock = ros_support.Clock()


@contextmanager
def running(log: Path, parameters: dict[str, Any], *, active: bool = True,
            standin: float | None = None) -> Iterator[Robot]:
    """A node with a client. standin: seconds that a step of a stand-in for the models takes."""
    program = {} if standin is None else {
        'module': 'standin_node', 'arguments': (str(standin),)}
    with ros_support.free_domain() as domain, \
            ros_support.NodeProcess(domain, log, parameters, **program) as process, \
            Robot(domain, process) as robot:
        if active:
            robot.wait_active()
        yield robot


@pytest.fixture(scope='session')
def real_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """A node with the packaged models."""
    log = tmp_path_factory.mktemp('real') / 'node.log'
    with running(log, {'stamp_wait': 0.3, 'diagnostics_period': 0.2, 'max_tokens': 4,
                       'publish_masks': True}) as robot:
        yield robot


@pytest.fixture
def robot(real_node: Robot) -> Iterator[Robot]:
    """The shared node with the packaged models, without objects."""
    real_node.reset(remove_objects=True)
    yield real_node


@pytest.fixture(scope='session')
def quick_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """The node around a stand-in for its models: for tests of threads."""
    log = tmp_path_factory.mktemp('quick') / 'node.log'
    with running(log, {'stamp_wait': 5.0, 'question_queue': 3, 'diagnostics_period': 0.1},
                 standin=0.0) as robot:
        yield robot


@pytest.fixture
def quick(quick_node: Robot) -> Iterator[Robot]:
    """The shared node around a stand-in, without objects."""
    quick_node.reset(remove_objects=True)
    yield quick_node
