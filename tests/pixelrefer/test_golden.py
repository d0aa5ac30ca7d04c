# SPDX-License-Identifier: Apache-2.0
"""Published behaviour: every recorded case comes out as it was recorded, stage by stage."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.parity import PENALTY, TOLERANCES, Case, compare_case, main
from pixelrefer_model.language.generate import LanguageModel
from pixelrefer_support import GOLDEN

CASES = sorted(file.stem for file in (GOLDEN / 'lite').glob('*.json'))
NEEDED = set(TOLERANCES) - {'pixels', 'init'}


@pytest.fixture(scope='module')
def languages(golden):
    return {penalty: LanguageModel(golden, generation={'repetition_penalty': penalty})
            for penalty in (1, PENALTY)}


@pytest.mark.parametrize('name', CASES)
def test_a_recorded_case_comes_out_as_recorded(name, golden, languages):
    report = compare_case(Case.read(GOLDEN / 'lite' / f'{name}.json'), golden, languages)
    assert report.failed == []
    assert set(report.compared) >= NEEDED


def copied_case(folder, name='few', **changes):
    meta = json.loads((GOLDEN / 'lite' / f'{name}.json').read_text())
    tensors = load_file(GOLDEN / 'lite' / f'{name}.safetensors')
    (folder / f'{name}.json').write_text(json.dumps(meta))
    save_file({**tensors, **changes}, folder / f'{name}.safetensors')
    return tensors


def run_parity(folder):
    return main(['--cases', str(folder), '--checkpoint', str(GOLDEN / 'pixelrefer-lite')])


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


def test_parity_says_what_it_cannot_read(tmp_path, capsys):
    assert run_parity(tmp_path) == 2
    copied_case(tmp_path)
    (tmp_path / 'few.safetensors').write_bytes(b'\x07' * 40)
    assert run_parity(tmp_path) == 2
    assert 'few' in capsys.readouterr().err
