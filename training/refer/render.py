# SPDX-License-Identifier: Apache-2.0
"""Renders the training shards: `python -m training.refer.render --out DIR --shards N`.

Several processes may work on one folder, each with its own `--part I/N`.
"""

import argparse
from pathlib import Path

from tqdm import tqdm

from training.refer.records import make_record, write_shard
from training.world import Contract, World

#: Records of one shard: single frames and clips.
SINGLES, CLIPS = 100, 50


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f'shard-{number:04d}.zip'


def render_shard(world: World, path: Path, number: int, seed: int) -> None:
    """Render one shard; the same scenes for the same seed and number."""
    size = SINGLES + CLIPS
    first = (seed * 1000 + number) * size % (world.contract.train_seeds - size)
    records = [make_record(world, first + k, 'train', k >= SINGLES) for k in range(size)]
    write_shard(path, records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='folder of the shards')
    parser.add_argument('--shards', type=int, default=60, help='shards in all')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--part', default='0/1', help='I/N: every N-th shard from the I-th on')
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    part, parts = map(int, arguments.part.split('/'))
    with World(Contract.load()) as world:
        for number in tqdm(range(part, arguments.shards, parts), unit='shard'):
            path = shard_path(arguments.out, number)
            if not path.exists():
                render_shard(world, path, number, arguments.seed)


if __name__ == '__main__':
    main()
