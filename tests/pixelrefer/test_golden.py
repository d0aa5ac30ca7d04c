# SPDX-License-Identifier: Apache-2.0
"""Published behaviour: every recorded case comes out as it was recorded, stage by stage."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.parity import compare_case, main
from benchmarks.recorded import Case
from benchmarks.stages import PENALTY, TOLERANCES, unpatchify
from pixelrefer_model.pixelrefer import EncodePolicy
from pixelrefer_model.pixelrefer.processing_pixelrefer import pack_regions, region_images
from pixelrefer_support import GOLDEN, boxed

CASES = sorted(file.stem for file in (GOLDEN / 'lite').glob('*.json'))
NEEDED = set(TOLERANCES) - {'pixels', 'init', 'whole', 'images'}


@pytest.mark.parametrize('name', CASES)
def test_a_recorded_case_comes_out_as_recorded(name, golden):
    report = compare_case(Case.read(GOLDEN / 'lite' / f'{name}.json'), golden)
    assert report.failed == []
    assert set(report.compared) >= NEEDED


def copied_case(folder, name='few', change_meta=lambda meta: None, **changes):
    meta = json.loads((GOLDEN / 'lite' / f'{name}.json').read_text())
    tensors = load_file(GOLDEN / 'lite' / f'{name}.safetensors')
    change_meta(meta)
    (folder / f'{name}.json').write_text(json.dumps(meta))
    save_file({**tensors, **changes}, folder / f'{name}.safetensors')
    return tensors


def run_parity(folder, checkpoint=GOLDEN / 'pixelrefer-lite'):
    return main(['--cases', str(folder), '--checkpoint', str(checkpoint)])


def test_parity_passes_on_equal_results_and_fails_on_one_that_is_off(tmp_path, capsys):
    tensors = copied_case(tmp_path)
    assert run_parity(tmp_path) == 0
    copied_case(tmp_path, tok_llm=tensors['tok_llm'] + 1e-3)
    assert run_parity(tmp_path) == 1
    assert 'FAILED few: tokens' in capsys.readouterr().out


def test_parity_fails_on_results_that_are_not_numbers(tmp_path):
    tensors = copied_case(tmp_path)
    copied_case(tmp_path, first_logits=torch.full_like(tensors['first_logits'], float('nan')))
    assert run_parity(tmp_path) == 1


def test_parity_skips_what_was_not_recorded_but_fails_when_nothing_is_left(tmp_path, capsys):
    tensors = copied_case(tmp_path)
    inputs = {k: v for k, v in tensors.items() if k.startswith('in.')}
    save_file({**inputs, 'tok_llm': tensors['tok_llm']}, tmp_path / 'few.safetensors')
    assert run_parity(tmp_path) == 0
    save_file(inputs, tmp_path / 'few.safetensors')
    meta = {'question': '<region>', 'mask_ids': [0]}
    (tmp_path / 'few.json').write_text(json.dumps(meta))
    assert run_parity(tmp_path) == 1
    assert 'nothing compared' in capsys.readouterr().out


@pytest.mark.parametrize('name', ['local3.feat', 'global1.image', 'r1.tok_pool', 'r0.kmeans_init',
                                  'tok_after_both'])
def test_parity_fails_on_a_recorded_result_that_nothing_here_is_called(name, tmp_path, capsys):
    copied_case(tmp_path, **{name: torch.zeros(32, dtype=torch.long)})
    assert run_parity(tmp_path) == 1
    assert f'UNKNOWN few: {name}' in capsys.readouterr().out


def second_region(meta):
    meta['regions'] *= 2


@pytest.mark.parametrize('change, stage', [
    (lambda meta: meta['sha256'].update({'local7.image': {'sha256': '0' * 64}}), 'names'),
    (lambda meta: meta['regions'][0].update(n_cells=25), 'names'),
    (lambda meta: meta['regions'].clear(), 'grids'),
    (second_region, 'grids'),
    (lambda meta: meta.update(text=meta['text'] + '!'), 'text'),
], ids=['digest', 'region', 'no region', 'two regions', 'text'])
def test_parity_fails_on_a_description_that_is_not_ours(change, stage, tmp_path, capsys):
    copied_case(tmp_path, change_meta=change)
    assert run_parity(tmp_path) == 1
    assert f'FAILED few: {stage}' in capsys.readouterr().out


def test_parity_fails_on_first_centroids_that_are_no_cells(tmp_path, capsys):
    copied_case(tmp_path, 'large', lambda meta: meta.pop('seed'),
                **{'r0.kmeans_init': torch.arange(32) + 10 ** 6})
    assert run_parity(tmp_path) == 1
    assert 'init' in capsys.readouterr().out.split('FAILED large: ')[1]


def test_parity_answers_with_the_penalty_that_the_checkpoint_asks_for(tmp_path, capsys):
    checkpoint = tmp_path / 'checkpoint'
    shutil.copytree(GOLDEN / 'pixelrefer-lite', checkpoint)
    file = checkpoint / 'generation_config.json'
    file.write_text(json.dumps({**json.loads(file.read_text()), 'repetition_penalty': PENALTY}))
    (tmp_path / 'cases').mkdir()
    penalised = copied_case(tmp_path / 'cases', 'two')['output_ids_reppen_1p1']
    assert run_parity(tmp_path / 'cases', checkpoint) == 1
    assert 'FAILED two: greedy' in capsys.readouterr().out
    copied_case(tmp_path / 'cases', 'two', lambda meta: meta.pop('text'), output_ids=penalised)
    assert run_parity(tmp_path / 'cases', checkpoint) == 0


def test_parity_compares_a_crop_before_the_pixel_budget_and_after_it(tmp_path, golden):
    case = Case.read(GOLDEN / 'lite' / 'few.json')
    image, mask = case.tensors['in.images'], boxed(60, 60, 4, 4, height=160, width=208)
    policy = EncodePolicy.published()
    images = region_images([image[0].numpy()], [mask] * 2, [0, 0], golden.config, policy)
    inputs = pack_regions(images, golden.config, policy)
    crop, fitted = images.crops[0].image, unpatchify(inputs.patches[0], tuple(inputs.grids[0]), 14)
    assert crop.shape > fitted.shape
    save_file({'in.images': image, 'in.masks': torch.from_numpy(mask).byte().repeat(2, 1, 1),
               'r0.crop': torch.from_numpy(crop), 'r0.crop_pil': torch.from_numpy(fitted)},
              tmp_path / 'small.safetensors')
    (tmp_path / 'small.json').write_text(json.dumps(
        {'question': '<region>, <region>', 'mask_ids': [0, 0]}))
    assert run_parity(tmp_path) == 0


def test_parity_says_what_it_cannot_read_and_compares_the_rest(tmp_path, capsys):
    assert run_parity(tmp_path) == 2
    copied_case(tmp_path)
    copied_case(tmp_path, 'large')
    (tmp_path / 'few.safetensors').write_bytes(b'\x07' * 40)
    copied_case(tmp_path, 'thin', lambda meta: meta.update(regions='none'))
    assert run_parity(tmp_path) == 2
    told = capsys.readouterr()
    assert 'few.json: ' in told.err and 'thin.json: ' in told.err
    assert '1 cases, 1 passed' in told.out and 'large' in told.out
