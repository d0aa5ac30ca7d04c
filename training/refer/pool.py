# SPDX-License-Identifier: Apache-2.0
"""The training records in memory, drawn in a seeded order while more are still being rendered."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from training.ahead import WHOLE, Part
from training.refer.records import Record, make_record, read_shard
from training.refer.render import shard_path
from training.world import Contract, World

#: Training may begin when so many shards are there.
ENOUGH_SHARDS = 12
#: Scenes that the learning curve is measured on; evaluate.py never draws them.
CURVE_SEED = 1_900_000


class Rendering:
    """Renders the missing shards in so many other processes, 0 where another run does. Use as a
    context manager."""

    def __init__(self, folder: Path, shards: int, seed: int, processes: int = 1) -> None:
        self.folder, self.shards, self.seed, self.processes = folder, shards, seed, processes
        self._started: list[subprocess.Popen] = []

    def __enter__(self) -> 'Rendering':
        if self.processes and not all(
                shard_path(self.folder, n).exists() for n in range(self.shards)):
            # Several give way to what is made of their records.
            nice = ['nice', '-n', '10'] if self.processes > 1 else []
            self._started = [subprocess.Popen(
                [*nice, sys.executable, '-m', 'training.refer.render', '--out', str(self.folder),
                 '--shards', str(self.shards), '--seed', str(self.seed),
                 '--part', f'{part}/{self.processes}']) for part in range(self.processes)]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.terminate()
        for process in self._started:
            process.wait()

    def wait(self, enough: int = ENOUGH_SHARDS) -> None:
        """Until training can begin. Raises RuntimeError when the renderer has failed."""
        wanted = min(enough, self.shards)
        while sum(1 for _ in self.folder.glob('shard-*.zip')) < wanted:
            failed = [process.returncode for process in self._started if process.poll()]
            if failed:
                raise RuntimeError(f'a renderer ended with {failed[0]}; its output says why')
            time.sleep(1)


class Pool:
    """Records of every shard that is there, single frames and clips apart; of one of several
    processes that read them, those of its `part`."""

    def __init__(self, folder: Path, shards: int, seed: int, part: Part = WHOLE) -> None:
        self.singles: list[Record] = []
        self.clips: list[Record] = []
        self.seed = seed
        self._left = [shard_path(folder, n) for n in range(shards)[part.of_several]]
        self.refresh()

    @property
    def ready(self) -> bool:
        """Whether there are frames and clips."""
        return bool(self.singles and self.clips)

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
