# SPDX-License-Identifier: Apache-2.0
"""The mean of checkpoints lies between them; those that have nothing in common have none."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pixelrefer_model.pixelrefer import PixelReferLite
from pixelrefer_model.weights import checkpoint_folder
from training.refer.mean import WEIGHTS, mean_of

PACKAGED = checkpoint_folder('tiny', 'refer')
NAME = 'model.norm.weight'


@pytest.fixture
def other(tmp_path):
    """The packaged checkpoint with one tensor twice as large."""
    folder = tmp_path / 'other'
    shutil.copytree(PACKAGED, folder)
    weights = load_file(folder / WEIGHTS)
    save_file({**weights, NAME: 2 * weights[NAME]}, folder / WEIGHTS, metadata={'format': 'pt'})
    return folder


def test_the_mean_lies_between_by_the_shares_and_loads_as_a_checkpoint(other, tmp_path):
    mean_of([PACKAGED, other], [0.25, 0.75], tmp_path / 'mean')
    one, made = load_file(PACKAGED / WEIGHTS), load_file(tmp_path / 'mean' / WEIGHTS)
    assert set(one) == set(made)
    for name, value in one.items():
        wanted = (value.double() * 1.75).to(value.dtype) if name == NAME else value
        assert made[name].dtype == value.dtype and torch.equal(made[name], wanted), name
    model = PixelReferLite.from_checkpoint(tmp_path / 'mean')
    assert torch.equal(model.state_dict()[NAME], made[NAME].to(model.state_dict()[NAME].dtype))


@pytest.mark.parametrize('shares', [[1.0], [0.5, 0.6], [0.2, 0.3, 0.5], [2.0, -1.0],
                                    [float('nan'), 1.0]])
def test_shares_that_are_no_shares_are_refused_and_nothing_is_written(other, tmp_path, shares):
    with pytest.raises(ValueError, match='one share for each of 2 checkpoints'):
        mean_of([PACKAGED, other], shares, tmp_path / 'mean')
    assert not (tmp_path / 'mean').exists()


def test_a_folder_that_is_there_is_not_overwritten(other):
    before = (other / WEIGHTS).read_bytes()
    with pytest.raises(ValueError, match='is there already'):
        mean_of([PACKAGED, other], [0.5, 0.5], other)
    assert (other / WEIGHTS).read_bytes() == before


def test_what_a_question_about_now_rests_on_is_as_the_first_says(other, tmp_path):
    config = json.loads((other / 'config.json').read_text())
    looks = {name: config.pop(name) for name in ('now_looks', 'now_likeness')}
    (other / 'config.json').write_text(json.dumps(config))
    mean_of([PACKAGED, other], [0.5, 0.5], tmp_path / 'mean')
    made = json.loads((tmp_path / 'mean' / 'config.json').read_text())
    assert {name: made[name] for name in looks} == looks


@pytest.mark.parametrize('name, old, new', [
    ('config.json', '"mask_num": 16', '"mask_num": 8'), ('tokenizer.json', '\n', '\n\n')])
def test_checkpoints_of_other_sizes_or_words_have_no_mean(other, tmp_path, name, old, new):
    text = (other / name).read_text()
    assert old in text
    (other / name).write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=f'{name} is not the same in'):
        mean_of([PACKAGED, other], [0.5, 0.5], tmp_path / 'mean')
    assert not (tmp_path / 'mean').exists()
