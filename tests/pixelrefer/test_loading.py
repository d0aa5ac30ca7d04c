# SPDX-License-Identifier: Apache-2.0
"""Checkpoints load strictly or not at all, and an error names the file and the reason."""

import json
import pickle
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language import LanguageModel, Tokenizer
from pixelrefer_model.pixelrefer import PixelReferConfig, PixelReferLite, RegionEncoder
from loading_support import configured, refusal, rewrite, same_weights
from pixelrefer_support import CHECKPOINT


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(CHECKPOINT, tmp_path / 'model')
    return tmp_path / 'model'


def test_released_names_are_all_used_but_the_dead_ones(golden):
    stored = set(load_file(CHECKPOINT / 'model.safetensors'))
    used = set(golden.state_dict()) - {'lm_head.weight'}
    assert len(stored) == 114 and used < stored
    assert {name.rsplit('.', 1)[0] for name in stored - used} == {
        'model.region_encoder.mask_embedding', 'model.mm_projector.readout.0',
        'model.mm_projector.readout.2'}


def test_a_tied_output_layer_is_the_embedding(golden):
    assert golden.lm_head.weight is golden.model.embed_tokens.weight


def test_a_missing_folder_config_or_weight_file_is_named(tmp_path, folder):
    assert str(tmp_path / 'nowhere') in refusal(tmp_path / 'nowhere')
    (folder / 'model.safetensors').unlink()
    assert 'model.safetensors' in refusal(folder)
    (folder / 'config.json').unlink()
    assert 'config.json' in refusal(folder)


@pytest.mark.parametrize('length', [0, 5, 4000, 900_000])
def test_truncated_weights_are_named(folder, length):
    file = folder / 'model.safetensors'
    file.write_bytes(file.read_bytes()[:length])
    assert 'model.safetensors: truncated' in refusal(folder)


def test_a_config_that_is_no_json_or_of_another_model_is_named(folder):
    configured(folder, model_type='llava')
    assert "config.json: model_type is 'llava'" in refusal(folder)
    (folder / 'config.json').write_text('{"model_type": ')
    assert 'config.json' in refusal(folder)
    (folder / 'config.json').write_text('[]')
    assert 'config.json' in refusal(folder)


@pytest.mark.parametrize('values, reason', [
    ({'hidden_act': 'nope'}, 'nope'),
    ({'rope_scaling': {'rope_type': 'nope'}}, 'nope'),
    ({'rope_scaling': {'rope_type': 'linear'}}, 'factor'),
    ({'rope_scaling': {'type': 'linear', 'factor': 'x'}}, 'str'),
    ({'rope_parameters': 'x'}, 'str'),
    ({'attention_dropout': 'x'}, 'attention_dropout'),
    ({'mask_num': 2.5}, 'mask_num is 2.5'),
    ({'now_looks': 3}, 'now_looks is 3; 1 and 2 are allowed'),
    ({'now_likeness': 1.5}, 'now_likeness is 1.5; -1 to 1 is allowed'),
    ({'now_likeness': 'much'}, "now_likeness is 'much'"),
])
def test_a_setting_that_no_model_can_be_built_with_is_named_with_its_file(folder, values, reason):
    configured(folder, **values)
    message = refusal(folder)
    assert message.startswith(f'{folder / "config.json"}: ') and reason in message
    assert '\n' not in message


def test_a_rope_that_transformers_5_names_in_its_own_place_is_not_passed_over(folder):
    config = json.loads((folder / 'config.json').read_text())
    del config['rope_scaling']
    config['rope_parameters'] = {'rope_type': 'nope', 'rope_theta': 10000.0}
    (folder / 'config.json').write_text(json.dumps(config))
    assert 'nope' in refusal(folder)


@pytest.mark.parametrize('values', [{'eos_token_id': [[1]]}, {'repetition_penalty': 'x'}])
def test_generation_settings_that_cannot_be_used_are_named_with_their_file(folder, values):
    (folder / 'generation_config.json').write_text(json.dumps(values))
    message = refusal(folder)
    assert message.startswith(f'{folder / "generation_config.json"}: ')
    assert 'eos_token_id' in message or 'float' in message


def test_missing_unknown_and_misshapen_tensors_are_listed(folder):
    def change(tensors):
        del tensors['model.norm.weight']
        tensors['model.extra.weight'] = torch.zeros(1)
        tensors['model.region_encoder.pos_linear.bias'] = torch.zeros(3)
    rewrite(folder, change)
    message = refusal(folder)
    for part in ('1 missing: model.norm.weight', '1 unknown: model.extra.weight',
                 'pos_linear.bias [3] instead of [64]'):
        assert part in message


def test_a_config_that_does_not_fit_the_weights_is_refused(folder):
    configured(folder, num_hidden_layers=2)
    assert 'model.layers.2.' in refusal(folder)
    configured(folder, num_hidden_layers=3, hidden_size=130)
    assert 'config.json' in refusal(folder)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(folder, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / 'ran'), 'w'))
    (folder / 'model.safetensors').unlink()
    torch.save({'model.norm.weight': Evil()}, folder / 'pytorch_model.bin')
    assert 'pytorch_model.bin' in refusal(folder)
    (folder / 'pytorch_model.bin').write_bytes(pickle.dumps(Evil(), protocol=2))
    assert 'pytorch_model.bin' in refusal(folder)
    assert not (tmp_path / 'ran').exists()


def test_torch_files_whole_truncated_and_of_something_else(folder, golden):
    tensors = load_file(folder / 'model.safetensors')
    (folder / 'model.safetensors').unlink()
    file = folder / 'pytorch_model.bin'
    torch.save(tensors, file)
    assert same_weights(PixelReferLite.from_checkpoint(folder), golden)
    file.write_bytes(file.read_bytes()[:60_000])
    assert 'pytorch_model.bin' in refusal(folder)
    torch.save([1, 2], file)
    assert 'pytorch_model.bin: not a dictionary' in refusal(folder)


@pytest.mark.parametrize('kind', ['safetensors', 'bin'])
def test_shards_load_as_one_and_a_missing_shard_is_named(folder, golden, kind):
    tensors = load_file(folder / 'model.safetensors')
    (folder / 'model.safetensors').unlink()
    stem = 'model' if kind == 'safetensors' else 'pytorch_model'
    names, places = sorted(tensors), {}
    for part in (0, 1):
        file = f'{stem}-0000{part + 1}-of-00002.{kind}'
        shard = {name: tensors[name] for name in names[part::2]}
        (save_file if kind == 'safetensors' else torch.save)(shard, folder / file)
        places |= dict.fromkeys(shard, file)
    index = folder / f'{stem}.{kind}.index.json'
    index.write_text(json.dumps({'weight_map': places}))
    assert same_weights(PixelReferLite.from_checkpoint(folder), golden)
    (folder / file).unlink()
    assert file in refusal(folder)
    index.write_text('{}')
    assert 'index.json' in refusal(folder)


def test_an_untied_model_needs_its_output_layer(folder):
    configured(folder, tie_word_embeddings=False)
    assert '1 missing: lm_head.weight' in refusal(folder)
    rewrite(folder, lambda t: t.update({'lm_head.weight': torch.ones(522, 128)}))
    model = PixelReferLite.from_checkpoint(folder)
    assert torch.equal(model.lm_head.weight, torch.ones(522, 128))


def test_an_output_layer_beside_tied_weights_is_ignored(folder, golden):
    rewrite(folder, lambda t: t.update({'lm_head.weight': torch.ones(522, 128)}))
    assert same_weights(PixelReferLite.from_checkpoint(folder), golden)


def test_sizes_come_from_the_tensors_and_ids_from_the_tokenizer(folder, golden):
    configured(folder, vocab_size=9, region_token_index=3, vision_encoder_config={
        'num_attention_heads': 4})
    model = PixelReferLite.from_checkpoint(folder)
    assert same_weights(model, golden)
    assert model.config.region_token_index == 521


def test_defaults_are_those_of_the_released_models(folder):
    configured(folder, mask_num=..., mm_max_length=...)
    config = PixelReferConfig.from_folder(folder)
    assert (config.mask_num, config.mm_max_length) == (32, 9477 // 4)
    assert (config.global_image_size, config.local_image_size, config.context_patches) == (
        336, 224, 2)
    vision = PixelReferConfig.from_dict({'model_type': 'pixelreferlite_qwen2'}).vision
    assert (vision.hidden_size, vision.num_hidden_layers, vision.num_attention_heads) == (
        1152, 27, 16)


def test_the_released_sizes_have_the_released_number_of_tensors_and_parameters():
    with torch.device('meta'):
        model = PixelReferLite(PixelReferConfig())
    sizes = {name: weight.numel() for name, weight in model.named_parameters()}
    vision = {n: s for n, s in sizes.items() if '.vision_encoder.' in n}
    region = {n: s for n, s in sizes.items() if '.region_encoder.' in n}
    # Two of the region encoder's 20 released tensors are dead.
    assert (len(vision), len(region), len(sizes)) == (436, 18, 436 + 18 + 338)
    assert sum(vision.values()) == pytest.approx(412.1e6, rel=1e-3)
    assert sum(region.values()) == pytest.approx(14.77e6, rel=1e-3)
    assert sum(sizes.values()) == pytest.approx(1.974e9 - 4.13e6, rel=1e-3)


def test_vocabulary_and_merges_make_the_same_tokenizer(folder):
    fast = Tokenizer.from_folder(folder)
    (folder / 'tokenizer.json').unlink()
    slow = Tokenizer.from_folder(folder)
    text = ("<|im_start|>user\nWhat's it, [<REGION><REGION>]? It's 12.5 cm\t\n\n  wide; "
            'na\u00efve \u2615 e\u0301<|im_end|>\n')
    assert slow.encode(text) == fast.encode(text) and len(slow) == len(fast)
    (folder / 'tokenizer_config.json').unlink()
    assert Tokenizer.from_folder(folder).encode(text) == fast.encode(text)


def test_a_checkpoint_without_a_usable_tokenizer_cannot_answer(folder):
    (folder / 'tokenizer.json').write_text('{}')
    assert 'tokenizer.json' in refusal(folder)
    for name in ('tokenizer.json', 'vocab.json'):
        (folder / name).unlink()
    assert f'{folder}: there is no tokenizer.json' in unable_to_answer(folder)


def unable_to_answer(folder, tokenizer=None):
    with pytest.raises(PixelReferError) as error:
        LanguageModel(PixelReferLite.from_checkpoint(folder), tokenizer)
    assert error.value.code == 'CHECKPOINT'
    return error.value.message


def test_a_tokenizer_of_another_model_is_refused_with_the_folder_and_both_numbers(folder):
    other = Tokenizer.from_folder(folder)
    other.region_id = 7
    message = unable_to_answer(folder, other)
    assert message.startswith(f'{folder}: <REGION> ') and ' 7 ' in message and '521' in message
    rewrite(folder, lambda t: t.update({
        'model.embed_tokens.weight': t['model.embed_tokens.weight'][:500].clone()}))
    message = unable_to_answer(folder)
    assert message.startswith(f'{folder}: ') and '522' in message and '500' in message


def test_what_is_saved_loads_again_with_sizes_of_its_own(tmp_path, small, golden):
    small.save_checkpoint(tmp_path / 'small')
    again = PixelReferLite.from_checkpoint(tmp_path / 'small')
    assert again.config == small.config and same_weights(again, small)
    golden.save_checkpoint(tmp_path / 'golden', dtype=torch.bfloat16)
    again = PixelReferLite.from_checkpoint(tmp_path / 'golden')
    assert same_weights(again, golden) and len(again.tokenizer) == len(golden.tokenizer)
    assert LanguageModel(again).ends == LanguageModel(golden).ends


def test_tokens_of_other_weights_policy_or_dtype_have_another_key(small, golden):
    from pixelrefer_model.pixelrefer import EncodePolicy
    keys = {RegionEncoder(golden).key, RegionEncoder(small).key,
            RegionEncoder(golden, EncodePolicy.published()).key,
            RegionEncoder(golden, EncodePolicy.robot(64)).key,
            RegionEncoder(PixelReferLite.from_checkpoint(CHECKPOINT, dtype=torch.bfloat16)).key}
    assert len(keys) == 5
    again = PixelReferLite.from_checkpoint(CHECKPOINT)
    assert RegionEncoder(again).key == RegionEncoder(golden).key


def test_a_later_language_model_on_the_same_encoders_reads_what_was_remembered(golden):
    later = PixelReferLite.from_checkpoint(CHECKPOINT)
    with torch.no_grad():
        later.model.embed_tokens.weight.mul_(2)
    shallow = PixelReferLite.from_config(replace(
        golden.config, language=replace(golden.config.language, num_hidden_layers=1)))
    shallow.load_state_dict({**shallow.state_dict(), **{
        name: value for name, value in golden.state_dict().items() if '_encoder.' in name}})
    more = PixelReferLite.from_config(replace(golden.config, mask_num=golden.config.mask_num + 1))
    more.load_state_dict(golden.state_dict())
    taught = PixelReferLite.from_config(replace(golden.config, now_looks=2, now_likeness=0.5))
    taught.load_state_dict(golden.state_dict())
    keys = [RegionEncoder(one).key.split('/')[0] for one in (golden, later, shallow, taught, more)]
    assert keys[0] == keys[1] == keys[2] == keys[3] != keys[4]
