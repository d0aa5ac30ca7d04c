# SPDX-License-Identifier: Apache-2.0
"""One training step: prompt the first frame, follow through the clip, and what it costs.

The clip goes through the same functions as the streaming tracker (`Sam2Network`), with the same
rule for the memory: only frames on which the object is taken to be in view are remembered.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrefer_model.sam2.network import Candidates, Features, Sam2Network, Selection
from training.tracker.clips import Batch

#: How the first frame is prompted, and how often.
PROMPTS = {'box': 0.45, 'click': 0.35, 'mask': 0.20}


@dataclass
class _Past:
    """What one object remembers during a clip."""

    first: list[tuple[Tensor, Tensor, int]] = field(default_factory=list)
    good: list[tuple[Tensor, Tensor, int]] = field(default_factory=list)

    def selection(self, now: int, spatial: int) -> Selection:
        recent = self.good[::-1][:spatial]
        return Selection(
            [(memory, 0) for memory, _, _ in self.first]
            + [(memory, place) for place, (memory, _, _) in enumerate(recent, 1)],
            [(pointer, float(now - t)) for _, pointer, t in self.first + self.good[::-1]])


def draw_points(masks: np.ndarray, kind: str, rng: np.random.Generator
                ) -> tuple[Tensor, Tensor]:
    """Prompts for masks bool [N, S, S]: points float [N, P, 2] in input pixels, labels [N, P].

    Boxes are shaken by up to a tenth of their sides; clicks fall anywhere on the object, rather
    away from its border.
    """
    size, points, labels = masks.shape[-1], [], []
    for mask in masks:
        ys, xs = np.nonzero(mask)
        if not len(ys):
            ys, xs = np.array([0, size - 1]), np.array([0, size - 1])
        if kind == 'box':
            corners = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], float)
            sides = np.tile(corners[2:] - corners[:2], 2)
            corners += np.clip(rng.normal(0, 0.04, 4), -0.1, 0.1) * sides + rng.normal(0, 0.5, 4)
            points.append(np.clip(corners, 0, size).reshape(2, 2) - 0.5)
            labels.append([2, 3])
        else:
            picks = rng.integers(0, len(ys), 4)
            # of four random pixels the one nearest to the middle, half of the time
            middle = np.hypot(ys[picks] - ys.mean(), xs[picks] - xs.mean())
            pick = picks[middle.argmin()] if rng.random() < 0.5 else picks[0]
            points.append([[xs[pick] + rng.uniform(-0.5, 0.5), ys[pick] + rng.uniform(-0.5, 0.5)]])
            labels.append([1])
    return (torch.tensor(np.stack(points), dtype=torch.float32),
            torch.tensor(labels, dtype=torch.int32))


def mask_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """BCE by object area plus dice, per object. logits [N, k, h, w], truth soft [N, h, w].

    Divided by the area, BCE weighs a mug and a book alike.
    """
    truth = truth[:, None].expand_as(logits)
    area = truth.sum((2, 3))
    bce = F.binary_cross_entropy_with_logits(logits, truth, reduction='none').sum((2, 3))
    soft = logits.sigmoid()
    dice = 1 - (2 * (soft * truth).sum((2, 3)) + 1) / (soft.sum((2, 3)) + area + 1)
    return bce / (3 * area + 0.02 * logits[0, 0].numel()) + dice


def overlap(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU of thresholded logits [N, k, h, w] with soft truth [N, h, w] -> [N, k]."""
    guess, true = logits > 0, (truth > 0.5)[:, None]
    return (guess & true).sum((2, 3)) / (guess | true).sum((2, 3)).clamp(min=1)


@dataclass
class Score:
    """Loss to descend and IoUs to watch: sums and counts by frame since the prompt."""

    loss: Tensor
    overlaps: list[float]
    absent_right: float


class Rollout:
    """Runs batches through `network`; `forced` is how often the memory is given the true mask."""

    def __init__(self, network: Sam2Network, rng: np.random.Generator) -> None:
        self.network, self.rng = network, rng

    def run(self, batch: Batch, kind: str, forced: float = 0.0, hint: bool = False,
            again: float = 0.0, fresh: tuple[str, ...] = ()) -> Score:
        """Loss of one batch whose first frames are prompted by `kind`.

        hint: give a coarse mask beside the points (an easy start). again: how often a later frame
        is prompted once more, on top of the memory, as a correction is. fresh: for each of these
        kinds every object is also prompted on some frame of the clip as if it were the first,
        which costs little, since the frames are encoded already.
        """
        network = self.network
        count, objects, frames = batch.masks.shape[:3]
        encoded = network.encode(batch.pixels.flatten(0, 1))
        owner = torch.arange(count).repeat_interleave(objects)
        masks, present = batch.masks.flatten(0, 1), batch.present.flatten(0, 1)
        pasts = [_Past() for _ in owner]
        spatial = network.config.num_maskmem - 1
        second = int(self.rng.integers(1, frames)) if frames > 1 and \
            self.rng.random() < again else -1
        losses, overlaps, absent = [], [], []
        for t in range(frames):
            features = encoded.rows(owner * frames + t)
            truth, seen = masks[:, t], present[:, t]
            target = F.avg_pool2d(truth[:, None].float(), 2)[:, 0]
            full = None
            if t == 0 and kind == 'mask':
                shown, full = network.given(features, truth.float())
                found, score, pointer = None, shown.score, shown.pointer
            else:
                prompted = t == 0 or t == second
                points = labels = None
                if prompted:
                    points, labels = draw_points(truth.numpy(), 'click' if kind == 'mask' or t
                                                 else kind, self.rng)
                image = network.unconditioned(features.coarse) if t == 0 else network.condition(
                    features.coarse, [past.selection(t, spatial) for past in pasts])
                found = network.candidates(image, features.fine, points, labels,
                                           self._coarse(truth) if hint and t == 0 else None)
                ambiguous = prompted and network.multimask(
                    True, 0 if points is None else points.shape[1])
                loss, quality = self._cost(found, target, seen, ambiguous)
                losses.append(loss)
                shown = network.choose(found, ambiguous)
                overlaps.append(float(quality[seen].mean()) if seen.any() else float('nan'))
                if not seen.all():
                    absent.append(float((found.score[~seen] <= 0).float().mean()))
                score = found.score
            if t + 1 < frames:
                self._remember(features, shown.logits, full, score, found, truth, seen, pasts, t,
                               prompted=full is not None or t in (0, second), forced=forced)
        for other in fresh:
            at = torch.from_numpy(self.rng.integers(0, frames, len(owner)))
            features = encoded.rows(owner * frames + at)
            truth, seen = masks[torch.arange(len(owner)), at], present[torch.arange(len(owner)), at]
            points, labels = draw_points(truth.numpy(), other, self.rng)
            found = network.candidates(network.unconditioned(features.coarse), features.fine,
                                       points, labels)
            loss, _ = self._cost(found, F.avg_pool2d(truth[:, None].float(), 2)[:, 0], seen,
                                 network.multimask(True, points.shape[1]), score_too=False)
            losses.append(loss)
        if not losses:
            return Score(torch.zeros((), requires_grad=True), [], float('nan'))
        return Score(torch.stack(losses).mean(), overlaps,
                     float(np.mean(absent)) if absent else float('nan'))

    def _coarse(self, truth: Tensor) -> Tensor:
        """A blurred, shaken mask as a dense prompt, logits [N, 1, 4h, 4w]."""
        side = 4 * self.network.grid
        blurred = F.interpolate(F.avg_pool2d(truth[:, None].float(), 8), size=(side, side),
                                mode='bilinear', align_corners=False)
        return 20 * (blurred - 0.4)

    def _cost(self, found: Candidates, target: Tensor, seen: Tensor, ambiguous: bool,
              score_too: bool = True) -> tuple[Tensor, Tensor]:
        side = target.shape[-1]
        take = slice(None) if ambiguous else slice(0, 1)
        logits = F.interpolate(found.logits[:, take], size=(side, side), mode='bilinear',
                               align_corners=False)
        with torch.no_grad():
            quality = overlap(logits, target)
        cost = mask_loss(logits, target)
        chosen = quality[:, 0]
        loss = cost[:, 0]
        if ambiguous:
            loss = loss + cost[:, 1:].min(1).values
            row = torch.arange(len(loss))
            chosen = quality[row, 1 + found.iou[:, 1:].argmax(1)]
        loss = loss + (found.iou[:, take] - quality).abs().mean(1)
        weight = seen.float()
        score = F.binary_cross_entropy_with_logits(found.score, weight, reduction='none')
        shape = (loss * weight).sum() / weight.sum().clamp(min=1)
        return shape + score_too * (score * (1 + 2 * (1 - weight))).mean(), chosen

    def _remember(self, features: Features, logits: Tensor, full: Tensor | None, score: Tensor,
                  found: Candidates | None, truth: Tensor, seen: Tensor, pasts: list[_Past],
                  t: int, prompted: bool, forced: float) -> None:
        network = self.network
        given = torch.from_numpy(self.rng.random(len(pasts)) < forced)
        taken = torch.where(given, seen, score > 0)
        if prompted:
            taken = taken | seen
        if full is None:
            # a mask that the score blanked is shown again where the truth overrules the score
            raw = found.logits[:, 0]
            logits = torch.where((taken & (score <= 0))[:, None, None], raw, logits)
            full = network.full_size(logits)
            full = torch.where(given[:, None, None], (truth.float() * 20 - 10), full)
            pointer = network.pointer(found.tokens[:, 0], taken)
        else:
            pointer = network.given(features, truth.float())[0].pointer
        memory = network.remember(features.coarse, full, taken.float() - 0.5,
                                  torch.full((len(pasts),), prompted) | given)
        for row, past in enumerate(pasts):
            entry = memory[row], pointer[row], t
            if t == 0 or (prompted and taken[row]):
                past.first.append(entry)
            elif taken[row]:
                past.good.append(entry)
