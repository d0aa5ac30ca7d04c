# SPDX-License-Identifier: Apache-2.0
"""From mask logits to tracks: masks at the frame's size, boxes, areas and states."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pixelrefer_model.sam2 import pixels
from pixelrefer_model.sam2.decoder import Decoded
from pixelrefer_model.sam2.policy import MaskPolicy
from pixelrefer_model.sam2.track import Track, TrackState
from pixelrefer_model.sam2.tracked import Seen, Tracked


def publish(objects: Sequence[Tracked], seen: Seen, decoded: Decoded,
            judges: Sequence[Callable[[int], TrackState]], policy: MaskPolicy,
            large: Tensor | None = None) -> dict[str, Tensor]:
    """Make the objects' tracks from their logits; each one's judge turns the area of its mask into
    a state. large: logits at the size of the frame, [N, H, W], where they are known. Gives the
    logits at the size of the frame, [H, W] by id."""
    logits = decoded.logits.float().cpu()
    scores = (decoded.score.sigmoid() * decoded.iou.clamp(0, 1)).tolist()
    large = pixels.to_masks(logits, seen.height, seen.width) if large is None else large
    masks = (large > 0).numpy()
    for row, (tracked, judge) in enumerate(zip(objects, judges)):
        mask = pixels.without_islands(masks[row], policy.islands)
        area = int(mask.sum())
        state = judge(area)
        shown = state.in_view
        # copies: views would keep the whole batch
        tracked.track = Track(
            tracked.id, state, mask.copy() if shown else None, scores[row],
            pixels.box_of(mask) if shown else None, area if shown else 0, seen.stamp_ns,
            tracked.machine.last_seen_ns, logits[row].clone())
    return {tracked.id: large[row] for row, tracked in enumerate(objects)}


def exclude(objects: Sequence[Tracked], seen: Seen, large: Mapping[str, Tensor]) -> None:
    """Give pixels that several objects claim to the one with the largest logit; an object that is
    left none is not in view. large: logits at the frame's size of those that have them already."""
    shown = [each for each in objects if each.track.mask is not None]
    if len(shown) < 2:
        return
    winner = torch.stack([
        large[each.id] if each.id in large else
        pixels.to_masks(each.track.logits[None], seen.height, seen.width)[0]
        for each in shown]).argmax(0).numpy()
    for rank, each in enumerate(shown):
        mask, state = each.track.mask & (winner == rank), each.track.state
        if not mask.any():
            mask, state = None, each.machine.covered(seen.stamp_ns)
        each.track = replace(
            each.track, state=state, mask=mask, last_seen_ns=each.machine.last_seen_ns,
            box=None if mask is None else pixels.box_of(mask),
            area=0 if mask is None else int(mask.sum()))
