# SPDX-License-Identifier: Apache-2.0
"""The interfaces that are built are those in the folders, and they need no model to be used."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INTERFACES = sorted(str(path.relative_to(ROOT)) for kind in ('msg', 'srv', 'action')
                    for path in (ROOT / kind).glob('*.*'))

BLOCKER = '''
import sys

class Absent:
    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in self.names:
            raise ModuleNotFoundError(f'{name} is not on this machine', name=name)

sys.meta_path.insert(0, Absent(%r))
'''


def run_without(names: tuple[str, ...], code: str) -> subprocess.CompletedProcess:
    """Run `code` in a Python that cannot import `names`."""
    return subprocess.run([sys.executable, '-c', BLOCKER % (names,) + code], cwd=ROOT, text=True,
                          capture_output=True, timeout=300, check=False)


def test_cmake_builds_every_interface_of_the_folders_and_no_other():
    text = (ROOT / 'CMakeLists.txt').read_text()
    listed = re.findall(r'^  ((?:msg|srv|action)/\w+\.\w+)$', text, re.MULTILINE)
    assert sorted(listed) == INTERFACES
    assert len(set(listed)) == len(listed)


def test_every_field_says_what_it_is():
    """Beside the field, so that `ros2 interface show` answers what its unit and frame are."""
    field = re.compile(r'[\w/]+(\[[<=\d]*\])? +\w+ *')
    silent = [f'{path}: {line}' for path in INTERFACES
              for line in (ROOT / path).read_text().splitlines() if field.fullmatch(line)]
    assert not silent


def test_messages_serve_a_machine_without_pytorch():
    """A planner's PC has rclpy and the messages, and none of the models' libraries."""
    kinds = {kind: [Path(path).stem for path in INTERFACES if path.startswith(kind + '/')]
             for kind in ('msg', 'srv', 'action')}
    imports = '\n'.join(f'from pixelrefer.{kind} import {name}'
                        for kind, names in kinds.items() for name in names)
    made = '\n'.join(f'{name}()' for name in kinds['msg'])
    result = run_without(('torch', 'transformers', 'safetensors', 'cv2', 'pixelrefer_model'),
                         f'{imports}\n{made}\nfrom rclpy.serialization import serialize_message\n'
                         'serialize_message(AddObjects.Request())\n')
    assert result.returncode == 0, result.stderr


def test_ros_package_can_be_imported_without_pytorch():
    result = run_without(('torch', 'transformers'), 'import pixelrefer_ros.conversions')
    assert result.returncode == 0, result.stderr


def test_model_package_needs_no_ros():
    result = run_without(
        ('rclpy', 'pixelrefer', 'pixelrefer_ros', 'sensor_msgs', 'std_msgs'),
        'import pkgutil, importlib, pixelrefer_model\n'
        'for module in pkgutil.walk_packages(pixelrefer_model.__path__, "pixelrefer_model."):\n'
        '    importlib.import_module(module.name)\n')
    assert result.returncode == 0, result.stderr
