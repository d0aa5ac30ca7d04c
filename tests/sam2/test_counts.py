# SPDX-License-Identifier: Apache-2.0
"""How often each stage runs, and what batching may not change: counted and compared, not timed."""

from collections import Counter

import pytest
import torch

from pixelrefer_model.engine import TINY
from pixelrefer_model.prompt import Box, Click
from pixelrefer_model.sam2 import ComputePolicy, MaskPolicy, MemoryPolicy, ObjectTracker, pixels
from pixelrefer_model.sam2 import batches as batches_module
from pixelrefer_model.sam2 import encoder as encoder_module
from pixelrefer_model.sam2.checkpoint import load_model, save_model
from tests.sam2.conftest import frame, small_model

PLACES = [Click.at(40 + 9 * k, 50 + 3 * k) for k in range(8)]


def crowd(model, count: int = 8, **policies) -> ObjectTracker:
    tracker = ObjectTracker(model, **policies)
    for k in range(count):
        tracker.add(f'object {k}', PLACES[k], frame(0))
    return tracker


def counted(model) -> Counter:
    """Counts the calls of the network's parts from now on."""
    calls = Counter()
    parts = {'hiera': model.vision_encoder.backbone.patch_embed,
             'memory attention': model.memory_attention.layers[0].layer_norm1,
             'prompts': model.prompt_encoder, 'decoder': model.mask_decoder.transformer,
             'memory encoder': model.memory_encoder.memory_fuser.layers[0].pointwise_conv1}
    for name, module in parts.items():
        module.register_forward_hook(
            lambda *_, name=name: calls.update([name]))
    return calls


@pytest.mark.parametrize('cells, batches', [(8 * 64 * 64, 1), (3 * 64 * 64, 3), (1, 8)])
def test_a_frame_of_8_objects_is_one_encoding_and_few_batches(narrow, monkeypatch, cells, batches):
    monkeypatch.setattr(batches_module, 'CPU_CELLS', cells)
    tracker = crowd(narrow)
    calls = counted(narrow)
    tracker.step(frame(1))
    assert calls == {'hiera': 1, 'memory attention': batches, 'prompts': batches,
                     'decoder': batches, 'memory encoder': batches}


def test_exclusive_masks_are_enlarged_once(narrow, monkeypatch):
    tracker = crowd(narrow, masks=MaskPolicy(exclusive=True))
    enlarged = []
    real = pixels.to_masks
    monkeypatch.setattr(pixels, 'to_masks', lambda logits, *size: (
        enlarged.append(len(logits)), real(logits, *size))[1])
    tracker.step(frame(1))
    assert enlarged == [8]


def test_tables_of_constants_are_made_once(narrow, monkeypatch):
    tracker = crowd(narrow)
    tracker.step(frame(1))
    for owner, name in ((type(narrow), 'get_image_wide_positional_embeddings'),
                        (type(narrow.vision_encoder.backbone), '_get_pos_embed'),
                        (type(narrow.memory_encoder.position_encoding), 'forward')):
        monkeypatch.setattr(owner, name, lambda *_: pytest.fail('made anew'))
    tracker.step(frame(2))


@pytest.mark.parametrize('policy', [MemoryPolicy.plain(), MemoryPolicy.good()])
def test_the_packaged_checkpoint_gives_an_object_the_same_bits_in_any_crowd(policy):
    torch.set_num_threads(1)
    model = load_model(TINY['tracker'])
    alone, among = crowd(model, 1, memory=policy), crowd(model, 6, memory=policy)
    for t in range(1, 6):
        expected, found = alone.step(frame(t))[0], among.step(frame(t))[0]
        assert torch.equal(expected.logits, found.logits), t
        assert expected.score == found.score
        if t == 2:
            among.remove('object 3')
        if t == 3:
            among.correct('object 4', PLACES[5], frame(3))


def test_an_encoder_that_is_to_be_compiled_is_not_on_a_cpu(narrow, monkeypatch):
    expected = crowd(narrow, 1).step(frame(1))[0].logits
    monkeypatch.setattr(torch, 'compile', lambda *_, **__: pytest.fail('compiled on a CPU'))
    tracker = crowd(narrow, 1, compute=ComputePolicy(compile_encoder=True))
    assert torch.equal(tracker.step(frame(1))[0].logits, expected)


def test_the_encoder_can_be_compiled_as_one_graph(narrow, monkeypatch):
    """What CUDA compiles, traced whole and run as it is: no break, the same features."""
    real = torch.compile
    monkeypatch.setattr(encoder_module.torch, 'compile',
                        lambda function, **options: real(function, backend='eager', **options))
    images = pixels.to_pixels(frame(0).image, 64, torch.device('cpu'), torch.float32)
    with torch.no_grad():
        expected = encoder_module.ImageEncoder(narrow)(images)
        found = encoder_module.ImageEncoder(narrow, compiled=True)(images)
    for one, other in zip(expected.tensors(), found.tensors()):
        assert torch.allclose(one, other, atol=1e-5)


def test_bfloat16_follows_what_float32_follows(tmp_path):
    save_model(small_model(), tmp_path)
    tracks = []
    for dtype in (torch.float32, torch.bfloat16):
        tracker = ObjectTracker.from_checkpoint(tmp_path, dtype=dtype)
        tracker.add('a', Box(22, 34, 58, 68), frame(0))
        tracks.append([tracker.step(frame(t))[0] for t in range(1, 4)][-1])
    exact, rough = (track.logits > 0 for track in tracks)
    assert exact.any() and (exact & rough).sum() / (exact | rough).sum() > 0.8
    assert tracks[1].state is tracks[0].state


def test_a_checkpoint_tracks_at_512_pixels(narrow, tmp_path):
    save_model(narrow, tmp_path)
    tracker = ObjectTracker.from_checkpoint(tmp_path, input_size=512)
    tracker.add('a', Box(22, 34, 58, 68), frame(0))
    assert tracker.step(frame(1))[0].logits.shape == (128, 128)
