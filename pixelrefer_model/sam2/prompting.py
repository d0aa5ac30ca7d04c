# SPDX-License-Identifier: Apache-2.0
"""What points, boxes and scribbles select on a frame, with what was given there before."""

import torch

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import MOST_POINTS, Box, Click, Scribble
from pixelrefer_model.sam2 import pixels
from pixelrefer_model.sam2.network import Decoded, Sam2Network
from pixelrefer_model.sam2.tracked import Given, Seen, Tracked

#: Logits given back to the network as a dense prompt are limited to this.
_PROMPT_LOGIT = 32.0


def point_at(network: Sam2Network, tracked: Tracked, prompt: Click | Box | Scribble, seen: Seen,
             before: Given | None, alone: bool, believe: bool) -> tuple[Decoded, Given, bool]:
    """The mask that a prompt gives, what was given in all, and whether that is all there is:
    neither memory nor an earlier mask has a part in it.

    before: what was given on the same frame; points add to it, a box begins anew. alone: the past
    has no part in it. believe: the object is there whatever the score says. Raises PixelReferError
    BAD_POINTS where they become too many.
    """
    features = seen.features
    points, labels = pixels.to_points(prompt, seen.width, seen.height, network.size, network.device)
    dense = None
    if before is not None and before.points is not None and not (labels == 2).any():
        given = before.points.shape[1]
        if given + points.shape[1] > MOST_POINTS:
            raise PixelReferError(
                'BAD_POINTS', f'{tracked.id!r} has {given} points on the frame of '
                f'{seen.stamp_ns} ns and {points.shape[1]} more were given; {MOST_POINTS} on '
                'one frame are allowed, and a replacement begins anew')
        points = torch.cat([before.points, points], dim=1)
        labels = torch.cat([before.labels, labels], dim=1)
    elif before is not None and before.logits is not None and not (labels == 2).any():
        dense = before.logits[None].clamp(-_PROMPT_LOGIT, _PROMPT_LOGIT)
    image = network.unconditioned(features.coarse) if alone else network.condition(
        features.coarse, [tracked.bank.selection(seen.index)])
    found = network.candidates(image, features.fine, points, labels, dense)
    decoded = network.choose(found, network.multimask(alone, points.shape[1]), believe=believe)
    return decoded, Given(seen.stamp_ns, points, labels, None), alone and dense is None
