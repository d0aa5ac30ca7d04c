# SPDX-License-Identifier: Apache-2.0
"""A closer look at what is followed: better masks in what is published, nothing else changes."""

from collections import Counter

import numpy as np
import pytest
import torch

from pixelrefer_model.engine import TINY
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_model.prompt import Box, MaskPrompt
from pixelrefer_model.sam2 import LookPolicy, ObjectTracker
from pixelrefer_model.sam2.checkpoint import load_model
from tests.sam2.conftest import disc_mask, frame
from training.tracker.measure import LEAST_PROMPTED, iou
from training.world import World

BOX, OTHER = Box(24, 34, 56, 66), Box(96, 56, 124, 84)
AGAIN = LookPolicy(looks=2, following=160)


@pytest.fixture(scope='module')
def model():
    return load_model(TINY['tracker'])


@pytest.fixture
def encoded(model):
    """Counts encoded images by the side of their input, whoever's network it is."""
    calls = Counter()
    before = type(model.vision_encoder.backbone.patch_embed).forward

    def counted(self, pixels, *args, **kwargs):
        calls[pixels.shape[-1]] += 1
        return before(self, pixels, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.vision_encoder.backbone.patch_embed), 'forward', counted)
        yield calls


def followed(model, look: LookPolicy, frames: int = 6) -> list:
    tracker = ObjectTracker(model, look=look)
    tracker.add('red', BOX, frame(0))
    tracker.add('blue', OTHER, frame(0))
    return [tracker.step(frame(t)) for t in range(1, frames)]


def test_each_object_in_view_is_looked_at_once_a_frame_and_the_frame_too(model, encoded):
    tracker = ObjectTracker(model, look=AGAIN)
    tracker.add('red', BOX, frame(0))
    tracker.add('blue', OTHER, frame(0))
    encoded.clear()
    tracks = tracker.step(frame(1))
    assert all(track.mask is not None for track in tracks)
    assert encoded == {288: 1, 160: 2}
    assert tracker.encoded == 2


def test_what_is_remembered_is_that_of_the_whole_frame(model):
    for plain, again in zip(followed(model, LookPolicy(looks=2)), followed(model, AGAIN)):
        for one, other in zip(plain, again, strict=True):
            assert torch.equal(one.logits, other.logits)
            assert one.score == other.score
    assert any(not np.array_equal(one.mask, other.mask) for one, other in zip(plain, again))


def test_an_object_is_seen_the_same_whoever_else_is_followed(model):
    alone = ObjectTracker(model, look=AGAIN)
    alone.add('red', BOX, frame(0))
    for t, both in enumerate(followed(model, AGAIN), 1):
        assert np.array_equal(alone.step(frame(t))[0].mask, both[0].mask)


def test_a_look_that_shows_something_else_is_not_believed(model):
    sure = LookPolicy(looks=2, following=160, agree=1.0)
    for plain, again in zip(followed(model, LookPolicy(looks=2)), followed(model, sure)):
        for one, other in zip(plain, again, strict=True):
            assert np.array_equal(one.mask, other.mask)


def test_what_fills_the_frame_is_not_looked_at_again(model, encoded):
    tracker = ObjectTracker(model, look=LookPolicy(following=160, fill=0.2))
    tracker.add('red', MaskPrompt(disc_mask()), frame(0))
    encoded.clear()
    tracker.step(frame(1))
    assert encoded == {288: 1}


def test_a_size_that_the_network_cannot_take_is_refused(model):
    with pytest.raises(PixelReferError, match='150 px'):
        ObjectTracker(model, look=LookPolicy(following=150))


def test_what_is_followed_is_outlined_better():
    """Of test scenes, the first second after a true mask was given."""
    trackers = {look: ObjectTracker.from_checkpoint(TINY['tracker'], look=look)
                for look in (LookPolicy(), LookPolicy(following=160))}
    found = {look: [] for look in trackers}
    with World() as world:
        for number in range(12):
            plan = world.plan(1_777_000 + number, split='test', seconds=3.0)
            shots = [world.render(plan, t / 10) for t in range(8)]
            sizes = np.bincount(shots[0].seg.ravel())
            k = next((k for k in range(1, len(sizes)) if sizes[k] >= LEAST_PROMPTED), None)
            for look, tracker in trackers.items() if k else ():
                tracker.reset()
                for t, shot in enumerate(shots):
                    shown = Frame(shot.rgb, 1 + t * 100_000_000)
                    if t == 0:
                        tracker.add('it', MaskPrompt(shot.seg == k), shown)
                    elif (shot.seg == k).sum() >= LEAST_PROMPTED:
                        found[look].append(iou(tracker.step(shown)[0].mask, shot.seg == k))
    plain, again = (np.mean(values) for values in found.values())
    assert again > plain + 0.005
