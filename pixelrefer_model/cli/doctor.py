# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer doctor`: what is installed, which device, which checkpoints, and what mends what is
missing. Nothing but the standard library is needed to run it."""

import argparse
import importlib
import json
import platform
import shlex
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.weights import RELEASED, State, look, store
from pixelrefer_model.weights.store import differing, held_names

_INSTALL = 'pip install .  (in the source tree; or ./run)'
_SOURCE = 'source /opt/ros/jazzy/setup.bash  (or use ./run, which brings it)'
#: Module, the distribution that tells its version, and what to type where it is missing.
NEEDED = (
    ('torch', 'torch', _INSTALL), ('transformers', 'transformers', _INSTALL),
    ('tokenizers', 'tokenizers', _INSTALL), ('safetensors', 'safetensors', _INSTALL),
    ('huggingface_hub', 'huggingface_hub', _INSTALL), ('numpy', 'numpy', _INSTALL),
    ('cv2', 'opencv-python-headless', _INSTALL), ('PIL', 'pillow', _INSTALL))
#: The node needs these, the command line does not.
ROS = (('rclpy', 'ros-rclpy', _SOURCE),
       ('pixelrefer.msg', 'pixelrefer', 'colcon build --packages-select pixelrefer  (or ./run)'))
OPTIONAL = (
    ('torchao', 'torchao', 'pip install torchao  (int8 and int4 weights)'),
    ('flash_attn', 'flash-attn', 'pip install flash-attn --no-build-isolation  (CUDA alone)'),
    ('vision_msgs', 'vision_msgs', 'sudo apt install ros-jazzy-vision-msgs'),
    ('cv_bridge', 'cv_bridge', 'sudo apt install ros-jazzy-cv-bridge'))


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. state: 'ok', 'missing' or 'broken', of a checkpoint 'whole',
    'half', 'absent' or 'damaged'. told: a version, or what is wrong; mend: the line that mends it,
    '' where nothing has to be."""

    name: str
    state: str
    told: str
    mend: str = ''


def add(verbs: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """The verb and its options."""
    parser = verbs.add_parser(
        'doctor', help='say what is installed and what is missing',
        description='Say what is installed, which device there is, which checkpoints are whole, '
        'and the line that mends what is missing. It ends with 0 when the packaged checkpoints run '
        'here, and with 1 when they do not.')
    parser.add_argument('--verify', action='store_true', help='read every downloaded checkpoint '
                        'and compare its checksums (minutes)')
    parser.add_argument('--json', action='store_true', help='JSON instead of text')
    return parser


def run(given: argparse.Namespace) -> int:
    """Look, try the packaged checkpoints, print."""
    released = [name for names in RELEASED.values() for name in names]
    checkpoints = dict.fromkeys([*released, *held_names()])
    found: dict[str, Any] = {
        'python': f'{platform.python_version()}, {platform.system()} {platform.machine()}',
        'needed': [examine(*one) for one in NEEDED], 'for the node': [examine(*one) for one in ROS],
        'optional': [examine(*one) for one in OPTIONAL], 'devices': _devices(),
        'checkpoints': [_checkpoint(name, given.verify) for name in checkpoints],
        'tiny': _try_tiny()}
    if given.json:
        print(json.dumps({**found, 'store': str(store())}, indent=2, default=asdict))
    else:
        print(_as_text(found))
    return 0 if found['tiny'].state == 'ok' else 1


def examine(module: str, package: str, mend: str) -> Finding:
    """Whether a module can be imported, and its version."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.startswith(error.name):
            return Finding(module, 'missing', 'not installed', mend)
        return Finding(module, 'broken', f'needs {error.name}, which is missing', mend)
    except Exception as error:  # whatever a broken library raises is what was looked for
        return Finding(module, 'broken', ' '.join(f'{type(error).__name__}: {error}'.split()), mend)
    loaded = sys.modules[module.partition('.')[0]]
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        version = str(getattr(loaded, '__version__', 'version unknown'))
    return Finding(module, 'ok', version)


def _devices() -> list[Finding]:
    try:
        from pixelrefer_model.device import devices
        here = devices()
    except Exception as error:  # PyTorch is missing or broken, which is said already
        return [Finding('none', 'missing', ' '.join(str(error).split()), _INSTALL)]
    bf16 = {True: 'bfloat16', False: 'bfloat16 slow (no instructions for it)',
            None: 'bfloat16 unknown'}
    return [Finding(one.name, 'ok', ', '.join(filter(None, (
        one.model, f'{one.bytes / 1e9:.1f} GB' if one.bytes else '', bf16[one.bf16]))))
        for one in here]


def _checkpoint(name: str, verify: bool) -> Finding:
    found, mend = look(name), f'pixelrefer download {name}'
    if found.state is not State.WHOLE:
        return Finding(name, found.state.value, found.missing, mend)
    if verify and (wrong := differing(found)):
        return Finding(name, 'damaged', f'{", ".join(wrong)}: the checksum differs',
                       f'rm -r {shlex.quote(str(found.folder))} && {mend}')
    return Finding(name, 'whole', f'{found.manifest.bytes / 1e9:.2f} GB, commit '
                   f'{found.manifest.commit[:12]}, {found.folder}')


def _try_tiny() -> Finding:
    """Run the packaged checkpoints once: nothing else shows that they run."""
    try:
        from pixelrefer_model.engine import PerceptionEngine
        PerceptionEngine.from_checkpoints().warm_up()
    except PixelReferError as error:
        return Finding('tiny', 'broken', error.message, _INSTALL)
    except Exception as error:  # whatever a broken installation raises is what was looked for
        return Finding('tiny', 'broken', ' '.join(f'{type(error).__name__}: {error}'.split()),
                       _INSTALL)
    return Finding('tiny', 'ok', 'tracks and answers on the CPU')


def _as_text(found: dict[str, Any]) -> str:
    lines = [f'Python {found["python"]}']
    for title in ('needed', 'for the node', 'optional', 'devices'):
        lines += ['', f'{title}:', *map(_line, found[title])]
    lines += ['', f'checkpoints, in {store()}:', *map(_line, found['checkpoints'])]
    return '\n'.join([*lines, '', 'packaged checkpoints:', _line(found['tiny'])])


def _line(one: Finding) -> str:
    mend = f'\n    mend: {one.mend}' if one.mend else ''
    return f'  {one.state:8} {one.name}: {one.told}{mend}'
