# SPDX-License-Identifier: Apache-2.0
"""The launch files: arguments that are described, and parameters that the node has."""

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / 'launch').glob('*.launch.py'))
NODE = ROOT / 'launch' / 'pixelrefer.launch.py'


def table(path: Path, name: str) -> Any:
    """A table of a launch file, read without launch."""
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == name:
            return ast.literal_eval(statement.value)
    raise AssertionError(f'{path.name} has no {name}')


def described(file: Path) -> dict[str, str]:
    return {name: text for name, (_, text) in table(file, 'ARGUMENTS').items()}


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.name)
def test_every_argument_says_what_it_is(file):
    assert len(FILES) == 3
    texts = described(file)
    assert texts and all(text.endswith('.') for text in texts.values())


def test_arguments_of_the_node_are_its_parameters():
    parameters = pytest.importorskip(
        'pixelrefer_ros.parameters', reason='rclpy is not installed', exc_type=ImportError)
    names = table(NODE, 'PARAMETERS')
    assert set(names) <= set(parameters.RULES)
    assert not set(names) & set(table(NODE, 'ARGUMENTS'))


def test_what_a_robot_has_of_its_own_can_be_said():
    have = {*table(NODE, 'ARGUMENTS'), *table(NODE, 'PARAMETERS')}
    assert have >= {'namespace', 'image', 'depth', 'camera_info', 'image_transport', 'cameras',
                    'tracker_model', 'refer_model', 'device', 'use_sim_time', 'log_level',
                    'autostart'}


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.name)
def test_ros2_launch_shows_them_and_those_of_the_node(file):
    pytest.importorskip('launch_ros', reason='launch is not installed')
    spec = importlib.util.spec_from_file_location('launched', file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shown = {argument.name: argument.description for argument
             in module.generate_launch_description().get_launch_arguments()}
    of_node = {*table(NODE, 'ARGUMENTS'), *table(NODE, 'PARAMETERS'), 'params_file'}
    assert set(shown) == of_node | set(described(file))
    assert all(text and text != 'no description given' for text in shown.values())
