# SPDX-License-Identifier: Apache-2.0
"""How well a tracker follows objects of test scenes: `measure_tracker`, or as a command.

Every figure comes from the shipped `ObjectTracker` on whole 320x240 frames at 10 Hz. A clip is one
test scene; intervals are 95 % and by resampling clips, since frames of one are alike.
"""

import argparse
import json
import math
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pixelrefer_model.frame import Frame
from pixelrefer_model.prompt import Box, Click, MaskPrompt, Prompt
from pixelrefer_model.sam2 import ObjectTracker

RATE_HZ = 10.0
SHIPPED = Path(__file__).parents[2] / 'pixelrefer_model' / 'checkpoints' / 'sam2-tiny'
FOLLOWED = 30
NEAR = 10
#: An object is prompted where it shows at least this many pixels, and judged where it shows this.
LEAST_PROMPTED, LEAST_JUDGED = 100, 30
#: Frames that an object has to come back after it is in view again.
BACK_WITHIN = 5
#: A track overlaps another object rather than its own from this IoU on.
SWAPPED_IOU = 0.3
KINDS = ('box', 'click', 'mask')
#: Objects of one scene that are prompted.
MOST_OBJECTS = 1
MEANS = tuple(f'{kind}_{when}' for kind in KINDS
              for when in ('prompt_frame', f'next_{NEAR}', f'next_{FOLLOWED}'))
SHARES = ('absent_empty', 'refound', 'swapped', 'swapped_clips')


@dataclass(frozen=True)
class Figure:
    """A measured value, how many things it is of, and its 95 % interval."""

    value: float
    n: int
    low: float
    high: float


def mean_figure(by_clip: list[list[float]], rng: np.random.Generator) -> Figure | None:
    """Mean over all values; the interval by resampling clips, since frames of one are alike."""
    by_clip = [values for values in by_clip if values]
    if not by_clip:
        return None
    sums = np.array([(sum(values), len(values)) for values in by_clip])
    picks = rng.integers(0, len(sums), (2000, len(sums)))
    total = sums[picks].sum(1)
    low, high = np.percentile(total[:, 0] / total[:, 1], [2.5, 97.5])
    return Figure(round(float(sums[:, 0].sum() / sums[:, 1].sum()), 4), int(sums[:, 1].sum()),
                  round(float(low), 4), round(float(high), 4))


def share_figure(by_clip: list[list[bool]], rng: np.random.Generator) -> Figure | None:
    """A share of right ones; the interval by resampling clips, and nowhere narrower than Wilson's
    of independent trials, since few clips that agree by chance would have none at all."""
    figure = mean_figure(by_clip, rng)
    if figure is None:
        return None
    z, p, n = 1.96, figure.value, figure.n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Figure(p, n, min(figure.low, round(max(0.0, middle - half), 4)),
                  max(figure.high, round(min(1.0, middle + half), 4)))


def iou(a: np.ndarray | None, b: np.ndarray) -> float:
    """IoU of two bool masks; no mask is an empty one."""
    if a is None:
        return 0.0
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def make_prompt(kind: str, mask: np.ndarray, rng: np.random.Generator) -> Prompt:
    """A prompt as a person gives it: a box off by up to two pixels a side, one click on the
    object's inner half, or the true mask."""
    height, width = mask.shape
    ys, xs = np.nonzero(mask)
    if kind == 'mask':
        return MaskPrompt(mask)
    if kind == 'box':
        off = rng.uniform(-2, 2, 4)
        x0, y0 = max(0.0, xs.min() + off[0]), max(0.0, ys.min() + off[1])
        x1, y1 = min(width, xs.max() + 1 + off[2]), min(height, ys.max() + 1 + off[3])
        return Box(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))
    middle = np.hypot(ys - ys.mean(), xs - xs.mean())
    pick = rng.choice(np.argsort(middle, kind='stable')[:max(1, len(ys) // 2)])
    return Click.at(float(xs[pick]) + 0.5, float(ys[pick]) + 0.5)


def _chosen(labels: np.ndarray, rng: np.random.Generator) -> list[int]:
    """At most MOST_OBJECTS of the objects that show enough in the first frame."""
    sizes = np.bincount(labels[0].ravel(), minlength=2)
    shown = np.array([k for k in range(1, len(sizes)) if sizes[k] >= LEAST_PROMPTED], int)
    return sorted(int(k) for k in rng.permutation(shown)[:MOST_OBJECTS])


def _follow(tracker: ObjectTracker, frames: list[Frame], labels: np.ndarray,
            rng: np.random.Generator) -> dict[str, list[float]]:
    """Prompt objects of the first frame, each in every KIND, and follow all to the end; the values
    by figure."""
    tracker.reset()
    clip: dict[str, list[float]] = defaultdict(list)
    for k in _chosen(labels, rng):
        for kind in KINDS:
            track = tracker.add(f'{kind} {k}', make_prompt(kind, labels[0] == k, rng), frames[0])
            clip[f'{kind}_prompt_frame'].append(iou(track.mask, labels[0] == k))
    waits: dict[str, int] = {}
    strayed: dict[str, int] = {}
    for t in range(1, len(frames)):
        for track in tracker.step(frames[t]):
            kind, k = track.object_id.split()
            truth = labels[t] == int(k)
            area = int(truth.sum())
            if area == 0:
                clip['absent_empty'].append(int(track.mask is None))
                waits[track.object_id] = 0
                continue
            if area < LEAST_JUDGED:
                continue
            overlap = iou(track.mask, truth)
            if t <= NEAR:
                clip[f'{kind}_next_{NEAR}'].append(overlap)
            clip[f'{kind}_next_{FOLLOWED}'].append(overlap)
            others = [iou(track.mask, labels[t] == j) for j in range(1, int(labels[t].max()) + 1)
                      if j != int(k)]
            clip['swapped'].append(int(max(others, default=0.0) >= SWAPPED_IOU
                                       and max(others) > overlap))
            if kind == 'box':
                strayed[k] = clip['swapped'][-1]
            if track.object_id in waits:
                waits[track.object_id] += 1
                if overlap >= 0.5 or waits[track.object_id] >= BACK_WITHIN:
                    clip['refound'].append(int(overlap >= 0.5))
                    del waits[track.object_id]
    if strayed:
        clip['swapped_clips'] = [int(any(strayed.values()))]
    return clip


def follow_clips(tracker: ObjectTracker, clips: Iterable[tuple[int, list[Frame], np.ndarray]],
                 seed: int) -> list[dict[str, list[float]]]:
    """The values by figure of every clip of (number, frames, labels uint8 [T, H, W]); prompts are
    drawn from `seed` and the number."""
    return [_follow(tracker, frames, labels, np.random.default_rng((seed, number)))
            for number, frames, labels in clips]


def figures_of(followed: list[dict[str, list[float]]]) -> dict[str, Figure | None]:
    """The figures over the clips of `follow_clips`."""
    return {name: (mean_figure if name in MEANS else share_figure)(
        [clip.get(name, []) for clip in followed], np.random.default_rng(0))
        for name in (*MEANS, *SHARES)}


def scene_clips(world: object, seed: int, numbers: Iterable[int]
                ) -> Iterator[tuple[int, list[Frame], np.ndarray]]:
    """Clips of the test scenes of these numbers; `world` is an open training.world.World."""
    seconds = (FOLLOWED + 1) / RATE_HZ
    for number in numbers:
        plan = world.plan(1_000_000 + seed * 10_000 + number, split='test', seconds=2 * seconds)
        begin = float(np.random.default_rng((seed, number, 1)).uniform(0, seconds))
        shots = [world.render(plan, begin + k / RATE_HZ) for k in range(FOLLOWED + 1)]
        yield (number, [Frame(shot.rgb, stamp_ns=round(1e9 + 1e9 * k / RATE_HZ))
                        for k, shot in enumerate(shots)], np.stack([shot.seg for shot in shots]))


def measure_tracker(checkpoint: str | os.PathLike, world: object, seed: int, scenes: int
                    ) -> dict[str, Figure | None]:
    """Figures of a checkpoint on `scenes` test scenes made from `seed`.

    box, click and mask are prompted on the first frame of a scene for up to MOST_OBJECTS that
    show LEAST_PROMPTED pixels. *_prompt_frame: mean IoU on that frame; *_next_10, *_next_30: mean
    IoU over the frames after it where the object shows LEAST_JUDGED pixels, no mask counting as 0.
    absent_empty: share of frames with nothing of the object in view where no mask is given.
    refound: share of returns where IoU 0.5 is reached within BACK_WITHIN frames. swapped: share of
    frames where the mask lies on another object; swapped_clips: of clips where one that was
    prompted by a box lies there in the end. None where there was nothing to measure.
    """
    tracker = ObjectTracker.from_checkpoint(checkpoint)
    return figures_of(follow_clips(tracker, scene_clips(world, seed, range(scenes)), seed))


def main() -> None:
    from training.world import Contract, World
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--checkpoint', type=Path, default=SHIPPED)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--scenes', type=int, default=40)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with World(Contract.load()) as world:
        figures = measure_tracker(given.checkpoint, world, given.seed, given.scenes)
    print(json.dumps({name: figure and asdict(figure) for name, figure in figures.items()},
                     indent=1))


if __name__ == '__main__':
    main()
