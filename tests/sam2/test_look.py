# SPDX-License-Identifier: Apache-2.0
"""A closer look at a prompt: how often there is one, what it shows, what it is good for."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from pixelrefer_model.engine import TINY
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_model.prompt import Box, Click, MaskPrompt, Scribble
from pixelrefer_model.sam2 import LookPolicy, ObjectTracker, pixels
from pixelrefer_model.sam2.checkpoint import load_model, save_model
from pixelrefer_model.sam2.look import Window
from pixelrefer_model.sam2.network import GIVEN_BIAS
from tests.sam2.conftest import HEIGHT, WIDTH, disc_mask, frame
from training.tracker.measure import LEAST_PROMPTED, iou, make_prompt
from training.world import World

BOX = Box(24, 34, 56, 66)
#: What is prompted is looked at again, what is followed is not.
PROMPTS = LookPolicy(looks=2)


@pytest.fixture(scope='module')
def model():
    """The packaged tracker, which sees the disc: a random one's mask would fill the frame."""
    return load_model(TINY['tracker'])


@pytest.fixture
def encoded(model):
    """Counts how often an image is encoded, whatever part of a frame it is."""
    calls = Counter()
    handle = model.vision_encoder.backbone.patch_embed.register_forward_hook(
        lambda *_: calls.update(['images']))
    yield calls
    handle.remove()


@pytest.mark.parametrize('prompt, looks', [
    (BOX, 1), (Click.at(40, 50), 2), (Scribble(np.array([[36., 50.], [44., 50.]])), 2),
    (Box(24, 34, 56, 66, Click.at(40, 50)), 1), (MaskPrompt(disc_mask()), 0),
    (Box(0, 0, WIDTH, HEIGHT), 0)])
def test_a_box_is_looked_at_once_more_and_a_click_twice(model, encoded, prompt, looks):
    tracker = ObjectTracker(model, look=PROMPTS)
    tracker.add('it', prompt, frame(0))
    assert encoded['images'] == 1 + looks
    assert tracker.encoded == 1


def test_nothing_is_looked_at_again_unless_the_policy_says_so(model, encoded):
    ObjectTracker(model).add('it', Click.at(40, 50), frame(0))
    assert encoded['images'] == 1


def test_following_and_corrections_that_rest_on_memory_are_never_looked_at_again(model, encoded):
    tracker = ObjectTracker(model, look=PROMPTS)
    tracker.add('it', BOX, frame(0))
    encoded.clear()
    tracker.step(frame(1))
    tracker.correct('it', Click.at(42, 50), frame(1))
    assert encoded['images'] == 1


def test_points_that_add_to_those_of_the_first_frame_are_looked_at_again(model, encoded):
    tracker = ObjectTracker(model, look=PROMPTS)
    tracker.add('it', Click.at(40, 50), frame(0))
    encoded.clear()
    tracker.correct('it', Click.at(44, 52), frame(0))
    assert encoded['images'] == 2


def test_corrections_that_only_say_where_the_object_is_not_are_not_looked_at(model):
    tracker = ObjectTracker(model, look=PROMPTS)
    for t in range(3):
        tracker.step(frame(t))
    tracker.add('it', BOX, frame(2))
    for _ in range(2):
        tracker.correct('it', Click(np.array([[120., 90.]]), np.array([0])), frame(1))
    assert tracker.step(frame(3))[0].object_id == 'it'


@pytest.mark.parametrize('box', [(0, 0, 3, 3), (637, 477, 640, 480), (300, 200, 340, 420),
                                 (0, 0, 640, 480), (10, 10, 600, 20)])
def test_a_window_holds_its_box_within_the_frame_and_is_squeezed_as_the_frame_is(box):
    window = Window.around(box, 640, 480, PROMPTS)
    assert 0 <= window.x0 <= box[0] and box[2] <= window.x1 <= 640
    assert 0 <= window.y0 <= box[1] and box[3] <= window.y1 <= 480
    wide, high = (window.x1 - window.x0) / 640, (window.y1 - window.y0) / 480
    assert wide == pytest.approx(high, abs=1 / 480)
    assert wide >= 0.3 - 1 / 640


def test_a_point_lies_on_the_same_pixel_of_the_window_as_of_the_frame():
    window, size = Window(100, 60, 260, 180), 288
    image = np.zeros((480, 640, 3), np.uint8)
    image[90:94, 200:204] = 255
    shown = pixels.to_pixels(window.cut(image), size, torch.device('cpu'), torch.float32)[0, 0]
    rows, columns = (shown > shown.min() + 1).nonzero().float().mean(0)
    points, _ = pixels.to_points(Click.at(202, 92), 640, 480, size, torch.device('cpu'))
    x, y = window.points(points, 640, 480, size)[0, 0]
    assert (x.item(), y.item()) == (pytest.approx(columns.item(), abs=0.6),
                                    pytest.approx(rows.item(), abs=0.6))


def test_both_looks_count_alike_within_the_window_and_nothing_is_outside_of_it():
    far, window = torch.full((48, 64), 6.0), Window(10, 20, 30, 35)
    made = window.joined(far, torch.full((72, 72), -2.0))
    inside = torch.zeros(48, 64, dtype=torch.bool)
    inside[20:35, 10:30] = True
    assert (made[inside] == 2.0).all()
    assert (made[~inside] == GIVEN_BIAS).all()


@pytest.mark.parametrize('said', [
    {'looks': -1}, {'looks': 1.5}, {'fill': 0}, {'glasses': 2}, 'closely'])
def test_a_checkpoint_that_asks_for_a_look_there_is_not_is_refused(narrow, tmp_path, said):
    save_model(narrow, tmp_path)
    config = json.loads((tmp_path / 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps({**config, 'prompt_look': said}))
    with pytest.raises(PixelReferError, match='prompt_look') as raised:
        ObjectTracker.from_checkpoint(tmp_path)
    assert raised.value.code == 'CHECKPOINT'


def test_a_checkpoint_says_how_its_prompts_are_looked_at(narrow, tmp_path):
    save_model(narrow, tmp_path)
    assert ObjectTracker.from_checkpoint(tmp_path).look == LookPolicy.never()
    assert ObjectTracker.from_checkpoint(TINY['tracker']).look == LookPolicy.closer()


def test_small_things_are_outlined_better_by_looking_closer():
    """Of test scenes, boxes and clicks on what shows under 400 px."""
    trackers = {looks: ObjectTracker.from_checkpoint(TINY['tracker'], look=LookPolicy(looks))
                for looks in (0, 2)}
    found = {looks: [] for looks in trackers}
    with World() as world:
        for number in range(24):
            shot = world.render(world.plan(1_777_000 + number, split='test', seconds=6.2), 0.5)
            rng, sizes = np.random.default_rng(number), np.bincount(shot.seg.ravel())
            for k in range(1, len(sizes)):
                if not LEAST_PROMPTED <= sizes[k] < 400:
                    continue
                for kind in ('box', 'click'):
                    prompt = make_prompt(kind, shot.seg == k, rng)
                    for looks, tracker in trackers.items():
                        tracker.reset()
                        track = tracker.add('it', prompt, Frame(shot.rgb, number))
                        found[looks].append(iou(track.mask, shot.seg == k))
    assert len(found[0]) >= 20
    assert np.mean(found[2]) > np.mean(found[0]) + 0.05
