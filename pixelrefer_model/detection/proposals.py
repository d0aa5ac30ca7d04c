# SPDX-License-Identifier: Apache-2.0
"""Class-agnostic proposals: everything in an image that SAM 2 takes for a thing, as masks.

A grid of clicks on the whole frame, and on enlarged windows of it, since far things are too small
in the network's input ("Segment Anything", arXiv:2304.02643, section 5, with the thresholds of
`ProposalPolicy`). Of masks that show the same thing the surest is kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from pixelrefer_model.sam2 import pixels
from pixelrefer_model.sam2.decoder import Candidates
from pixelrefer_model.sam2.look import Window
from pixelrefer_model.sam2.network import Sam2Network


@dataclass(frozen=True)
class ProposalPolicy:
    """What is looked for, and what counts.

    clicks: on each side of the grid of every window. windows: on each side of the frame, beside
    the frame itself; neighbours overlap by half. least_sure: of the product of predicted IoU and
    stability (IoU of a mask with itself at a logit of 1 and of -1). least_area: pixels of the
    frame; most_area: share of it. same: of two masks of this IoU or more the surer is kept. most:
    proposals. batch: clicks that are decoded at a time.
    """

    clicks: int = 8
    windows: int = 2
    least_sure: float = 0.3
    least_area: int = 60
    most_area: float = 0.25
    same: float = 0.6
    most: int = 40
    batch: int = 32


@dataclass(frozen=True)
class Proposal:
    """One thing. mask: bool [H, W] of the frame; sure: predicted IoU times stability, 0 to 1."""

    mask: np.ndarray
    sure: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Half-open box of the mask: x, y, width, height in pixels."""
        return pixels.box_of(self.mask)


@torch.inference_mode()
def propose(network: Sam2Network, image: np.ndarray,
            policy: ProposalPolicy = ProposalPolicy()) -> list[Proposal]:
    """The things in an image, uint8 RGB [H, W, 3], the surest first. The same for the same image
    and policy."""
    height, width = image.shape[:2]
    found: list[tuple[float, np.ndarray]] = []
    for window in windows(width, height, policy.windows):
        found += _in_window(network, image, window, policy)
    return [Proposal(mask, sure) for sure, mask in distinct(found, policy.same, policy.most)]


def windows(width: int, height: int, side: int) -> Iterator[Window]:
    """The frame, and `side` x `side` windows of it that overlap by half."""
    yield Window(0, 0, width, height)
    if side < 2:
        return
    w, h = round(2 * width / (side + 1)), round(2 * height / (side + 1))
    for y in np.linspace(0, height - h, side).round().astype(int).tolist():
        for x in np.linspace(0, width - w, side).round().astype(int).tolist():
            yield Window(x, y, x + w, y + h)


def _in_window(network: Sam2Network, image: np.ndarray, window: Window,
               policy: ProposalPolicy) -> list[tuple[float, np.ndarray]]:
    height, width = image.shape[:2]
    features = network.encode(pixels.to_pixels(
        window.cut(image), network.size, network.device, network.dtype))
    coarse = network.unconditioned(features.coarse)
    at = (torch.arange(policy.clicks, dtype=torch.float32) + 0.5) / policy.clicks
    places = torch.cartesian_prod(at, at).flip(1) * network.size - 0.5
    made = []
    for some in places.to(network.device).split(policy.batch):
        labels = torch.ones(len(some), 1, dtype=torch.int32, device=network.device)
        found = network.candidates(
            coarse.expand(len(some), -1, -1, -1), features.fine, some[:, None], labels)
        made += _sure_masks(found, window, policy, width * height)
    whole = (window.x1 - window.x0, window.y1 - window.y0) == (width, height)
    kept = []
    for sure, mask in distinct(made, policy.same, 4 * policy.most):
        if not whole and _cut(mask, window, width, height):
            continue
        full = np.zeros((height, width), bool)
        full[window.y0:window.y1, window.x0:window.x1] = mask
        kept.append((sure, full))
    return kept


def _sure_masks(found: Candidates, window: Window, policy: ProposalPolicy, frame_area: int
                ) -> list[tuple[float, np.ndarray]]:
    """The masks of a batch of clicks that are sure and of a size that a thing has, bool [h, w] of
    the window."""
    logits = found.logits[:, 1:].flatten(0, 1).float()
    stable = (logits > 1).sum((1, 2)) / (logits > -1).sum((1, 2)).clamp(min=1)
    sure = found.iou[:, 1:].flatten().float() * stable
    sure = sure * (found.score.float() > 0).repeat_interleave(3)
    h, w = window.y1 - window.y0, window.x1 - window.x0
    share = (logits > 0).float().mean((1, 2)) * (h * w)
    good = (sure >= policy.least_sure) & (share >= policy.least_area) & (
        share <= policy.most_area * frame_area)
    index = good.nonzero()[:, 0]
    if not len(index):
        return []
    masks = F.interpolate(logits[index][:, None], size=(h, w), mode='bilinear',
                          align_corners=False)[:, 0] > 0
    return [(float(s), pixels.without_islands(m, 0.1)) for s, m in zip(
        sure[index].tolist(), masks.cpu().numpy(), strict=True)]


def _cut(mask: np.ndarray, window: Window, width: int, height: int) -> bool:
    """Whether a mask touches an edge of its window that is none of the frame."""
    return bool((window.x0 > 0 and mask[:, 0].any()) or (window.y0 > 0 and mask[0].any())
                or (window.x1 < width and mask[:, -1].any())
                or (window.y1 < height and mask[-1].any()))


def distinct(masks: list[tuple[float, np.ndarray]], same: float, most: int
             ) -> list[tuple[float, np.ndarray]]:
    """At most `most` masks, the surest first, no two of them with an IoU of `same` or more."""
    kept: list[tuple[float, np.ndarray]] = []
    areas: list[int] = []
    for sure, mask in sorted(masks, key=lambda one: -one[0]):
        area = int(mask.sum())
        if not area:
            continue
        for (_, other), other_area in zip(kept, areas):
            inter = int((mask & other).sum())
            if inter >= same * (area + other_area - inter):
                break
        else:
            kept.append((sure, mask))
            areas.append(area)
            if len(kept) == most:
                break
    return kept
