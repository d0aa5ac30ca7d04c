# SPDX-License-Identifier: Apache-2.0
"""The baseline of the benchmarks does the same as what is measured against it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.plain import PlainModel
from pixelrefer_model.language import Evidence, LanguageModel, collect, compose
from pixelrefer_model.pixelrefer import EncodePolicy, PixelReferLite, RegionEncoder

CHECKPOINT = Path(__file__).parents[1] / 'golden' / 'pixelrefer-lite'


@pytest.fixture(scope='module')
def model():
    return PixelReferLite.from_checkpoint(CHECKPOINT)


@pytest.fixture(scope='module')
def plain(model):
    return PlainModel(model, model.tokenizer)


@pytest.mark.parametrize('side', [20, 90])
def test_its_object_tokens_are_ours(model, plain, side):
    image = np.random.default_rng(3).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    mask = np.zeros((120, 160), bool)
    mask[10:10 + side, 30:30 + side] = True
    ours = RegionEncoder(model, EncodePolicy.published()).encode(image, [mask])
    assert torch.allclose(plain.encode(image, mask), ours, atol=1e-4)


def test_its_answers_are_ours_and_of_the_length_that_was_asked_for(model, plain):
    tokens = torch.randn(2, 1, 32, 128, generator=torch.Generator().manual_seed(1))
    prompt = compose('Which is taller?', [Evidence(n, t) for n, t in zip('ab', tokens)])
    language = LanguageModel(model, generation={})
    language.ends = frozenset()
    answer = plain.answer(prompt.text, [prompt.tokens], 20)
    ours = collect(language.generate([prompt], max_new_tokens=20), 1)[0]
    assert answer.token_ids == ours.token_ids and len(answer.token_ids) == 20
    assert answer.first < answer.last
