# SPDX-License-Identifier: Apache-2.0
"""With the plain memory policy the tracker is transformers' own session, to float rounding."""

import pytest
import torch
from transformers import Sam2VideoInferenceSession

from pixelrefer_model.prompt import Box, Click, MaskPrompt
from pixelrefer_model.sam2 import MemoryPolicy, ObjectTracker, pixels
from tests.sam2.conftest import HEIGHT, SIZE, WIDTH, disc_mask, frame

FRAMES = 24
PROMPTS = {'click': Click.at(40, 50), 'box': Box(22, 34, 58, 68), 'mask': MaskPrompt(disc_mask())}


def session_logits(model, prompt) -> list[torch.Tensor]:
    """The mask logits of transformers' streaming session, [4h, 4w] per frame."""
    session = Sam2VideoInferenceSession(
        dtype=torch.float32, inference_device='cpu', inference_state_device='cpu',
        video_storage_device='cpu', max_vision_features_cache_size=1)
    index = session.obj_id_to_idx(1)
    if isinstance(prompt, MaskPrompt):
        mask = pixels.to_mask_prompt(prompt.mask, SIZE, torch.device('cpu'))
        session.add_mask_inputs(index, 0, mask[None])
    else:
        points, labels = pixels.to_points(prompt, WIDTH, HEIGHT, SIZE, torch.device('cpu'))
        session.add_point_inputs(
            index, 0, {'point_coords': points[None], 'point_labels': labels[None]})
    session.obj_with_new_inputs.append(1)
    logits = []
    for t in range(FRAMES):
        image = pixels.to_pixels(frame(t).image, SIZE, torch.device('cpu'), torch.float32)
        out = model(session, frame=image, frame_idx=t)
        logits.append(out.pred_masks[0, 0].clone())
    return logits


@pytest.mark.parametrize('kind', PROMPTS)
def test_one_object_has_the_logits_of_the_library_session(model, kind):
    expected = session_logits(model, PROMPTS[kind])
    tracker = ObjectTracker(model, memory=MemoryPolicy.plain())
    found = [tracker.add('a', PROMPTS[kind], frame(0)).logits]
    found += [tracker.step(frame(t))[0].logits for t in range(1, FRAMES)]
    worst = max(float((a - b).abs().max()) for a, b in zip(expected, found))
    assert worst <= 1e-4, worst
    assert all((logits > -1000).all() for logits in expected), 'the object is in view throughout'


@pytest.mark.parametrize('policy', [MemoryPolicy.plain(), MemoryPolicy.good()])
def test_another_object_changes_nothing(model, policy):
    alone, crowded = (ObjectTracker(model, memory=policy) for _ in range(2))
    alone.add('a', PROMPTS['box'], frame(0))
    crowded.add('a', PROMPTS['box'], frame(0))
    for t in range(1, FRAMES):
        if t == 3:
            crowded.add('b', MaskPrompt(disc_mask(3)), frame(3))
        if t == 5:
            crowded.add('c', Click.at(110 - 5, 72), frame(5))
        if t == 12:
            crowded.remove('b')
        if t == 15:
            crowded.correct('c', Click.at(110 - 15, 77), frame(15))
        expected = alone.step(frame(t))[0]
        found = crowded.step(frame(t))[0]
        assert float((expected.logits - found.logits).abs().max()) <= 1e-4
        assert (expected.mask == found.mask).all()
        assert expected.state is found.state
