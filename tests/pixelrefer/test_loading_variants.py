# SPDX-License-Identifier: Apache-2.0
"""Both variants load through one door, from sizes that the tensors prove, into memory of their
own that is never held twice."""

import json
import shutil
import weakref

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks import load_memory
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.pixelrefer import (
    ImageEncoder, PixelRefer, PixelReferConfig, PixelReferLite, PixelReferModel, loading, weights)
from loading_support import configured, refusal, rewrite, same_weights
from pixelrefer_support import CHECKPOINT, FULL_CHECKPOINT

PROJECTOR = 'model.mm_projector.readout.0.weight'


@pytest.fixture(params=['lite', 'full'])
def folder(request, tmp_path):
    shutil.copytree({'lite': CHECKPOINT, 'full': FULL_CHECKPOINT}[request.param],
                    tmp_path / request.param)
    return tmp_path / request.param


def test_config_json_says_which_variant_a_folder_is(folder, golden, golden_full):
    model = PixelReferModel.from_checkpoint(folder)
    expected = golden if folder.name == 'lite' else golden_full
    assert type(model) is type(expected) and same_weights(model, expected)
    other = PixelRefer if folder.name == 'lite' else PixelReferLite
    assert refusal(folder, other) == (
        f'{folder}: is a {type(model).__name__}, but a {other.__name__} is needed')


def test_released_names_of_a_model_that_sees_images_are_all_used(golden_full):
    stored = set(load_file(FULL_CHECKPOINT / 'model.safetensors'))
    assert len(stored) == 101 and stored == set(golden_full.state_dict())


def test_weights_of_the_other_variant_are_refused_with_their_names(folder):
    kinds = ['pixelreferlite_qwen2', 'pixelrefer_qwen2']
    full = folder.name == 'full'
    configured(folder, model_type=kinds[not full])
    message = refusal(folder)
    # What they do not share: two norms and two attentions, and a dead embedding.
    assert ('12 missing: ' if full else '14 unknown: ') in message
    for part in ('in_proj_weight', 'out_proj.bias'):
        assert f'model.region_encoder.fusion_attention_global.{part}' in message
    assert 'model.region_encoder.ln_local.weight' in message


def test_dead_tensors_may_be_there_or_not_and_the_projector_is_dead_in_lite_alone(folder, golden):
    rewrite(folder, lambda t: [t.pop(name) for name in list(t) if name.startswith((
        'model.mm_projector.', 'model.region_encoder.mask_embedding.'))])
    if folder.name == 'lite':
        assert same_weights(PixelReferModel.from_checkpoint(folder), golden)
    else:
        assert f'4 missing: model.mm_projector.readout.0.bias, {PROJECTOR}' in refusal(folder)


def test_a_whole_missing_layer_is_listed_name_by_name(folder):
    rewrite(folder, lambda t: [t.pop(name) for name in list(t)
                               if name.startswith('model.layers.1.')])
    message = refusal(folder)
    assert '12 missing: ' in message and message.count('model.layers.1.') == 12


def test_sizes_that_config_json_leaves_out_come_from_the_tensors(folder, golden, golden_full):
    expected = (golden if folder.name == 'lite' else golden_full).config
    configured(folder, hidden_size=..., intermediate_size=..., num_hidden_layers=...,
               num_key_value_heads=..., vocab_size=..., tie_word_embeddings=...,
               mm_hidden_size=...)
    assert PixelReferModel.from_checkpoint(folder).config == expected


def test_a_7b_of_which_nothing_is_said_is_told_by_its_tensors():
    values = {'model_type': 'pixelrefer_qwen2', 'hidden_size': 3584, 'intermediate_size': 18944,
              'num_attention_heads': 28, 'num_key_value_heads': 4, 'tie_word_embeddings': False}
    stated = PixelReferConfig.from_dict(values)
    with torch.device('meta'):
        shapes = {n: tuple(t.shape) for n, t in PixelRefer(stated).state_dict().items()}
    assert PixelReferConfig.from_dict({'model_type': 'pixelrefer_qwen2'}, shapes) == stated
    # 436 vision, 4 projector, 6 region, 338 language and the output layer.
    assert len(shapes) == 436 + 4 + 6 + 338 + 1


def test_an_image_token_that_the_tokenizer_lacks_is_missed_only_where_it_is_used(folder):
    file = folder / 'tokenizer.json'
    content = json.loads(file.read_text())
    content['added_tokens'] = [t for t in content['added_tokens'] if t['content'] != '<image>']
    file.write_text(json.dumps(content))
    if folder.name == 'full':
        assert f'{folder}: the tokenizer has no token <image>' in refusal(folder)
    else:
        PixelReferModel.from_checkpoint(folder)


def test_ids_come_from_the_tokenizer(folder):
    configured(folder, image_token_index=3, region_token_index=4)
    config = PixelReferModel.from_checkpoint(folder).config
    assert (config.image_token_index, config.region_token_index) == (518, 521)


def test_numbers_that_are_no_weights_are_refused(folder):
    rewrite(folder, lambda t: t.update(
        {'model.norm.weight': torch.ones(128, dtype=torch.int8)}))
    assert '1 of a type that is no weight: model.norm.weight I8' in refusal(folder)


def test_a_tensor_in_two_shards_is_refused(folder):
    tensors = load_file(folder / 'model.safetensors')
    (folder / 'model.safetensors').unlink()
    names = sorted(tensors)
    for file, some in (('a.safetensors', names), ('b.safetensors', names[:1])):
        save_file({name: tensors[name] for name in some}, folder / file)
    (folder / 'model.safetensors.index.json').write_text(json.dumps(
        {'weight_map': dict.fromkeys(names, 'a.safetensors') | {names[0]: 'b.safetensors'}}))
    message = refusal(folder)
    assert names[0] in message and 'a.safetensors' in message and 'b.safetensors' in message


def test_torch_files_from_before_the_zip_format_load_too(folder):
    expected = PixelReferModel.from_checkpoint(folder)
    tensors = load_file(folder / 'model.safetensors')
    (folder / 'model.safetensors').unlink()
    torch.save(tensors, folder / 'pytorch_model.bin', _use_new_zipfile_serialization=False)
    assert same_weights(PixelReferModel.from_checkpoint(folder), expected)


def test_a_checkpoint_is_refused_before_a_weight_of_it_is_read(folder, monkeypatch):
    def read(stored):
        raise AssertionError('a weight was read')
    rewrite(folder, lambda t: t.update({'model.extra.weight': torch.zeros(1)}))
    (folder / 'generation_config.json').write_text('{}')
    monkeypatch.setattr(loading, 'read_tensors', read)
    assert '1 unknown: model.extra.weight' in refusal(folder)
    rewrite(folder, lambda t: t.pop('model.extra.weight'))
    (folder / 'generation_config.json').write_text('{"repetition_penalty": "x"}')
    assert 'generation_config.json' in refusal(folder)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_no_weight_is_read_twice_and_none_stays_mapped_beside_its_copy(folder, dtype, monkeypatch):
    """What is mapped at a time is bounded, and a tensor is let go of when the next has come."""
    openings, names, alive = [], [], []
    plain = weights.safe_open

    class Counting:
        def __init__(self, file, framework):
            self.opened = plain(file, framework)

        def __enter__(self):
            self.file = self.opened.__enter__()
            openings.append(0)
            return self

        def __exit__(self, *error):
            return self.opened.__exit__(*error)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def get_tensor(self, name):
            assert not [ref for ref in alive[:-1] if ref() is not None]
            tensor = self.file.get_tensor(name)
            alive.append(weakref.ref(tensor))
            names.append(name)
            openings[-1] += tensor.nbytes
            return tensor

    monkeypatch.setattr(weights, 'safe_open', Counting)
    monkeypatch.setattr(weights, 'AT_ONCE', 200_000)
    model = PixelReferModel.from_checkpoint(folder, dtype=dtype)
    assert sorted(names) == sorted(set(names)) and len(names) == len(dict(model.named_parameters()))
    assert max(openings) <= 200_000 and len(openings) > 8


@pytest.mark.parametrize('kind', ['safetensors', 'bin'])
def test_weights_in_memory_are_not_those_of_the_file(folder, kind):
    file = folder / 'model.safetensors'
    if kind == 'bin':
        torch.save(load_file(file), folder / 'pytorch_model.bin')
        file.unlink()
        file = folder / 'pytorch_model.bin'
    model = PixelReferModel.from_checkpoint(folder, dtype=torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with file.open('r+b') as opened:
        opened.write(b'\x07' * file.stat().st_size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_device_without_room_is_said_with_what_is_needed(folder, monkeypatch):
    def full(stored):
        yield next(plain(stored))
        raise torch.cuda.OutOfMemoryError('CUDA out of memory')
    plain = loading.read_tensors
    monkeypatch.setattr(loading, 'read_tensors', full)
    with pytest.raises(PixelReferError) as error:
        PixelReferModel.from_checkpoint(folder)
    assert error.value.code == 'OUT_OF_MEMORY' and 'float32 (0.0 GiB)' in error.value.message
    monkeypatch.undo()
    PixelReferModel.from_checkpoint(folder)


def test_what_is_saved_loads_again(tmp_path, golden_full):
    golden_full.save_checkpoint(tmp_path / 'again')
    again = PixelRefer.from_checkpoint(tmp_path / 'again')
    assert again.config == golden_full.config and same_weights(again, golden_full)
    assert len(again.tokenizer) == len(golden_full.tokenizer)


def test_another_projector_is_another_key(golden_full):
    other = PixelRefer.from_checkpoint(FULL_CHECKPOINT)
    assert ImageEncoder(other).key == ImageEncoder(golden_full).key
    with torch.no_grad():
        other.get_parameter(PROJECTOR).mul_(2)
    assert ImageEncoder(other).key != ImageEncoder(golden_full).key


@pytest.mark.parametrize('kind', ['safetensors', 'bin'])
def test_memory_is_measured_on_a_checkpoint_in_the_released_layout(tmp_path, kind):
    config = load_memory.SIZES['small']
    load_memory.write_checkpoint(tmp_path / 'model', config, kind=kind)
    stored = weights.stored_tensors(weights.weight_files(tmp_path / 'model'))
    assert len({one.file for one in stored.values()}) == 2
    assert {one.dtype for one in stored.values()} == {torch.bfloat16}
    assert {PROJECTOR, 'model.region_encoder.mask_embedding.bias'} < set(stored)
    report = load_memory.measure(tmp_path / 'model', torch.bfloat16, 2, 64)
    used = sum(one.bytes for name, one in stored.items()
               if not name.startswith(PixelReferLite.dead))
    assert report['weight_bytes'] == used and report['answer_tokens'] in (1, 2)
    assert report['patches'] <= 3 * 64
    assert report['peak_bytes'] >= report['after_load_bytes'] > 0


def test_a_folder_that_exists_is_neither_written_to_nor_deleted(tmp_path):
    (tmp_path / 'config.json').write_text('mine')
    with pytest.raises(SystemExit):
        load_memory.main([str(tmp_path), '--size', 'small'])
    assert (tmp_path / 'config.json').read_text() == 'mine'
