# SPDX-License-Identifier: Apache-2.0
"""Rules of devices: the CPU is always one of them, what is not here is named."""

import pytest
import torch

from pixelrefer_model.device import choose_device, choose_dtype, devices
from pixelrefer_model.errors import PixelReferError


def test_the_cpu_is_always_there_and_auto_finds_a_device():
    assert devices()[-1].name == 'cpu' and choose_device('cpu') == 'cpu'
    assert choose_device('auto') in {one.name for one in devices()}
    assert choose_dtype('auto', 'cpu') is torch.float32
    assert choose_dtype('bfloat16', 'cpu') is torch.bfloat16


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
    assert choose_device('auto') == 'cpu'
    for choose in (lambda: choose_device('cuda'), lambda: choose_dtype('int3', 'cpu')):
        with pytest.raises(PixelReferError) as error:
            choose()
        assert error.value.code == 'UNSUPPORTED' and 'allowed' in error.value.message
