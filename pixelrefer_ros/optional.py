# SPDX-License-Identifier: Apache-2.0
"""ROS packages that the node can do without: what each one gives, and how it is installed."""

import os
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from pixelrefer_model.errors import PixelReferError


@dataclass(frozen=True)
class Package:
    """deb: the package's name in apt after `ros-DISTRO-`. gives: what is not there without it."""

    deb: str
    gives: str


#: By the name that is imported.
PACKAGES = {
    'tf2_ros': Package('tf2-ros-py', 'positions in a target_frame'),
    'vision_msgs': Package('vision-msgs', '~/detections, ~/detections_3d and ~/label_info'),
    'bondpy': Package('bondpy', 'bond with a lifecycle manager'),
}


def load(module: str) -> ModuleType | None:
    """A module of one of the packages, or None where it cannot be imported."""
    try:
        return import_module(module)
    except ImportError:
        return None


def need(module: str, wanted: str) -> ModuleType:
    """The module that `wanted` asks for. Raises PixelReferError UNSUPPORTED, naming what to
    install."""
    found = load(module)
    if found is None:
        raise PixelReferError(
            'UNSUPPORTED', f'{wanted} needs {module.partition(".")[0]}, which cannot be imported '
            f'here: {line_for(module)}')
    return found


def line_for(module: str) -> str:
    """What to type to install the package of a module."""
    package = PACKAGES[module.partition('.')[0]]
    return f'apt install ros-{os.environ.get("ROS_DISTRO") or "jazzy"}-{package.deb}'


def missing() -> str:
    """The packages that cannot be imported, with what goes without each; empty: none."""
    lacking = [f'{package.gives} with {name} ({line_for(name)})'
               for name, package in PACKAGES.items() if load(name) is None]
    return 'optional, not installed: ' + '; '.join(lacking) if lacking else ''
