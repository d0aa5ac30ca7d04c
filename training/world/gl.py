# SPDX-License-Identifier: Apache-2.0
"""An off-screen OpenGL context without a display: EGL where it works, otherwise OSMesa."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache

APT = 'sudo apt-get install -y libegl1 libgl1-mesa-dri libosmesa6'
PROBE = 'import mujoco; context = mujoco.GLContext(8, 8); context.make_current(); context.free()'


@lru_cache(maxsize=1)
def backend() -> str:
    """'egl' or 'osmesa', whichever opens here; MUJOCO_GL, when set, is taken as it is.

    It is tried in a process of its own, since a library loaded in vain cannot be unloaded.
    Raises RuntimeError with the line that installs them when neither opens.
    """
    chosen = os.environ.get('MUJOCO_GL', '').lower()
    if chosen in ('egl', 'osmesa'):
        return chosen
    said = []
    for name in ('egl', 'osmesa'):
        environment = {**os.environ, 'MUJOCO_GL': name, 'PYOPENGL_PLATFORM': name}
        probe = subprocess.run([sys.executable, '-c', PROBE], env=environment, text=True,
                               capture_output=True, timeout=120, check=False)
        if probe.returncode == 0:
            return name
        said.append(f'{name}: {(probe.stderr.strip().splitlines() or ["failed"])[-1]}')
    raise RuntimeError(f'no off-screen OpenGL here ({"; ".join(said)}). Install one with: {APT}')


def open_context(width: int, height: int) -> object:
    """A current off-screen context; its `free()` gives it back.

    Raises RuntimeError when no backend opens.
    """
    name = backend()
    # Children and MuJoCo's own import must agree with what was found. llvmpipe's own threads
    # would only fight with the other workers for the same cores.
    os.environ['MUJOCO_GL'] = name
    os.environ.setdefault('LP_NUM_THREADS', '0')
    if name == 'egl':
        from mujoco.egl import GLContext
    else:
        from mujoco.osmesa import GLContext
    context = GLContext(width, height)
    context.make_current()
    return context
