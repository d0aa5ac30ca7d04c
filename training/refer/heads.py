# SPDX-License-Identifier: Apache-2.0
"""Auxiliary heads: what each object token and each selected cell should know. Not exported.

They give the vision tower a dense signal long before the language model can pass one back.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrefer_model.pixelrefer import PixelReferConfig
from training.refer.facts import (
    AIR, CATEGORIES, COLOURS, COLUMNS, MOTIONS, PATTERNS, ROWS, SIZES, Fact)
from training.refer.records import CLIP_FRAMES
from training.refer.scenes import Scene, shift

SUPPORTS = ('table', *CATEGORIES)
#: Words that a head tells apart, and the weight of its loss.
WORDS = {'category': (CATEGORIES, 1.0), 'colour': (COLOURS, 0.7), 'pattern': (PATTERNS, 1.0),
         'size': (SIZES, 0.5), 'row': (ROWS, 0.3), 'column': (COLUMNS, 0.3),
         'support': (SUPPORTS, 0.6)}
CELL_WORDS = {'category': 0.6, 'colour': 0.4, 'pattern': 0.6}
MOTION_WEIGHT, SHIFT_WEIGHT, PLACE_WEIGHT, POSE_WEIGHT = 1.0, 6.0, 4.0, 0.5
DIFFERENCE_WEIGHT, MATCH_WEIGHT = 4.0, 0.5
#: The most objects of a request that a word of the question may match.
MOST_MATCHES = 4
UNKNOWN = -100


@dataclass(frozen=True)
class Labels:
    """Targets of a step. words: per head int64 [R] (UNKNOWN where there is none). places: float
    [R, 6], camera and world position in metres. poses: float [U, 6], one per encoded frame.
    cells: int64 [M], the region of each selected cell; shares: float [M], one over the cells of its
    region. seen: per object of a clip its regions, oldest first and the last repeated, int64
    [C, V], which of them count, float [C, V] with sum 1, and its motion, int64 [C]. shifts: float
    [C, 3], see `shift`."""

    words: dict[str, Tensor]
    places: Tensor
    poses: Tensor
    cells: Tensor
    shares: Tensor
    seen: Tensor
    weights: Tensor
    motions: Tensor
    shifts: Tensor


def labels(scenes: list[Scene]) -> Labels:
    """Targets of scenes in the order in which `collate` packs their regions."""
    words = {name: [] for name in WORDS}
    places, poses, counts, shifts, start = [], [], [], [], 0
    seen, weights, motions = [], [], []
    for scene in scenes:
        for view, i in scene.regions:
            fact = scene.facts[view][i]
            for name, (vocabulary, _) in WORDS.items():
                word = _support(fact, scene.facts[view]) if name == 'support' \
                    else getattr(fact, name)
                told = word and fact.visible and not (scene.grey and name == 'colour')
                words[name].append(vocabulary.index(word) if told else UNKNOWN)
            places.append((*fact.camera, *fact.world))
        counts += [len(cells) for cells in scene.inputs.cells]
        poses += [scene.poses[v] for v in dict.fromkeys(view for view, _ in scene.regions)]
        for i, motion in scene.motions.items():
            if motion:
                rows = [start + r for r, (_, other) in enumerate(scene.regions) if other == i]
                more = CLIP_FRAMES - len(rows)
                seen.append(rows + rows[-1:] * more)
                weights.append([1 / len(rows)] * len(rows) + [0.0] * more)
                motions.append(MOTIONS.index(motion))
                shifts.append(shift(scene, i))
        start += len(scene.regions)
    cells = torch.tensor(counts)
    return Labels({name: torch.tensor(values) for name, values in words.items()},
                  torch.tensor(np.array(places), dtype=torch.float32),
                  torch.tensor(np.array(poses), dtype=torch.float32),
                  torch.arange(start).repeat_interleave(cells),
                  (1 / cells.clamp(min=1)).repeat_interleave(cells),
                  torch.tensor(seen, dtype=torch.long).reshape(-1, CLIP_FRAMES),
                  torch.tensor(weights).reshape(-1, CLIP_FRAMES),
                  torch.tensor(motions, dtype=torch.long),
                  torch.tensor(np.array(shifts), dtype=torch.float32).reshape(-1, 3))


def _support(fact: Fact, facts: list[Fact]) -> str | None:
    if fact.held == AIR:
        return None
    return 'table' if fact.support is None else facts[fact.support].category


class Heads(nn.Module):
    """Small heads on the mean object token, on cells, on frames, on clips, and on the language
    model's state where an answer begins."""

    def __init__(self, config: PixelReferConfig) -> None:
        super().__init__()
        width, out = config.vision.hidden_size, config.language.hidden_size
        self.norm = nn.LayerNorm(out)
        self.words = nn.ModuleDict({n: nn.Linear(out, len(v)) for n, (v, _) in WORDS.items()})
        self.cells = nn.ModuleDict({n: nn.Linear(width, len(WORDS[n][0])) for n in CELL_WORDS})
        self.place = nn.Sequential(nn.Linear(out, out), nn.GELU(), nn.Linear(out, 6))
        self.pose = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 6))
        self.difference = nn.Sequential(nn.Linear(out, out), nn.GELU(), nn.Linear(out, 3))
        self.match = nn.Sequential(nn.LayerNorm(out), nn.Linear(out, MOST_MATCHES + 1))
        self.motion = nn.Sequential(nn.Linear(4 * out, out), nn.GELU(),
                                    nn.Linear(out, len(MOTIONS) + 3))

    def difference_loss(self, hidden: Tensor, wanted: Tensor) -> Tensor:
        """How well the language model's last states before answers, [B, D], know what the answers
        compare, [B, 3] in metres.

        The answer itself is one word that tells left from right; the metres behind it say with
        every example which way to go.
        """
        if not len(wanted):
            return hidden.sum() * 0
        return DIFFERENCE_WEIGHT * F.smooth_l1_loss(self.difference(hidden), wanted, beta=0.05)

    def match_loss(self, states: Tensor, numbers: Tensor) -> Tensor:
        """How well the language model's states [P, D] at the probed words know how many objects
        match, int64 [P].

        "Is it a mug?", options and counts hold a word against object tokens, and the answer's one
        word teaches that too slowly: without this they stayed guesses for 1,400 steps.
        """
        if not len(numbers):
            return states.sum() * 0
        return MATCH_WEIGHT * F.cross_entropy(self.match(states), numbers)

    def losses(self, tokens: Tensor, cells: Tensor, frames: Tensor, wanted: Labels
               ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weighted losses and, per head, the predicted classes.

        tokens [R, K, D]; cells [M, C]; frames [U, S, C], features of each frame's global image.
        """
        mean = self.norm(tokens.mean(1))
        losses, said = {}, {}
        for name, (_, weight) in WORDS.items():
            scores = self.words[name](mean)
            known = (wanted.words[name] != UNKNOWN).sum().clamp(min=1)
            losses[name] = weight * F.cross_entropy(
                scores, wanted.words[name], ignore_index=UNKNOWN, reduction='sum') / known
            said[name] = scores.argmax(1)
        for name, weight in CELL_WORDS.items():
            each = F.cross_entropy(self.cells[name](cells), wanted.words[name][wanted.cells],
                                   reduction='none')
            losses[f'cell_{name}'] = weight * (each * wanted.shares).sum() / len(tokens)
        losses['place'] = PLACE_WEIGHT * F.smooth_l1_loss(
            self.place(mean), wanted.places, beta=0.05)
        losses['pose'] = POSE_WEIGHT * F.smooth_l1_loss(
            self.pose(frames.mean(1)), wanted.poses, beta=0.05)
        if len(wanted.seen):
            first, last = mean[wanted.seen[:, 0]], mean[wanted.seen[:, -1]]
            middle = (mean[wanted.seen] * wanted.weights[..., None]).sum(1)
            scores, shifts = self.motion(torch.cat([first, last, last - first, middle], 1)).split(
                (len(MOTIONS), 3), 1)
            losses['motion'] = MOTION_WEIGHT * F.cross_entropy(scores, wanted.motions)
            losses['shift'] = SHIFT_WEIGHT * F.smooth_l1_loss(shifts, wanted.shifts, beta=0.02)
            said['motion'] = scores.argmax(1)
        return losses, said
