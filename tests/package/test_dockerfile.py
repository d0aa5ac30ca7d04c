# SPDX-License-Identifier: Apache-2.0
"""The Dockerfile installs what the guide tells a robot to install, and its commands parse."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / 'Dockerfile').read_text()
#: Instructions, with their continued lines joined and the comments left out.
STEPS = re.findall(r'^([A-Z]+) (.*)$', re.sub(
    r'\\\n\s*', '', re.sub(r'^#.*\n', '', TEXT, flags=re.MULTILINE)), re.MULTILINE)


def of(kind: str) -> list[str]:
    return [rest for name, rest in STEPS if name == kind]


def test_pip_installs_what_the_guide_says():
    guide = (ROOT / 'docs' / 'install.md').read_text()
    line = re.search(r'venv/bin/pip install .*?\n\n?(?=    source)', guide, re.DOTALL).group(0)
    wanted = set(line.split('\\\n')[1].split())
    install, = (step for step in of('RUN') if 'pip install' in step)
    assert wanted and {'torch' if word == '${TORCH}' else word for word in
                       re.search(r'constraints.txt\s+(\$.*?) &&', install).group(1).split()} == wanted
    assert of('ARG') == ['TORCH=torch']


def test_it_is_of_the_distribution_that_the_package_is_for():
    assert of('FROM') == ['ros:jazzy']
    assert all('/opt/ros/jazzy/' in step for step in of('RUN') if '/opt/ros' in step)


@pytest.mark.parametrize('script', [*of('RUN'), json.loads(of('ENTRYPOINT')[0])[2]])
def test_its_commands_parse(script):
    subprocess.run(['bash', '-n', '-c', script], check=True, timeout=60)


def test_a_container_is_ended_as_ros2_launch_has_to_be():
    assert of('STOPSIGNAL') == ['SIGINT']


def test_what_it_starts_is_there():
    package, file = json.loads(of('CMD')[0])[2:]
    assert package == 'pixelrefer' and (ROOT / 'launch' / file).is_file()
