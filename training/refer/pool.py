# SPDX-License-Identifier: Apache-2.0
"""The training records in memory, drawn in a seeded order while more are still being rendered."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from training.refer.records import Record, make_record, read_shard
from training.refer.render import shard_path
from training.world import Contract, World

#: Training may begin when so many shards are there.
ENOUGH_SHARDS = 12
#: Scenes that the learning curve is measured on; evaluate.py never draws them.
CURVE_SEED = 1_900_000


class Rendering:
    """Renders the missing shards in another process, if it is to `start` one. Use as a context
    manager."""

    def __init__(self, folder: Path, shards: int, seed: int, *, start: bool = True) -> None:
        self.folder, self.shards, self.seed, self.start = folder, shards, seed, start
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> 'Rendering':
        if self.start and not all(shard_path(self.folder, n).exists() for n in range(self.shards)):
            self._process = subprocess.Popen(
                [sys.executable, '-m', 'training.refer.render', '--out', str(self.folder),
                 '--shards', str(self.shards), '--seed', str(self.seed)])
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def wait(self, enough: int = ENOUGH_SHARDS) -> None:
        """Until training can begin. Raises RuntimeError when the renderer has failed."""
        wanted = min(enough, self.shards)
        while sum(1 for _ in self.folder.glob('shard-*.zip')) < wanted:
            if self._process is not None and self._process.poll():
                raise RuntimeError('the renderer ended with '
                                   f'{self._process.returncode}; its output says why')
            time.sleep(1)


class Pool:
    """Records of every shard that is there, single frames and clips apart."""

    def __init__(self, folder: Path, shards: int, seed: int) -> None:
        self.singles: list[Record] = []
        self.clips: list[Record] = []
        self.seed = seed
        self._left = [shard_path(folder, n) for n in range(shards)]
        self.refresh()

    def refresh(self) -> None:
        """Read the shards that were finished since."""
        for path in [path for path in self._left if path.exists()]:
            self._left.remove(path)
            for record in read_shard(path):
                (self.clips if len(record.views) > 1 else self.singles).append(record)

    def draw(self, step: int, singles: int, clips: int, rank: int = 0) -> list[Record]:
        """Records of one step of one process; the same for the same arguments and pool."""
        rng = np.random.default_rng((self.seed, step, 11, rank))
        return [self.singles[i] for i in rng.choice(len(self.singles), singles, replace=False)] + \
            [self.clips[i] for i in rng.choice(len(self.clips), clips, replace=False)]


def curve_records(singles: int, clips: int) -> list[Record]:
    """Held-out records for the learning curve."""
    with World(Contract.load()) as world:
        return [make_record(world, CURVE_SEED + n, 'test', n >= singles)
                for n in tqdm(range(singles + clips), desc='curve scenes', unit='scene')]
