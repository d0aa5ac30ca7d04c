# SPDX-License-Identifier: Apache-2.0
"""A closer look at what a prompt points at: a window of the frame around it, encoded enlarged.

The network sees the whole frame squeezed into its input, where a far mug is three cells wide.
Prompts come seldom, so that the frame's own pixels around one may be encoded once more. What is
followed can be looked at again too, in a small window.
"""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrefer_model.sam2 import pixels
from pixelrefer_model.sam2.checkpoint import set_input_size
from pixelrefer_model.sam2.decoder import Candidates, Decoded
from pixelrefer_model.sam2.network import GIVEN_BIAS, Sam2Network
from pixelrefer_model.sam2.policy import LookPolicy


@dataclass(frozen=True)
class Window:
    """A part of a frame, half open, in its pixels; x1 - x0 is the same share of the frame's width
    as y1 - y0 is of its height, up to rounding, since the whole frame is squeezed likewise."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def around(cls, box: tuple[float, float, float, float], width: int, height: int,
               policy: LookPolicy) -> 'Window':
        """So that a box (x0, y0, x1, y1), in pixels of the frame, fills the share `policy.fill` of
        the window's longer side; within the frame, and `policy.least` of it at least."""
        x0, y0, x1, y1 = box
        share = min(1.0, max(policy.least, (x1 - x0) / width / policy.fill,
                             (y1 - y0) / height / policy.fill))
        w, h = round(share * width), round(share * height)
        left = min(max(round((x0 + x1 - w) / 2), 0), width - w)
        top = min(max(round((y0 + y1 - h) / 2), 0), height - h)
        return cls(left, top, left + w, top + h)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The window of an image [H, W, 3]."""
        return image[self.y0:self.y1, self.x0:self.x1]

    def points(self, points: Tensor, width: int, height: int, size: int) -> Tensor:
        """Where points [1, P, 2] of the whole frame's input lie in that of the window."""
        scale = points.new_tensor([width, height])
        corner = points.new_tensor([self.x0, self.y0])
        side = points.new_tensor([self.x1 - self.x0, self.y1 - self.y0])
        return ((points + 0.5) / size * scale - corner) / side * size - 0.5

    def joined(self, far: Tensor, near: Tensor) -> Tensor:
        """Mask logits [H, W] of a frame from its own, and those of the window [h, w]: their mean
        within the window, nothing outside."""
        made = torch.full_like(far, GIVEN_BIAS)
        part = (slice(self.y0, self.y1), slice(self.x0, self.x1))
        made[part] = (far[part] + pixels.to_masks(near[None], *made[part].shape)[0]) / 2
        return made


def look_closer(network: Sam2Network, policy: LookPolicy, image: np.ndarray, points: Tensor,
                labels: Tensor, first: Decoded) -> tuple[Decoded, Tensor | None]:
    """Improve the mask `first` of a prompt by looking closer at it, as often as `policy` says.

    image: the frame, RGB uint8 [H, W, 3]. points [1, P, 2], labels [1, P]: the prompt, in pixels
    of the input for the whole frame. The second look, of a prompt without a box, takes the box of
    the mask that the first one gave. Gives what was decoded with better logits, and these at the
    frame's size, [H, W]; None where there was no look.
    """
    height, width = image.shape[:2]
    boxed = bool((labels == 2).any())
    logits = None
    for number in range(min(policy.looks, 1) if boxed else policy.looks):
        far = pixels.to_masks(first.logits, height, width)[0] if logits is None else logits
        shown = _shown(far, points, labels, network.size)
        near, at, kinds = Window.around(shown, width, height, policy), points, labels
        if number:
            corners = points.new_tensor([shown[:2], shown[2:]]) / points.new_tensor(
                [width, height]) * network.size - 0.5
            at = torch.cat([corners[None], at], dim=1)
            kinds = torch.cat([labels.new_tensor([[2, 3]]), labels], dim=1)
        if near.x1 - near.x0 == width:
            break
        features = network.encode(pixels.to_pixels(
            near.cut(image), network.size, network.device, network.dtype))
        found = network.candidates(
            network.unconditioned(features.coarse), features.fine,
            near.points(at, width, height, network.size), kinds)
        logits = near.joined(far, _chosen(found, network.multimask(True, at.shape[1])))
    if logits is None:
        return first, None
    small = F.interpolate(logits[None, None], size=first.logits.shape[-2:], mode='bilinear',
                          align_corners=False, antialias=True)[0]
    return replace(first, logits=small.to(first.logits)), logits


def _chosen(found: Candidates, several: bool) -> Tensor:
    """The logits [h, w], on the CPU, of the single mask, or of the alternative with the largest
    product of predicted IoU and stability (IoU of the mask with itself at a logit of 1 and of -1:
    "Segment Anything", arXiv:2304.02643, section 5)."""
    if not several:
        return found.logits[0, 0].float().cpu()
    masks = found.logits[0, 1:].float()
    stable = (masks > 1).sum((1, 2)) / (masks > -1).sum((1, 2)).clamp(min=1)
    return masks[(found.iou[0, 1:].float() * stable).argmax()].cpu()


def _shown(logits: Tensor, points: Tensor, labels: Tensor, size: int
           ) -> tuple[float, float, float, float]:
    """The box (x0, y0, x1, y1) of the prompt's own corners, or of the mask and of the points that
    are on the object, in pixels of the frame; logits [H, W] at its size."""
    height, width = logits.shape
    places = (points[0].cpu() + 0.5) / size * torch.tensor([width, height])
    kinds = labels[0].cpu()
    if bool((kinds == 2).any()):
        corners = places[(kinds == 2) | (kinds == 3)]
        return *corners.amin(0).tolist(), *corners.amax(0).tolist()
    on = places[kinds == 1]
    low, high = on.amin(0) - 1, on.amax(0) + 1
    box = pixels.box_of((logits > 0).numpy())
    if box is not None:
        low = torch.minimum(low, torch.tensor(box[:2], dtype=low.dtype))
        high = torch.maximum(high, torch.tensor([box[0] + box[2], box[1] + box[3]],
                                                dtype=low.dtype))
    return *low.clamp(min=0).tolist(), *torch.minimum(
        high, torch.tensor([width, height], dtype=high.dtype)).tolist()


class Following:
    """Looks again at what is followed: the same weights at the input size `policy.following`.

    The mask that a frame is shown with gets better; what is remembered stays that of the whole
    frame, or one bad look would be followed from then on. Raises PixelReferError CHECKPOINT for a
    size that the network cannot take.
    """

    def __init__(self, network: Sam2Network, policy: LookPolicy) -> None:
        weights = {id(one): one for one in (*network.model.parameters(), *network.model.buffers())}
        model = copy.deepcopy(network.model, weights)
        set_input_size(model, policy.following)
        self.network, self.policy = Sam2Network(model), policy
        #: A window that would show no more of the object than the whole frame did is not looked at.
        self._widest = 0.95 * policy.following / network.size

    def look(self, image: np.ndarray, far: Tensor) -> Tensor:
        """Mask logits [H, W] at the size of the frame, RGB uint8 [H, W, 3], from those that the
        whole frame gave; the same where there is nothing to see, or near and far do not agree."""
        height, width = image.shape[:2]
        shown = pixels.box_of((far > 0).numpy())
        if shown is None:
            return far
        corners = shown[0], shown[1], shown[0] + shown[2], shown[1] + shown[3]
        window = Window.around(corners, width, height, self.policy)
        if (window.x1 - window.x0) / width > self._widest:
            return far
        network = self.network
        points = torch.tensor([[corners[:2], corners[2:]]], dtype=torch.float32) / torch.tensor(
            [width, height]) * network.size - 0.5
        features = network.encode(pixels.to_pixels(
            window.cut(image), network.size, network.device, network.dtype))
        found = network.candidates(
            network.unconditioned(features.coarse), features.fine,
            window.points(points, width, height, network.size).to(network.device),
            torch.tensor([[2, 3]], dtype=torch.int32, device=network.device))
        near = pixels.to_masks(found.logits[:, 0].float().cpu(), window.y1 - window.y0,
                               window.x1 - window.x0)[0] > 0
        there = window.cut(far.numpy()) > 0
        union = int((near.numpy() | there).sum())
        if not union or int((near.numpy() & there).sum()) < self.policy.agree * union:
            return far
        return window.joined(far, found.logits[0, 0].float().cpu())
