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
from training.tracker.points import draw_points

#: How the first frame is prompted, and how often.
PROMPTS = {'box': 0.45, 'click': 0.35, 'mask': 0.20}


@dataclass
class _Past:
    """What one object remembers during a clip."""

    first: list[tuple[Tensor, Tensor, int]] = field(default_factory=list)
    good: list[tuple[Tensor, Tensor, int]] = field(default_factory=list)

    def selection(self, now: int, spatial: int, first: int, good: int) -> Selection:
        """What is attended to at frame `now`, made up to so many prompted and other frames."""
        begun = self.first + _NOTHING * (first - len(self.first))
        later = self.good[::-1] + _NOTHING * (good - len(self.good))
        return Selection(
            [(memory, 0) for memory, _, _ in begun]
            + [(memory, place) for place, (memory, _, _) in enumerate(later[:spatial], 1)],
            [(pointer, float(now - t)) for _, pointer, t in begun + later])


#: A frame of which nothing is remembered.
_NOTHING: list[tuple[None, None, int]] = [(None, None, 0)]


def selections(pasts: list[_Past], now: int, spatial: int, even: bool) -> list[Selection]:
    """What each object attends to. even: equally long for all, so that all are one batch, which
    saves a GPU launches; a CPU would only multiply zeros."""
    if not even:
        return [past.selection(now, spatial, len(past.first), len(past.good)) for past in pasts]
    first, good = (max(map(len, some)) for some in zip(*((p.first, p.good) for p in pasts)))
    return [past.selection(now, spatial, first, good) for past in pasts]


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


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean of values [N] `where` bool [N]; NaN where there are none."""
    return (values * where).sum() / where.sum()


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
        batch = batch.to(network.device)
        masks = batch.masks
        count, objects, frames = masks.shape[:3]
        encoded = network.encode(batch.pixels.flatten(0, 1))
        owner = torch.arange(count, device=masks.device).repeat_interleave(objects)
        masks = masks.flatten(0, 1)
        present = masks.flatten(2).any(2)
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
                    points, labels = draw_points(truth, 'click' if kind == 'mask' or t else kind,
                                                 self.rng)
                image = network.unconditioned(features.coarse) if t == 0 else network.condition(
                    features.coarse, selections(
                        pasts, t, spatial, even=masks.is_cuda))
                found = network.candidates(image, features.fine, points, labels,
                                           self._coarse(truth) if hint and t == 0 else None)
                ambiguous = prompted and network.multimask(
                    True, 0 if points is None else points.shape[1])
                loss, quality = self._cost(found, target, seen, ambiguous)
                losses.append(loss)
                shown = network.choose(found, ambiguous)
                overlaps.append(_mean(quality, seen))
                absent.append(_mean((found.score <= 0).float(), ~seen))
                score = found.score
            if t + 1 < frames:
                self._remember(features, shown.logits, full, score, found, truth, seen, pasts, t,
                               prompted=full is not None or t in (0, second), forced=forced)
        everyone = torch.arange(len(owner), device=masks.device)
        for other in fresh:
            at = torch.from_numpy(self.rng.integers(0, frames, len(owner))).to(masks.device)
            features = encoded.rows(owner * frames + at)
            truth, seen = masks[everyone, at], present[everyone, at]
            points, labels = draw_points(truth, other, self.rng)
            found = network.candidates(network.unconditioned(features.coarse), features.fine,
                                       points, labels)
            loss, _ = self._cost(found, F.avg_pool2d(truth[:, None].float(), 2)[:, 0], seen,
                                 network.multimask(True, points.shape[1]), score_too=False)
            losses.append(loss)
        if not losses:
            return Score(torch.zeros((), requires_grad=True), [], float('nan'))
        # Read at the end: what is read before stops the device until it has caught up, as what is
        # remembered does once a frame.
        return Score(torch.stack(losses).mean(), torch.stack(overlaps).tolist() if overlaps else [],
                     float(torch.stack(absent).nanmean()) if absent else float('nan'))

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
            row = torch.arange(len(loss), device=loss.device)
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
        given = torch.from_numpy(self.rng.random(len(pasts)) < forced).to(seen.device)
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
                                  given | prompted)
        # unbound at once: taken row by row, each would hand back a gradient of the whole batch
        for past, here, *entry in zip(pasts, taken.tolist(), memory.unbind(), pointer.unbind()):
            if t == 0 or (prompted and here):
                past.first.append((*entry, t))
            elif here:
                past.good.append((*entry, t))
