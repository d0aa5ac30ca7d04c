# SPDX-License-Identifier: Apache-2.0
"""One package for colcon and for pip: what its metadata files say agrees."""

import ast
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import pixelrefer_model

try:
    import tomllib
except ModuleNotFoundError:
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ElementTree.parse(ROOT / 'package.xml').getroot()
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())

#: rosdep keys that apt serves on Ubuntu 24.04: packages of ROS 2 Jazzy and of Ubuntu.
APT_KEYS = {
    'action_msgs', 'ament_cmake', 'ament_cmake_pytest', 'ament_cmake_python', 'ament_index_python',
    'bondpy', 'builtin_interfaces', 'diagnostic_msgs', 'geometry_msgs', 'lifecycle_msgs',
    'python3-aiohttp', 'python3-numpy', 'python3-opencv', 'python3-pil', 'python3-pytest',
    'rcl_interfaces', 'rclpy', 'ros2cli', 'ros2launch', 'rosgraph_msgs',
    'rosidl_default_generators', 'rosidl_default_runtime', 'sensor_msgs', 'std_msgs', 'std_srvs',
    'tf2_ros_py', 'vision_msgs',
}


def test_package_xml_is_what_ros_2_tools_expect():
    assert PACKAGE.tag == 'package' and PACKAGE.get('format') == '3'
    assert PACKAGE.findtext('name') == 'pixelrefer'
    assert PACKAGE.findtext('license') == PROJECT['project']['license'] == 'Apache-2.0'
    assert PACKAGE.findtext('member_of_group') == 'rosidl_interface_packages'
    assert PACKAGE.findtext('export/build_type') == 'ament_cmake'
    assert '@' in PACKAGE.find('maintainer').get('email')


def test_every_dependency_of_package_xml_comes_from_apt():
    """A key that pip serves cannot be released, and the messages must not ask for PyTorch."""
    keys = {element.text for element in PACKAGE if element.tag.endswith('depend')}
    assert keys <= APT_KEYS


#: What apt calls the libraries that are imported; all others come by the pip line of the guide.
APT_LIBRARIES = {'numpy': 'python3-numpy', 'cv2': 'python3-opencv', 'PIL': 'python3-pil',
                 'aiohttp': 'python3-aiohttp'}


def imported(folder: str) -> set[str]:
    """Top-level packages that a folder's files import, the standard library's left out."""
    found = set()
    for path in (ROOT / folder).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module.split('.')[0])
    return found - sys.stdlib_module_names - {'pixelrefer_model', 'pixelrefer_ros', 'pixelrefer'}


def test_a_robot_that_follows_the_guide_has_every_library_that_is_imported():
    keys = {element.text for element in PACKAGE if element.tag.endswith('depend')}
    guide = (ROOT / 'docs' / 'install.md').read_text()
    line = re.search(r'venv/bin/pip install .*?\n\n?(?=    source)', guide, re.DOTALL).group(0)
    optional = {'torchao', 'flash_attn'}  # the node asks for nothing of them unless it is told to
    for library in (imported('pixelrefer_ros') | imported('pixelrefer_model')) - optional:
        assert APT_LIBRARIES.get(library, library) in keys or re.search(rf'\b{library}\b', line), \
            library


def test_cmake_and_package_xml_name_the_same_interfaces_of_others():
    text = (ROOT / 'CMakeLists.txt').read_text()
    used = set(re.search(r'DEPENDENCIES ([\w ]+)\n', text).group(1).split())
    found = set(re.findall(r'find_package\((\w+) REQUIRED\)', text))
    named = {element.text for element in PACKAGE if element.tag == 'depend'}
    assert used == named and used <= found


def test_one_version():
    changelog = (ROOT / 'CHANGELOG.rst').read_text()
    newest = re.search(r'^(\d+\.\d+\.\d+) .*\n-+$', changelog, re.MULTILINE).group(1)
    assert (PACKAGE.findtext('version') == PROJECT['project']['version']
            == pixelrefer_model.__version__ == newest)


def test_ros_wheels_are_pinned_and_asked_for_only_where_there_are_any():
    """Unpinned, a package of a newer ROS 2 comes in; unmarked, pip fails on other platforms."""
    lines = [line for line in PROJECT['build-system']['requires']
             + PROJECT['project']['dependencies'] if line.startswith('ros-')]
    requirements = [re.fullmatch(r'(ros-[\w-]+)(?:\[\w+\])?==([\d.]+); (.*)', line)
                    for line in lines]
    assert lines and all(requirements)
    assert {match.group(3) for match in requirements} == {
        "sys_platform == 'linux' and platform_machine == 'x86_64' and python_version < '3.15'"}
    versions = {}
    for match in requirements:
        assert versions.setdefault(match.group(1), match.group(2)) == match.group(2)


def test_versions_that_run_installs_are_allowed_ones():
    """Each name of constraints.txt is a dependency, so that no pin outlives its reason."""
    wanted = PROJECT['project']['dependencies'] + sum(
        PROJECT['project']['optional-dependencies'].values(), [])
    names = {re.match(r'[\w.-]+', line).group() for line in wanted}
    pinned = re.findall(r'^([\w.-]+)==', (ROOT / 'constraints.txt').read_text(), re.MULTILINE)
    assert pinned and set(pinned) <= names


@pytest.mark.parametrize('script', [
    'run', '.ci/run', 'scripts/pixelrefer', 'scripts/pixelrefer_node'])
def test_scripts_can_be_started(script):
    assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize('script', ['run', '.ci/run', 'cmake/environment.sh'])
def test_shell_scripts_parse(script):
    subprocess.run(['bash', '-n', ROOT / script], check=True, timeout=60)


def test_run_without_a_command_says_what_there_is():
    result = subprocess.run([ROOT / 'run'], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert './run demo' in result.stderr and './run test' in result.stderr
