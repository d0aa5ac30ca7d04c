# SPDX-License-Identifier: Apache-2.0
"""Devices: which there are, what they can do, the choice of one, and running out of memory."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from pixelrefer_model.errors import PixelReferError

Made = TypeVar('Made')

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}
AUTO = 'auto'
#: What the CPU's and the MPS allocator, CUDA's driver and its libraries say without memory.
_NO_MEMORY = ('DefaultCPUAllocator', 'MPS backend out of memory', 'CUDA error: out of memory',
              'CUBLAS_STATUS_ALLOC_FAILED', 'CUDNN_STATUS_ALLOC_FAILED')


@dataclass(frozen=True)
class Device:
    """name: as PyTorch calls it. model: what it is. bytes: of its memory, 0 if unknown. bf16:
    whether it has instructions for bfloat16; without them it is slow, not impossible; None:
    unknown."""

    name: str
    model: str
    bytes: int
    bf16: bool | None


def devices() -> list[Device]:
    """Every device that PyTorch can use here, the CPU last."""
    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        found.append(Device(f'cuda:{index}', properties.name, properties.total_memory,
                            properties.major >= 8))
    if torch.backends.mps.is_available():
        found.append(Device('mps', 'Apple GPU', 0, None))
    return [*found, _cpu()]


def choose_device(name: str = AUTO) -> str:
    """The device of a name; `auto` is the first CUDA GPU, or else the CPU.

    Raises PixelReferError UNSUPPORTED where PyTorch cannot use it here.
    """
    here = [one.name for one in devices()]
    if name == AUTO:
        return next((one for one in here if one.startswith('cuda')), 'cpu')
    if name not in here and not (name == 'cuda' and 'cuda:0' in here):
        raise PixelReferError('UNSUPPORTED', f'PyTorch cannot use the device {name!r} here; '
                                             f'{", ".join(here)} or {AUTO} are allowed')
    return name


def choose_dtype(name: str, device: str) -> torch.dtype:
    """The dtype of a name; `auto` is bfloat16 on a CUDA GPU that has it, or else float32.

    Raises PixelReferError UNSUPPORTED for an unknown one.
    """
    if name == AUTO:
        index = int(device.partition(':')[2] or 0) if device.startswith('cuda') else None
        fast = index is not None and torch.cuda.get_device_capability(index)[0] >= 8
        return torch.bfloat16 if fast else torch.float32
    if name not in DTYPES:
        raise PixelReferError('UNSUPPORTED', f'there is no dtype {name!r}; {", ".join(DTYPES)} or '
                                             f'{AUTO} are allowed')
    return DTYPES[name]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says so; only CUDA's own allocator has a class for it."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY))


def guarded(act: Callable[..., Made], *arguments: object, device: torch.device, what: str,
            free: Callable[[], None] = lambda: None) -> Made:
    """What `act` makes of the arguments.

    Raises PixelReferError OUT_OF_MEMORY, saying that `device` has no memory left `what`, where it
    has none: then `free` was called, and of the attempt nothing is held but its arguments.
    """
    try:
        return act(*arguments)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside of the clause: within it the error would hold on to the tensors of the attempt.
    free()
    if device.type == 'cuda':
        torch.cuda.empty_cache()
    elif device.type == 'mps':
        torch.mps.empty_cache()
    raise PixelReferError('OUT_OF_MEMORY', f'{device} has no memory left {what}')


def _cpu() -> Device:
    model, flags, memory = 'CPU', None, 0
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        told = {key.strip(): value.strip() for key, _, value in
                (line.partition(':') for line in lines)}
        model = told.get('model name', model)
        flags = told.get('flags')
        memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    except (OSError, ValueError, AttributeError):
        pass  # not Linux: it goes without
    bf16 = None if flags is None else bool({'avx512_bf16', 'amx_bf16'} & set(flags.split()))
    return Device('cpu', model, memory, bf16)
