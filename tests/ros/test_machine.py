# SPDX-License-Identifier: Apache-2.0
"""/diagnostics tells memory and temperatures where they can be known, and leaves them out elsewhere."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from pixelrefer_ros.machine import MIB, cuda_values, machine_values


def zone(folder: Path, number: int, kind: str, temperature: str | None) -> None:
    made = folder / f'thermal_zone{number}'
    made.mkdir()
    (made / 'type').write_text(kind + '\n')
    if temperature is not None:
        (made / 'temp').write_text(temperature)


def test_a_pytorch_that_is_being_imported_tells_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch', ModuleType('torch'))
    assert cuda_values('cuda') == cuda_values('auto') == cuda_values('cpu') == {}


def test_the_hottest_zone_is_told_and_one_without_a_reading_is_not(tmp_path):
    zone(tmp_path, 0, 'cpu-thermal', '41500\n')
    zone(tmp_path, 1, 'gpu-thermal', '63250\n')
    zone(tmp_path, 2, 'off', None)
    zone(tmp_path, 3, 'odd', 'nothing')
    values = machine_values('cpu', tmp_path)
    assert (values['temperature_c'], values['temperature_of']) == (63.25, 'gpu-thermal')


def test_what_cannot_be_known_is_left_out(tmp_path):
    assert set(machine_values('cpu', tmp_path)) == {'process_memory_mib'}
    assert cuda_values('cpu') == {}


def test_the_memory_of_the_process_grows_with_it(tmp_path):
    before = machine_values('cpu', tmp_path)['process_memory_mib']
    taken = bytearray(b'x' * (64 * MIB))
    grown = machine_values('cpu', tmp_path)['process_memory_mib'] - before
    assert 60 < grown < 100 and len(taken)


@pytest.mark.parametrize('device', ['cuda', 'cuda:0', 'auto'])
@pytest.mark.parametrize('trouble', [None, ModuleNotFoundError('pynvml'), RuntimeError('NVML')])
def test_a_gpu_whose_temperature_nobody_tells_still_tells_its_memory(monkeypatch, device, trouble):
    """Without a GPU here PyTorch's own answers are put in its place."""
    def temperature(where):
        if trouble is not None:
            raise trouble
        return 57

    for name, answer in (('is_available', lambda: True), ('is_initialized', lambda: True),
                         ('memory_allocated', lambda where: 3 * MIB),
                         ('memory_reserved', lambda where: 8 * MIB), ('temperature', temperature)):
        monkeypatch.setattr(torch.cuda, name, answer)
    values = cuda_values(device)
    assert (values['gpu_memory_used_mib'], values['gpu_memory_held_mib']) == (3.0, 8.0)
    assert values.get('gpu_temperature_c') == (57.0 if trouble is None else None)


def test_over_the_wire_the_machine_is_a_part_of_the_diagnostics(quick):
    assert float(quick.values()['process_memory_mib']) > 10
