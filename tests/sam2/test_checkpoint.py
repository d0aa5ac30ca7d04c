# SPDX-License-Identifier: Apache-2.0
"""Checkpoints load strictly, or say which file is wrong and why."""

import json

import numpy as np
import pytest
import torch

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import Box
from pixelrefer_model.sam2 import ObjectTracker
from pixelrefer_model.sam2.checkpoint import load_model, save_model, set_input_size
from tests.sam2.conftest import frame


@pytest.fixture
def folder(narrow, tmp_path):
    save_model(narrow, tmp_path)
    return tmp_path


def reason(path, **options) -> str:
    with pytest.raises(PixelReferError) as raised:
        load_model(path, **options)
    assert raised.value.code == 'CHECKPOINT'
    return raised.value.message


def test_what_is_saved_is_what_is_loaded(narrow, folder):
    loaded = load_model(folder)
    assert loaded.config.to_dict() == narrow.config.to_dict() | {
        'architectures': ['Sam2VideoModel'], 'dtype': loaded.config.to_dict().get('dtype')}
    for name, value in narrow.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    assert not loaded.training


def test_weights_in_a_pickle_are_read_as_tensors_only(narrow, folder):
    (folder / 'model.safetensors').unlink()
    torch.save({'model': narrow.state_dict()}, folder / 'model.pt')
    assert load_model(folder).config.image_size == narrow.config.image_size
    torch.save({'model': object()}, folder / 'model.pt')
    assert 'model.pt' in reason(folder)


def test_a_missing_folder_config_or_weight_file_is_named(folder):
    assert 'nowhere' in reason(folder / 'nowhere')
    (folder / 'model.safetensors').unlink()
    assert 'model.safetensors' in reason(folder)
    (folder / 'config.json').unlink()
    assert 'config.json' in reason(folder)


def test_truncated_files_are_named(folder):
    weights = folder / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert 'model.safetensors' in reason(folder)
    (folder / 'config.json').write_text('{"model_type": ')
    assert 'config.json' in reason(folder)


@pytest.mark.parametrize('harm', range(40))
def test_a_damaged_pickle_is_an_error_whatever_the_library_stumbles_over(folder, harm):
    file = folder / 'model.pt'
    (folder / 'model.safetensors').unlink()
    torch.save({'no_object_pointer': torch.zeros(1, 3)}, file,
               _use_new_zipfile_serialization=False)
    data = bytearray(file.read_bytes())
    rng = np.random.default_rng(harm)
    for place in rng.integers(0, len(data), 2):
        data[place] = rng.integers(0, 256)
    file.write_bytes(bytes(data) if harm else b'\x80\x02.')
    assert 'model.pt' in reason(folder)


def test_another_architecture_is_refused_with_what_differs(narrow, folder):
    values = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps(values | {'num_maskmem': 3}))
    assert 'memory_temporal_positional_encoding' in reason(folder)
    (folder / 'config.json').write_text(json.dumps(values | {'model_type': 'qwen2'}))
    assert 'qwen2' in reason(folder)
    (folder / 'config.json').write_text(json.dumps(values | {'memory_attention_num_layers': 2}))
    assert 'missing' in reason(folder)


@pytest.mark.parametrize('part, name, value', [
    ('mask_decoder_config', 'hidden_size', 'wide'), ('prompt_encoder_config', 'hidden_act', 'nope'),
    (None, 'memory_fuser_hidden_act', 'nope'), (None, 'memory_fuser_num_layers', 'two')])
def test_a_setting_that_no_model_can_be_built_with_is_named_with_its_file(
        folder, part, name, value):
    values = json.loads((folder / 'config.json').read_text())
    (values[part] if part else values)[name] = value
    (folder / 'config.json').write_text(json.dumps(values))
    assert reason(folder).startswith(f'{folder / "config.json"}: ') and '\n' not in reason(folder)


def test_another_input_size_needs_no_other_weights(folder):
    tracker = ObjectTracker.from_checkpoint(folder, input_size=128)
    track = tracker.add('a', Box(22, 34, 58, 68), frame(0))
    assert tuple(track.logits.shape) == (32, 32)
    tracker.step(frame(1))
    assert 'multiple' in reason(folder, input_size=100)


def test_changing_the_input_size_and_back_changes_no_mask(narrow):
    before = ObjectTracker(narrow).add('a', Box(22, 34, 58, 68), frame(0)).logits
    set_input_size(narrow, 128)
    set_input_size(narrow, 64)
    assert torch.equal(before, ObjectTracker(narrow).add('a', Box(22, 34, 58, 68), frame(0)).logits)
