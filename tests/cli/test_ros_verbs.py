# SPDX-License-Identifier: Apache-2.0
"""Verbs that need ROS 2 are listed everywhere and imported only when they are asked for."""

import subprocess
import sys

import pytest
from cli_support import ROOT

from pixelrefer_model.cli.main import ROS_VERBS

#: Runs the command line where nothing of ROS can be imported.
WITHOUT_ROS = '''
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('rclpy', 'pixelrefer'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Absent())
from pixelrefer_model.cli import main
sys.exit(main(sys.argv[1:]))
'''


def without_ros(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', WITHOUT_ROS, *arguments], cwd=ROOT, text=True,
                          capture_output=True, timeout=300, check=False)


def test_the_help_lists_them_without_ros():
    result = without_ros('--help')
    assert result.returncode == 0, result.stderr
    for verb, (_, says) in ROS_VERBS.items():
        assert verb in result.stdout and says in result.stdout


@pytest.mark.parametrize('verb', sorted(ROS_VERBS))
def test_without_ros_they_say_what_is_missing(verb):
    result = without_ros(verb, 'something')
    assert result.returncode == 2
    line, = result.stderr.splitlines()
    assert f'{verb} needs ROS 2' in line and 'rclpy' in line and 'docs/install.md' in line
