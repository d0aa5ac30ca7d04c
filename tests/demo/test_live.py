# SPDX-License-Identifier: Apache-2.0
"""The live demo: three processes that find one another, and nothing left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from demo_support import WATCHDOG_S, until
from oracle import write_discs

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('pixelrefer', reason='the interfaces are not built here')

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts the demo on a bag of the small world of discs; ended afterwards."""
    write_discs(tmp_path / 'bag')
    started = []

    def start(*args: object) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, '-m', 'pixelrefer_ros.demo', '--bag', str(tmp_path / 'bag'),
             '--out', str(tmp_path / 'out'), *map(str, args)],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1'})
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def children(pid: int) -> list[int]:
    """Processes that `pid` started."""
    return [int(word) for path in Path(f'/proc/{pid}/task').glob('*/children')
            for word in path.read_text().split()]


def gone(pid: int) -> bool:
    """Whether there is no such process any more."""
    return not Path(f'/proc/{pid}').exists()


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_an_interrupt_in_the_middle_ends_all_three(demo):
    process = demo()
    while 'What are they?' not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    running = children(process.pid)
    assert len(running) == 3, 'node, player and planner'
    process.send_signal(signal.SIGINT)
    assert process.wait(WATCHDOG_S) == 130
    until(lambda: all(gone(pid) for pid in running), 'the end of every process')


def test_a_node_that_cannot_start_is_told_with_its_reason(demo, tmp_path):
    (tmp_path / 'empty').mkdir()
    process = demo('--tracker-model', tmp_path / 'empty')
    text, errors = process.communicate(timeout=4 * WATCHDOG_S)
    assert process.returncode == 2, text
    assert 'the node did not start' in errors and str(tmp_path / 'empty') in errors
    assert 'Traceback' not in errors
