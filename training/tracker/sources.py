# SPDX-License-Identifier: Apache-2.0
"""Where the tracker's clips come from: the small world and flat shapes, written by one process."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from training.tracker.clips import ClipStore, write_clips
from training.tracker.shapes import make_clip

#: Frames per clip; the small world is seen at RATE_HZ.
FRAMES, RATE_HZ = 16, 10.0
#: Clips taken from one scene, and how long it goes on.
PER_SCENE, SECONDS = 3, 8.0
SHAPE_SIZE = 256
#: Shares of the batches once both are there.
SHARES = {'world': 0.85, 'shapes': 0.15}
#: Training begins when so many clips of shapes are there.
ENOUGH = 60
#: Small-world scenes that the tracker learns from: SEED_BASE + seed * 10_000 + clip.
SEED_BASE = 200_000


def shape_clips(seed: int, first: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Clips `first` to `count` of flat shapes."""
    for index in range(first, count):
        yield make_clip(seed * 1_000_000 + index, FRAMES, SHAPE_SIZE)


def world_clips(seed: int, first: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Clips `first` to `count` of training scenes, PER_SCENE of each so that events are met.

    The first half is drawn coarsely, at half the cost, so that training soon has many scenes; the
    second half as the test scenes are.
    """
    from training.world import Contract, World
    halves = ((range(first, count // 2), {'samples': 0, 'shadows': 512}),
              (range(max(first, count // 2), count), {}))
    for indices, look in halves:
        if not indices:
            continue
        with World(Contract.load(), **look) as world:
            for index in indices:
                rng = np.random.default_rng((seed, index))
                plan = world.plan(SEED_BASE + seed * 10_000 + index // PER_SCENE, split='train',
                                  seconds=SECONDS)
                stretch = float(rng.choice([1.0, 1.0, 2.0])) / RATE_HZ
                begin = float(rng.uniform(0, SECONDS - stretch * (FRAMES - 1)))
                shots = [world.render(plan, begin + stretch * k) for k in range(FRAMES)]
                yield np.stack([s.rgb for s in shots]), np.stack([s.seg for s in shots])


def render(folder: Path, seed: int, shapes: int, worlds: int) -> None:
    """Write both stores into `folder`, going on where an earlier run stopped."""
    os.environ.setdefault('LP_NUM_THREADS', '1')  # a software renderer takes every core otherwise
    for name, clips, count, height, width in (
            ('shapes', shape_clips, shapes, SHAPE_SIZE, SHAPE_SIZE),
            ('world', world_clips, worlds, 240, 320)):
        done = _count(folder / name)
        if done < count:
            write_clips(folder / name, clips(seed, done, count), done, count, FRAMES, height,
                        width)


def _count(folder: Path) -> int:
    return ClipStore(folder).count if (folder / 'labels.npy').exists() else 0


def open_stores(folder: Path) -> list[tuple[ClipStore, float]]:
    """The stores that hold clips by now, with the share of the batches that each is to have."""
    found = []
    for name, share in SHARES.items():
        if (folder / name / 'count').exists() and _count(folder / name) >= ENOUGH:
            found.append((ClipStore(folder / name), share))
    return found


def open_when_ready(folder: Path, renderer: multiprocessing.Process
                    ) -> list[tuple[ClipStore, float]]:
    """Wait for the first clips; RuntimeError if `renderer` ends without any."""
    while not (stores := open_stores(folder)):
        if not renderer.is_alive():
            raise RuntimeError(f'no clips in {folder}: rendering ended with code '
                               f'{renderer.exitcode}')
        time.sleep(0.5)
    return stores


def draw_curve(history: list[dict], file: Path) -> None:
    """The learning curve as a picture: IoU and loss over minutes."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    if not history:
        return
    minutes = [row['minutes'] for row in history]
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(8, 7), sharex=True)
    for name, label in (('box', 'box, prompt frame'), ('click', 'click, prompt frame'),
                        ('follow', 'following frames'), ('absent', 'absent said')):
        above.plot(minutes, [row[name] for row in history], label=label)
    above.set_ylabel('mean IoU of training batches')
    above.set_ylim(0, 1)
    below.plot(minutes, [row['loss'] for row in history], color='black', label='loss')
    below.set_ylabel('loss')
    below.set_xlabel('minutes')
    for axis in (above, below):
        for before, row in zip(history, history[1:]):
            if row['phase'] != before['phase']:
                axis.axvline(row['minutes'], color='0.8')
        axis.grid(alpha=0.3)
        axis.legend(loc='lower right' if axis is above else 'upper right')
    figure.tight_layout()
    figure.savefig(file, dpi=80)
    pyplot.close(figure)
