# SPDX-License-Identifier: Apache-2.0
"""What the README shows is run as it stands there."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from demo_support import WATCHDOG_S

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('pixelrefer', reason='the interfaces are not built here')

ROOT = Path(__file__).parents[2]
README = (ROOT / 'README.md').read_text()


def commands() -> list[list[str]]:
    """The three commands of the section on use, without `./run`."""
    section = README.split('## Use')[1].split('```')[0]
    return [line.split()[1:] for line in re.findall(r'^    (\./run .*)$', section, re.MULTILINE)]


def test_the_program_in_the_readme_gets_its_answers(
        start: Callable[..., subprocess.Popen], domain: int, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    player, node, asks = commands()
    assert (player[:2], node[0], asks) == (
        ['python', '-m'], 'pixelrefer_node', ['python', 'ask.py'])
    program = README.split('```python\n')[1].split('```')[0]
    (tmp_path / 'ask.py').write_text(program)
    start('pixelrefer_ros.node', *node[1:])
    start(player[2], *player[3:])
    # It is to wait until the node is active, and until that has an image.
    asking = subprocess.run(
        [sys.executable, tmp_path / 'ask.py'], text=True, capture_output=True,
        timeout=10 * WATCHDOG_S,
        env={**os.environ, 'ROS_DOMAIN_ID': str(domain), 'PYTHONPATH': str(ROOT)})  # as ./run does
    assert asking.returncode == 0, asking.stderr
    assert len(asking.stdout.splitlines()) == 3 and '' not in asking.stdout.splitlines()
