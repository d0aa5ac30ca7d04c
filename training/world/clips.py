# SPDX-License-Identifier: Apache-2.0
"""Training data from the small world, in folders of .npy shards that are read as memory maps.

    python -m training.world.clips tracker runs/tracker --count 1000 --frames 12 --workers 2
    python -m training.world.clips images  runs/images  --count 8000 --workers 2
    python -m training.world.clips motion  runs/motion  --count 2000 --workers 2

Scene k of a folder has seed `--seed` + k. A shard is written beside its place and then renamed, so
an interrupted run is taken up by starting it again; the same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from bisect import bisect_right
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from training.world.render import World
from training.world.scene import ScenePlan

SIDE = 256          # tracker clips are SIDE x SIDE
KINDS = ('tracker', 'images', 'motion')


@dataclass(frozen=True)
class Recipe:
    """What a folder holds: `count` scenes of `kind` from seed `seed` on, `shard` scenes a file.

    tracker: `frames` frames at 10 Hz, resized to 256x256. images: one frame a scene, 320x240.
    motion: 4 frames 0.5 to 1 s apart, 320x240, of scenes in which each object that can is still or
    moves with equal chance.
    """

    kind: str
    count: int
    frames: int
    seed: int
    split: str
    shard: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f'kind must be one of {KINDS}, got {self.kind!r}')
        if min(self.count, self.frames, self.shard) < 1:
            raise ValueError('count, frames and shard must be 1 or more')

    @property
    def per_scene(self) -> int:
        """Frames a scene gives."""
        return {'tracker': self.frames, 'images': 1, 'motion': 4}[self.kind]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        return (SIDE, SIDE) if self.kind == 'tracker' else (240, 320)

    def shards(self) -> list[range]:
        """The scenes of each shard, counted from 0."""
        return [range(low, min(low + self.shard, self.count))
                for low in range(0, self.count, self.shard)]

    def times(self, k: int) -> tuple[str | None, float, np.ndarray]:
        """(kind of scene or None, its seconds, the times of its frames) for scene k."""
        rng = np.random.default_rng((11, self.seed + k))
        if self.kind == 'tracker':
            seconds = max(self.frames / 10, 2.5)
            start = rng.uniform(0, seconds - (self.frames - 1) / 10)
            return None, seconds, start + np.arange(self.frames) / 10
        if self.kind == 'images':
            return None, 4.0, rng.uniform(0, 4.0, 1)
        gap = rng.uniform(0.5, 1.0)
        return 'motion', float(3 * gap + .1), np.arange(4) * gap + .05


def record(plan: ScenePlan, times: np.ndarray, seg: np.ndarray) -> dict[str, object]:
    """The truth of one scene as plain data: words of each object, and for each frame where it is.

    `seg` [f,h,w]. `motion` is from the first frame to the last. Camera places in metres, boxes
    (x, y, width, height) in pixels of `seg`, or None where nothing is seen.
    """
    frames = []
    for t, labels in zip(times, seg):
        truth = plan.truth(float(t))
        frames.append([{
            'area': int((labels == o.index + 1).sum()), 'box': box(labels == o.index + 1),
            'camera': [round(float(v), 4) for v in o.camera],
            'pixel': [round(float(v), 1) for v in o.pixel],
            'present': o.present, 'hidden': o.hidden, 'support': o.support,
            'relation': o.relation} for o in truth.objects])
    first, last = float(times[0]), float(times[-1])
    return {
        'seed': plan.seed, 'split': plan.split, 'seconds': plan.seconds, 'kind': plan.kind,
        'times': [round(float(t), 4) for t in times],
        'objects': [{**o.words, 'motion': plan.motion(i, first, last),
                     'motion_clear': plan.motion_clear(i, first, last)}
                    for i, o in enumerate(plan.objects)],
        'frames': frames}


def box(mask: np.ndarray) -> list[int] | None:
    """(x, y, width, height) of a mask [h,w], half-open, or None when it is empty."""
    if not mask.any():
        return None
    return [int(v) for v in cv2.boundingRect(mask.astype(np.uint8))]


def write_shard(world: World, recipe: Recipe, folder: Path, number: int) -> int:
    """Render one shard into `folder`, unless it is there. Returns the scenes it holds."""
    scenes = recipe.shards()[number]
    done = folder / f'{number:05d}.jsonl'
    if done.exists():
        return len(scenes)
    height, width = recipe.shape
    rgb = np.zeros((len(scenes), recipe.per_scene, height, width, 3), np.uint8)
    seg = np.zeros((len(scenes), recipe.per_scene, height, width), np.uint8)
    records = []
    for row, k in enumerate(scenes):
        kind, seconds, times = recipe.times(k)
        plan = world.plan(recipe.seed + k, recipe.split, seconds, kind)
        for column, t in enumerate(times):
            shot = world.render(plan, float(t))
            picture, labels = shot.rgb, shot.seg
            if labels.shape != (height, width):
                picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
                labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
            rgb[row, column], seg[row, column] = picture, labels
        records.append(record(plan, times, seg[row]))
    for name, array in (('rgb', rgb), ('seg', seg)):
        partial = folder / f'{number:05d}.{name}.partial.npy'
        np.save(partial, array)
        os.replace(partial, folder / f'{number:05d}.{name}.npy')
    partial = done.with_suffix('.partial')
    partial.write_text(''.join(json.dumps(r) + '\n' for r in records), encoding='utf-8')
    os.replace(partial, done)     # written last: a shard with its records is whole
    return len(scenes)


_WORLD: World | None = None


def _open_world() -> None:
    global _WORLD
    cv2.setNumThreads(1)
    _WORLD = World().__enter__()   # lives as long as the worker process


def _work(task: tuple[Recipe, Path, int]) -> int:
    return write_shard(_WORLD, *task)


def generate(folder: str | Path, recipe: Recipe, workers: int = 1, progress: bool = True) -> Path:
    """Fill `folder` by `recipe` with `workers` processes; what is there already is kept.

    Raises ValueError when the folder holds data of another recipe.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / 'recipe.json'
    text = json.dumps(asdict(recipe), indent=1)
    if note.exists() and note.read_text(encoding='utf-8') != text:
        raise ValueError(f'{note} is of another recipe; choose another folder')
    note.write_text(text, encoding='utf-8')
    tasks = [(recipe, folder, number) for number in range(len(recipe.shards()))]
    with tqdm(total=recipe.count, unit='scene', desc=folder.name, disable=not progress) as bar:
        if workers <= 1:
            with World(None) as world:
                for task in tasks:
                    bar.update(write_shard(world, *task))
        else:
            context = multiprocessing.get_context('spawn')
            with context.Pool(workers, initializer=_open_world) as pool:
                for count in pool.imap_unordered(_work, tasks):
                    bar.update(count)
    return folder


class ClipSet:
    """A folder of clips as a sequence of (rgb [f,h,w,3], seg [f,h,w], record); arrays stay on disk
    until they are used. Raises FileNotFoundError when the folder is not complete."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        recipe = Recipe(**json.loads((self.folder / 'recipe.json').read_text(encoding='utf-8')))
        self.recipe, self._starts = recipe, [shard.start for shard in recipe.shards()]
        self._rgb, self._seg, self._records = [], [], []
        for number in range(len(self._starts)):
            stem = self.folder / f'{number:05d}'
            self._rgb.append(np.load(f'{stem}.rgb.npy', mmap_mode='r'))
            self._seg.append(np.load(f'{stem}.seg.npy', mmap_mode='r'))
            lines = Path(f'{stem}.jsonl').read_text(encoding='utf-8').splitlines()
            self._records.append([json.loads(line) for line in lines])

    def __len__(self) -> int:
        return self.recipe.count

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray, dict]:
        if not 0 <= k < len(self):
            raise IndexError(k)
        shard = bisect_right(self._starts, k) - 1
        row = k - self._starts[shard]
        return self._rgb[shard][row], self._seg[shard][row], self._records[shard][row]


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description='Write training data of the small world.')
    parser.add_argument('kind', choices=KINDS)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--count', type=int, required=True, help='scenes')
    parser.add_argument('--frames', type=int, default=12, help='frames of a tracker clip')
    parser.add_argument('--seed', type=int, default=0, help='seed of the first scene')
    parser.add_argument('--split', choices=('train', 'test'), default='train')
    parser.add_argument('--shard', type=int, default=32, help='scenes in a file')
    parser.add_argument('--workers', type=int, default=1, help='processes')
    given = parser.parse_args(arguments)
    recipe = Recipe(given.kind, given.count, given.frames, given.seed, given.split, given.shard)
    generate(given.folder, recipe, given.workers)


if __name__ == '__main__':
    main()
