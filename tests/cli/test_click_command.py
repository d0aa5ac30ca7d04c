# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer click` is named in the help everywhere, and what it lacks is said in a line."""

import subprocess
import sys
from importlib.util import find_spec

import pytest
from cli_support import ROOT

there = pytest.mark.skipif(
    not all(map(find_spec, ('rclpy', 'pixelrefer', 'aiohttp'))), reason='no ROS 2, or no aiohttp')


def without(*modules: str, line: list[str]) -> subprocess.CompletedProcess:
    """`pixelrefer LINE` where these modules cannot be imported."""
    code = (f'import sys\nsys.modules.update(dict.fromkeys({modules!r}))\n'
            f'from pixelrefer_model.cli import main\nsys.exit(main({line!r}))')
    return subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
                          timeout=120, check=False)


def test_the_help_names_it_where_ros_is_not_installed():
    result = without('pixelrefer_ros', 'rclpy', 'aiohttp', line=['--help'])
    assert result.returncode == 0 and 'click' in result.stdout


@pytest.mark.parametrize('module, told', [
    ('pixelrefer_ros', 'pixelrefer_ros'),
    pytest.param('rclpy', 'cannot be imported here', marks=there, id='rclpy'),
    ('aiohttp', 'pip install aiohttp')])
def test_what_is_missing_is_one_line(module, told):
    result = without(module, line=['click'])
    assert (result.returncode, result.stdout) == (2, '')
    assert len(result.stderr.splitlines()) == 1 and told in result.stderr


@there
@pytest.mark.parametrize('port', ['-1', '65536', 'http'])
def test_a_wrong_port_is_refused(port):
    result = without(line=['click', f'--port={port}'])
    assert result.returncode == 2 and '0 to 65535 is allowed' in result.stderr
