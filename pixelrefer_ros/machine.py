# SPDX-License-Identifier: Apache-2.0
"""What the process takes of the machine, and how warm that is, as far as it can be known."""

import os
import sys
from pathlib import Path
from typing import Any

MIB = 1 << 20
PAGE = os.sysconf('SC_PAGE_SIZE') if hasattr(os, 'sysconf') else 4096
THERMAL = Path('/sys/class/thermal')


def machine_values(device: str, thermal: Path = THERMAL) -> dict[str, object]:
    """Memory of the process and of its device, temperatures; what cannot be known is left out.

    device: where the models are. thermal: the kernel's folder of temperatures.
    """
    return {**_process(), **_hottest(thermal), **cuda_values(device)}


def cuda_values(device: str) -> dict[str, object]:
    """Memory and temperature of a CUDA device; nothing for others, or where PyTorch was not
    imported yet."""
    torch: Any = sys.modules.get('torch')
    # While another thread imports it, it is there without its parts.
    initialized = getattr(getattr(torch, 'cuda', None), 'is_initialized', None)
    if not (device.startswith('cuda') or device == 'auto') or initialized is None \
            or not initialized():
        return {}
    where = torch.device('cuda' if device == 'auto' else device)
    values: dict[str, object] = {
        'gpu_memory_used_mib': torch.cuda.memory_allocated(where) / MIB,
        'gpu_memory_held_mib': torch.cuda.memory_reserved(where) / MIB}
    try:
        values['gpu_temperature_c'] = float(torch.cuda.temperature(where))
    except (ImportError, RuntimeError, AttributeError):
        # No pynvml, a board that NVML does not serve, or a PyTorch that cannot ask.
        pass
    return values


def _process() -> dict[str, object]:
    try:
        resident = int(Path('/proc/self/statm').read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return {}
    return {'process_memory_mib': resident * PAGE / MIB}


def _hottest(thermal: Path) -> dict[str, object]:
    """The hottest of the kernel's thermal zones, which on a board are of its CPU and GPU."""
    found = []
    for zone in sorted(thermal.glob('thermal_zone*')):
        try:
            found.append((int((zone / 'temp').read_text()) / 1000,
                          (zone / 'type').read_text().strip()))
        except (OSError, ValueError):
            continue  # a zone whose sensor is off has no temperature to read
    if not found:
        return {}
    warmest, of = max(found)
    return {'temperature_c': warmest, 'temperature_of': of}
