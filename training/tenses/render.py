# SPDX-License-Identifier: Apache-2.0
"""Renders the training shards: `python -m training.tenses.render --out DIR --shards N`.

Several processes may work on one folder, each with its own `--part I/N`.
"""

import argparse
import os
from pathlib import Path

import torch
from tqdm import tqdm

from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder
from pixelrefer_model.weights import checkpoint_folder
from training.tenses.records import TAUGHT, Scribe, write_shard
from training.world import Contract, World

#: Scenes of a shard, and how long they are: shorter than the measured ones, to show more of them.
SCENES, SECONDS = 5, (30.0, 75.0)


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f'long-{number:04d}.pt'


def render_shard(world: World, encoder: RegionEncoder, path: Path, number: int) -> None:
    """Render one shard; the same scenes for the same number."""
    scribe = Scribe(world, encoder, vary=True, moments=TAUGHT)
    write_shard(path, [record for k in range(SCENES) for record in scribe.records(
        number * SCENES + k, 'train', SECONDS)], encoder.key)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, required=True, help='folder of the shards')
    parser.add_argument('--shards', type=int, default=200, help='shards in all')
    parser.add_argument('--start', default='tiny', help='checkpoint that makes the object tokens')
    parser.add_argument('--device', default='cpu', help='that makes the object tokens')
    parser.add_argument('--part', default='0/1', help='I/N: every N-th shard from the I-th on')
    arguments = parser.parse_args()
    os.environ.setdefault('LP_NUM_THREADS', '1')
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    part, parts = map(int, arguments.part.split('/'))
    encoder = RegionEncoder(PixelReferLite.from_checkpoint(
        checkpoint_folder(arguments.start, 'refer'), device=arguments.device))
    with World(Contract.load()) as world:
        for number in tqdm(range(part, arguments.shards, parts), unit='shard'):
            path = shard_path(arguments.out, number)
            if not path.exists():
                render_shard(world, encoder, path, number)


if __name__ == '__main__':
    main()
