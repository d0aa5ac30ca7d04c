# SPDX-License-Identifier: Apache-2.0
"""The tracker's trainer: batches are true to their clips, learning learns."""

import numpy as np
import pytest
import torch

from pixelrefer_model.frame import Frame
from pixelrefer_model.sam2 import Track, TrackState
from pixelrefer_model.sam2.attention import Selection
from pixelrefer_model.sam2.network import Sam2Network
from training.tracker import measure
from training.tracker.clips import ClipStore, Cut, cut_clip, draw_batch, write_clips
from training.tracker.points import draw_points
from training.tracker.rollout import Rollout, _Past, selections
from training.tracker.shapes import make_clip
from training.tracker.sources import returns
from tests.sam2.conftest import HEIGHT, WIDTH, picture, small_model

CUT = Cut(64, 3, 2, 0.4, 0.9)


@pytest.fixture
def store(tmp_path) -> ClipStore:
    clips = (make_clip(seed, 4, 96) for seed in range(4))
    write_clips(tmp_path, clips, 0, 4, 4, 96, 96)
    return ClipStore(tmp_path)


def test_the_same_seed_makes_the_same_batch(store):
    one, two = (draw_batch([(store, 1.0)], 3, CUT, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(one.pixels, two.pixels) and torch.equal(one.masks, two.masks)
    other = draw_batch([(store, 1.0)], 3, CUT, np.random.default_rng(4))
    assert not torch.equal(one.pixels, other.pixels)


def test_masks_are_cut_exactly_as_images_are():
    labels = np.zeros((3, 120, 160), np.uint8)
    labels[:, 40:80, 50:90] = 1
    images = np.where(labels[..., None] == 1, 250, 5).astype(np.uint8).repeat(3, axis=3)
    for seed in range(20):
        pictures, cut, taken = cut_clip(images, labels, CUT, np.random.default_rng(seed))
        mask = cut == taken[0]
        inside, outside = pictures[mask].mean(), pictures[~mask].mean()
        assert inside - outside > 100, seed


def test_clips_are_gone_on_with_after_a_stop(tmp_path):
    whole, halves = tmp_path / 'whole', tmp_path / 'halves'
    write_clips(whole, (make_clip(s, 2, 64) for s in range(4)), 0, 4, 2, 64, 64)
    write_clips(halves, (make_clip(s, 2, 64) for s in range(2)), 0, 4, 2, 64, 64)
    assert ClipStore(halves).count == 2
    write_clips(halves, (make_clip(s, 2, 64) for s in range(2, 4)), 2, 4, 2, 64, 64)
    assert ClipStore(halves).count == 4
    assert (ClipStore(whole).images == ClipStore(halves).images).all()


@pytest.mark.parametrize('kind', ['box', 'click'])
def test_prompts_point_at_the_object(kind):
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 20:40, 10:50] = True
    for seed in range(30):
        points, labels = draw_points(torch.from_numpy(mask), kind, np.random.default_rng(seed))
        if kind == 'click':
            assert mask[0, round(float(points[0, 0, 1])), round(float(points[0, 0, 0]))]
            assert labels.tolist() == [[1]]
        else:
            assert labels.tolist() == [[2, 3]]
            assert (points[0] - torch.tensor([[9.5, 19.5], [49.5, 39.5]])).abs().max() < 7


def test_learning_reaches_every_part_and_lowers_the_loss(store):
    model = small_model(size=64, width=64, stages=(8, 16, 32, 64))
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batch = draw_batch([(store, 1.0)], 2, CUT, np.random.default_rng(0))
    losses = []
    for _ in range(12):
        rollout = Rollout(Sam2Network(model), np.random.default_rng(1))
        score = rollout.run(batch, 'box', forced=1.0)
        optimiser.zero_grad()
        score.loss.backward()
        optimiser.step()
        losses.append(float(score.loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    for part in (model.vision_encoder, model.memory_attention, model.memory_encoder,
                 model.mask_decoder, model.object_pointer_proj):
        assert sum(float(p.grad.abs().sum()) for p in part.parameters()
                   if p.grad is not None) > 0


class _Oracle:
    """A tracker that knows the truth, except for objects in `blind`."""

    def __init__(self, labels: np.ndarray, blind: tuple[str, ...] = ()) -> None:
        self.labels, self.blind, self.ids = labels, blind, []

    def reset(self) -> None:
        self.ids = []

    def _track(self, name: str, t: int) -> Track:
        mask = self.labels[t] == int(name.split()[1])
        shown = mask.any() and name.split()[0] not in self.blind
        return Track(name, TrackState.TRACKED if shown else TrackState.OCCLUDED,
                     mask if shown else None, 1.0, None, int(mask.sum()), t, t)

    def add(self, name, prompt, frame) -> Track:
        prompt.check(frame.width, frame.height)
        self.ids.append(name)
        return self._track(name, 0)

    def step(self, frame) -> list[Track]:
        return [self._track(name, frame.stamp_ns) for name in self.ids]


def test_measuring_gives_one_to_the_truth_and_zero_to_no_masks():
    labels = np.zeros((31, HEIGHT, WIDTH), np.uint8)
    labels[:, 30:60, 30:60] = 1
    labels[5:10] = 0
    frames = [Frame(picture(t), stamp_ns=t) for t in range(31)]
    figures = measure.figures_of(measure.follow_clips(
        _Oracle(labels, blind=('click',)), [(0, frames, labels)], 0))
    assert figures['box_prompt_frame'].value == figures['box_next_30'].value == 1.0
    assert figures['box_next_10'].n == 5 and figures['box_next_30'].n == 25
    assert figures['click_next_30'].value == 0.0
    assert figures['absent_empty'].value == 1.0 and figures['absent_empty'].n == 15
    assert figures['refound'].n == 3 and abs(figures['refound'].value - 2 / 3) < 1e-3
    assert figures['swapped'].value == figures['swapped_clips'].value == 0.0
    assert figures['swapped_clips'].n == 1


def test_what_cannot_be_measured_is_none():
    figures = measure.figures_of([])
    assert set(figures.values()) == {None}
    assert set(figures) == set(measure.MEANS) | set(measure.SHARES)


def test_a_share_of_independent_trials_has_the_interval_of_wilson():
    clips = [[k < 8] for k in range(10)]
    figure = measure.share_figure(clips, np.random.default_rng(0))
    assert (figure.value, figure.n) == (0.8, 10)
    assert figure.low == pytest.approx(0.4902, abs=1e-3)
    assert figure.high == pytest.approx(1.0, abs=0.06)


def test_answers_about_one_scene_are_not_counted_as_independent():
    """Ten scenes of which each is all right or all wrong say no more than ten answers do."""
    alone = measure.share_figure([[k < 5] for k in range(10)], np.random.default_rng(0))
    alike = measure.share_figure([[k < 5] * 30 for k in range(10)], np.random.default_rng(0))
    assert alike.n == 300 and alike.value == alone.value
    assert alike.high - alike.low > 0.4


def test_trials_that_all_agree_leave_doubt():
    figure = measure.share_figure([[True] * 4] * 3, np.random.default_rng(0))
    assert figure.value == figure.high == 1.0 and figure.low == pytest.approx(0.757, abs=1e-2)


def test_what_is_not_remembered_is_attended_to_by_nobody(narrow):
    """Made up with nothing to the length of others, an object sees what it saw alone."""
    network = Sam2Network(narrow)
    made = torch.Generator().manual_seed(2)
    coarse = torch.randn(2, 64, 4, 4, generator=made)
    memories = torch.randn(4, 16, 64, generator=made)
    pointers = torch.randn(4, 64, generator=made)
    less = Selection([(memories[0], 0)], [(pointers[0], 3.0)])
    more = Selection([(memories[1], 0), (memories[2], 1), (memories[3], 2)],
                     [(pointers[1], 3.0), (pointers[2], 1.0)])
    made_up = Selection([*less.spatial, (None, 1), (None, 2)], [*less.pointers, (None, 7.0)])
    apart = network.condition(coarse, [less, more])
    together = network.condition(coarse, [made_up, more])
    assert (apart - together).abs().max() < 1e-5
    assert (apart[0] - network.condition(coarse, [more, more])[0]).abs().max() > 1e-3


def test_what_goes_and_comes_back_is_counted_and_nothing_else():
    seen = np.zeros((6, 5), bool)
    seen[:, 0] = [1, 0, 1, 0, 1, 1]     # nothing of an object: the background
    seen[:, 1] = [1, 1, 0, 0, 1, 1]     # goes and comes back
    seen[:, 2] = [0, 1, 0, 1, 1, 1]     # not in view at first
    seen[:, 3] = [1, 1, 1, 0, 0, 0]     # goes for good
    assert returns(seen) == 1


def test_made_up_to_one_length_all_see_what_they_saw_apart(narrow):
    network = Sam2Network(narrow)
    made = torch.Generator().manual_seed(2)
    pasts = [_Past(), _Past()]
    for past, count in zip(pasts, (1, 4)):
        entries = [(torch.randn(16, 64, generator=made), torch.randn(64, generator=made), t)
                   for t in range(count + 1)]
        past.first, past.good = entries[:1], entries[1:]
    coarse = torch.randn(2, 64, 4, 4, generator=made)
    apart, even = (network.condition(coarse, selections(pasts, 6, 3, even=even))
                   for even in (False, True))
    assert (apart - even).abs().max() < 1e-5
    assert len({(len(s.spatial), len(s.pointers)) for s in selections(pasts, 6, 3, True)}) == 1
