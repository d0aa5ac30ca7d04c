# SPDX-License-Identifier: Apache-2.0
"""Published behaviour of PixelRefer, which sees the whole image: cases come out as recorded."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.parity import compare_case, main
from benchmarks.recorded import Case
from benchmarks.stages import TOLERANCES
from pixelrefer_support import FULL_CHECKPOINT, GOLDEN

CASES = sorted(file.stem for file in (GOLDEN / 'full').glob('*.json'))
NEEDED = set(TOLERANCES) - {'pixels', 'local', 'global', 'penalty'}


@pytest.mark.parametrize('name', CASES)
def test_a_recorded_case_comes_out_as_recorded(name, golden_full):
    report = compare_case(Case.read(GOLDEN / 'full' / f'{name}.json'), golden_full)
    assert report.failed == []
    assert set(report.compared) >= NEEDED


def test_the_cases_include_a_video_that_drops_tokens_and_two_objects_of_an_image():
    metas = [Case.read(GOLDEN / 'full' / f'{name}.json').meta for name in CASES]
    assert any(meta['n_image_tokens_kept'] < meta['n_image_tokens'] for meta in metas)
    assert any(meta['n_regions'] == 2 and meta['modality'] == 'image' for meta in metas)


@pytest.mark.parametrize('change, stage', [
    (lambda meta, t: t.update(image_tokens=t['image_tokens'] + 1e-3), 'images'),
    (lambda meta, t: t.update(image_tokens=t['image_tokens'][:-1].clone()), 'images'),
    (lambda meta, t: meta.update(n_image_tokens_kept=meta['n_image_tokens']), 'whole'),
    (lambda meta, t: meta.update(image_stride=1), 'whole'),
    (lambda meta, t: meta['timestamps'].__setitem__(1, 1.5), 'prompt'),
    (lambda meta, t: meta.update(mask_token_counts=[31]), 'prompt'),
    (lambda meta, t: t.update({'in.mask_frames': t['in.mask_frames'].flip(1)}), 'crops'),
    (lambda meta, t: t.update({'image9.pixel_values': torch.zeros(1)}), 'names'),
], ids=['tokens', 'count', 'kept', 'stride', 'times', 'objects', 'frames', 'unknown'])
def test_parity_fails_on_a_video_that_is_not_ours(change, stage, tmp_path, capsys):
    meta = json.loads((GOLDEN / 'full' / 'video1.json').read_text())
    tensors = load_file(GOLDEN / 'full' / 'video1.safetensors')
    arguments = ['--cases', str(tmp_path), '--checkpoint', str(FULL_CHECKPOINT)]
    for off in (False, True):
        if off:
            change(meta, tensors)
        (tmp_path / 'video1.json').write_text(json.dumps(meta))
        save_file(tensors, tmp_path / 'video1.safetensors')
        assert main(arguments) == int(off)
    assert stage in capsys.readouterr().out.split('FAILED video1: ')[1]
