# SPDX-License-Identifier: Apache-2.0
"""Where the tracker's clips come from: the small world and flat shapes, written by processes of
their own, each into its own stores."""

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import takewhile
from pathlib import Path

import numpy as np

from training.tracker.clips import ClipStore, write_clips
from training.tracker.shapes import make_clip

#: Frames per clip; the small world is seen at RATE_HZ.
FRAMES, RATE_HZ = 24, 10.0
#: Clips taken from one scene, and how long it goes on.
PER_SCENE, SECONDS = 3, 8.0
SHAPE_SIZE = 256
#: Shares of the batches once both are there.
SHARES = {'world': 0.85, 'shapes': 0.15}
#: Training begins when so many clips are there.
ENOUGH = 60
#: Small-world scenes that the tracker learns from: SEED_BASE + seed * 10_000 + scene.
SEED_BASE = 200_000
#: Share of the scenes in which something happens for certain, and of the clips for whose beginning
#: so many moments are tried: the one after which most objects go and come back is taken.
EVENTFUL, SOUGHT, MOMENTS = 0.6, 0.7, 8
#: How long a process that is told to end may take.
PATIENCE_S = 10.0
#: An object that shows fewer pixels is out of view; looked at so many times a second.
LEAST_SEEN, LOOKED_HZ = 30, 5.0


def shape_clips(seed: int, first: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Clips `first` to `count` of flat shapes."""
    for index in range(first, count):
        yield make_clip(seed * 1_000_000 + index, FRAMES, SHAPE_SIZE)


def world_clips(seed: int, first: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Clips `first` to `count` of training scenes, PER_SCENE of each, so that events are met."""
    from training.world import Contract, World
    if first >= count:
        return
    times, scene = np.arange(0, SECONDS, 1 / LOOKED_HZ), -1
    with World(Contract.load()) as world:
        for index in range(first, count):
            if index // PER_SCENE != scene:
                scene, seen = index // PER_SCENE, None
                eventful = np.random.default_rng((seed, scene, 3)).random() < EVENTFUL
                plan = world.plan(SEED_BASE + seed * 10_000 + scene, 'train', SECONDS,
                                  'events' if eventful else None)
            rng = np.random.default_rng((seed, index))
            sought = rng.random() < SOUGHT
            stretch = float(rng.choice([1.0, 2.0] if sought else [1.0, 1.0, 2.0])) / RATE_HZ
            lasts = stretch * (FRAMES - 1)
            begins = rng.uniform(0, SECONDS - lasts, MOMENTS if sought else 1)
            begin = float(begins[0])
            if sought:
                if seen is None:
                    seen = np.stack([np.bincount(world.segment(plan, t).ravel(), minlength=256)
                                     for t in times]) >= LEAST_SEEN
                begin = best_begin(begins, lasts, times, seen)
            shots = [world.render(plan, begin + stretch * k) for k in range(FRAMES)]
            yield np.stack([s.rgb for s in shots]), np.stack([s.seg for s in shots])


def returns(seen: np.ndarray) -> int:
    """How many of the objects that are in view at first go and come back: seen bool [T, labels]."""
    later = seen[1:] & ~seen[:-1]
    return int((later.any(0) & seen[0])[1:].sum())


def best_begin(begins: np.ndarray, lasts: float, times: np.ndarray, seen: np.ndarray) -> float:
    """The one of `begins` after which most objects go and come back within `lasts` seconds; the
    first of several. seen: bool [T, labels] at `times`."""
    return float(max(begins, key=lambda b: returns(seen[(times >= b) & (times <= b + lasts)])))


def render(folder: Path, seed: int, shapes: int, worlds: int, part: int, parts: int) -> None:
    """Write the stores of one of `parts` processes into `folder`, going on where an earlier run
    stopped; the first writes those of shapes too. Ends with the process that started it."""
    parent = os.getppid()
    os.environ.setdefault('LP_NUM_THREADS', '1')  # a software renderer takes every core otherwise
    first, end = (worlds * n // parts for n in (part, part + 1))
    for name, clips, start, count, height, width in (
            (f'shapes-0-{shapes}', shape_clips, 0, shapes if part == 0 else 0, SHAPE_SIZE,
             SHAPE_SIZE),
            (f'world-{first}-{end}', world_clips, first, end - first, 240, 320)):
        # Which clips a store holds is in its name: another number of processes makes its own.
        done = _count(folder / name)
        if done < count:
            made = takewhile(lambda _: os.getppid() == parent,
                             clips(seed, start + done, start + count))
            write_clips(folder / name, made, done, count, FRAMES, height, width)


class Rendering(AbstractContextManager):
    """So many processes that render clips into `folder`; they end with the training."""

    def __init__(self, folder: Path, seed: int, shapes: int, worlds: int, processes: int) -> None:
        start = multiprocessing.get_context('spawn').Process
        self.folder = folder
        self._processes = [
            start(target=render, daemon=True, args=(folder, seed, shapes, worlds, part, processes))
            for part in range(processes)]

    def __enter__(self) -> 'Rendering':
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        failed = [process.exitcode for process in self._processes if process.exitcode]
        if failed:
            print(f'rendering ended early (codes {failed}); there are {counts(self.folder)} clips',
                  file=sys.stderr)
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(PATIENCE_S)
            if process.is_alive():
                process.kill()
                process.join()

    def wait(self) -> None:
        """Until the first clips are there; RuntimeError if a process fails before, or all end."""
        while not open_stores(self.folder):
            ended = [process.exitcode for process in self._processes]
            if any(ended):
                raise RuntimeError(f'no clips in {self.folder}: rendering ended with codes {ended}')
            if None not in ended and not open_stores(self.folder):
                raise RuntimeError(f'{counts(self.folder)} clips in {self.folder}; {ENOUGH} of one '
                                   'kind are needed')
            time.sleep(0.5)


def _count(folder: Path) -> int:
    return ClipStore(folder).count if (folder / 'labels.npy').exists() else 0


def open_stores(folder: Path) -> list[tuple[ClipStore, float]]:
    """The stores that hold clips by now, with the share of the batches that each is to have; none
    before there are ENOUGH clips of one kind."""
    found = []
    for name, share in SHARES.items():
        stores = [ClipStore(path.parent) for path in sorted(folder.glob(f'{name}-*/count'))]
        counts = [store.count for store in stores]
        if sum(counts) >= ENOUGH:
            found += [(store, share * count / sum(counts))
                      for store, count in zip(stores, counts) if count]
    return found


def counts(folder: Path) -> dict[str, int]:
    """How many clips of each kind there are."""
    return {name: sum(ClipStore(path.parent).count for path in folder.glob(f'{name}-*/count'))
            for name in SHARES}


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
