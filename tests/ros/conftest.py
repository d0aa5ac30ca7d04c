# SPDX-License-Identifier: Apache-2.0
"""Nodes that tests share. Each has a ROS domain of its own; tests leave it without objects."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
#: Where there is no ROS 2, or the interfaces are not built, there is nothing to test here.
collect_ignore_glob = [] if all(map(find_spec, ('rclpy', 'pixelrefer'))) else ['test_*.py']
if not collect_ignore_glob:
    from ros_support import Robot, running


@pytest.fixture(scope='session')
def real_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator['Robot']:
    """A node with the packaged models."""
    log = tmp_path_factory.mktemp('real') / 'node.log'
    with running(log, {'stamp_wait': 0.3, 'diagnostics_period': 0.2, 'max_tokens': 4,
                       'publish_masks': True}) as robot:
        yield robot


@pytest.fixture
def robot(real_node: 'Robot') -> Iterator['Robot']:
    """The shared node with the packaged models, without objects and memories."""
    real_node.empty()
    yield real_node


@pytest.fixture(scope='session')
def quick_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator['Robot']:
    """The node around a stand-in for its models: for tests of threads."""
    log = tmp_path_factory.mktemp('quick') / 'node.log'
    with running(log, {'stamp_wait': 5.0, 'question_queue': 3, 'diagnostics_period': 0.1,
                       'answer_batch': 3, 'stream_goals': 3},
                 standin=0.0) as robot:
        yield robot


@pytest.fixture
def quick(quick_node: 'Robot') -> Iterator['Robot']:
    """The shared node around a stand-in, without objects."""
    quick_node.reset(remove_objects=True)
    yield quick_node
