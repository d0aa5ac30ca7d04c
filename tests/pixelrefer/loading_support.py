# SPDX-License-Identifier: Apache-2.0
"""What the tests of loading share: checkpoints changed on disk, and how they are refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.pixelrefer import PixelReferModel


def refusal(folder, kind=PixelReferModel):
    with pytest.raises(PixelReferError) as error:
        kind.from_checkpoint(folder)
    assert error.value.code == 'CHECKPOINT'
    return error.value.message


def rewrite(folder, change):
    tensors = load_file(folder / 'model.safetensors')
    change(tensors)
    save_file(tensors, folder / 'model.safetensors')


def configured(folder, **values):
    file = folder / 'config.json'
    stored = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({k: v for k, v in stored.items() if v is not ...}))


def same_weights(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
