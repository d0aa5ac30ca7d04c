# SPDX-License-Identifier: Apache-2.0
"""What holds for every source file: its licence, and which package may know which."""

import ast
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ('action', 'benchmarks', 'cmake', 'launch', 'msg', 'pixelrefer_model', 'pixelrefer_ros',
           'scripts', 'srv', 'tests', 'training')
KINDS = {'.action', '.cmake', '.msg', '.py', '.sh', '.srv'}
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob('*')
                 if path.suffix in KINDS and '__pycache__' not in path.parts)
OWN = {'benchmarks', 'pixelrefer', 'pixelrefer_model', 'pixelrefer_ros', 'tests', 'training'}
#: Packages that pip knows by another name than the import's.
PIP_NAMES = {'PIL': 'pillow', 'cv2': 'opencv-python-headless', 'flash_attn': 'flash-attn',
             'yaml': 'pyyaml'}
#: What a user may do without; imported where it is asked for.
OPTIONAL = {'torchao', 'flash-attn', 'aiohttp'}
ROS_NAMES = re.compile(r'rclpy|ros2cli|ament_index_python|launch(_ros)?|\w+_(msgs|interfaces|srvs)')


def imported(path: Path) -> Iterator[str]:
    """Top-level names of the absolute imports anywhere in a module, also inside its functions."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split('.')[0]


def modules(package: str) -> list[Path]:
    return [path for path in SOURCES if path.suffix == '.py'
            and path.relative_to(ROOT).parts[0] == package]


def test_every_source_file_begins_with_its_licence():
    bare = []
    for path in SOURCES:
        lines = [line for line in path.read_text().splitlines()[:2] if not line.startswith('#!')]
        if not lines or lines[0] != '# SPDX-License-Identifier: Apache-2.0':
            bare.append(str(path.relative_to(ROOT)))
    assert len(SOURCES) > 50 and not bare


def test_every_module_says_what_it_is():
    silent = []
    for path in SOURCES:
        tree = ast.parse(path.read_text()) if path.suffix == '.py' else None
        if tree and tree.body and not ast.get_docstring(tree):
            silent.append(str(path.relative_to(ROOT)))
    assert not silent


@pytest.mark.parametrize(('package', 'unknown'), [
    ('pixelrefer_model', {'rclpy', 'pixelrefer', 'pixelrefer_ros', 'sensor_msgs', 'training'}),
    ('pixelrefer_ros', {'training'}),
])
def test_package_knows_nothing_of_those_above_it(package, unknown):
    """The model serves a script without ROS; neither package needs the scenes it was trained on."""
    found = {f'{path.relative_to(ROOT)}: {name}' for path in modules(package)
             for name in imported(path) if name in unknown}
    assert modules(package) and not found


def imported_from_outside(*packages: str) -> set[str]:
    found = {name for package in packages for path in modules(package) for name in imported(path)}
    return found - OWN - set(sys.stdlib_module_names)


def test_package_xml_names_every_ros_package_that_is_imported():
    names = {name for name in imported_from_outside('pixelrefer_ros', 'launch')
             if ROS_NAMES.fullmatch(name)}
    keys = {element.text for element in ElementTree.parse(ROOT / 'package.xml').getroot()}
    assert 'rclpy' in names and names - {'launch', 'launch_ros'} <= keys
    assert 'ros2launch' in keys, 'which brings launch and launch_ros'


def test_pyproject_names_every_library_that_is_imported():
    names = {PIP_NAMES.get(name, name) for name in imported_from_outside(
        'pixelrefer_model', 'pixelrefer_ros') if not ROS_NAMES.fullmatch(name)}
    text = (ROOT / 'pyproject.toml').read_text()
    dependencies = text.partition('\ndependencies = [')[2].partition('\n]')[0]
    needed = set(re.findall(r'"([\w.-]+)', dependencies))
    assert names and names - OPTIONAL <= needed
    extras = text.partition('\n[project.optional-dependencies]')[2].partition('\n[')[0]
    assert not OPTIONAL & needed and set(re.findall(r'"([\w.-]+)', extras)) >= OPTIONAL


def test_nothing_that_was_built_is_in_the_repository():
    if not (ROOT / '.git').exists():
        pytest.skip('not a git checkout')
    listed = subprocess.run(['git', 'ls-files', '-ci', '--exclude-standard'], cwd=ROOT, text=True,
                            capture_output=True, check=True, timeout=60)
    assert listed.stdout == ''
