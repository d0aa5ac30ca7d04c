# SPDX-License-Identifier: Apache-2.0
"""Teaches a trained tiny PixelRefer-Lite the three tenses:
`./run python -m training.tenses.train --out DIR --minutes M`.

It begins with the weights of `--start` (the packaged checkpoint) and changes the language model
alone. DIR gets the rendered scenes, the state (a later start with the same DIR goes on), log.jsonl
and the checkpoint; another process renders meanwhile, but for --no-render.
"""

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder
from pixelrefer_model.weights import checkpoint_folder
from training.refer.pool import CURVE_SEED
from training.refer.sizes import export
from training.tenses.records import Scribe, read_shard, write_shard
from training.tenses.render import SECONDS
from training.tenses.trainer import LongPool, TenseRecipe, TenseTrainer
from training.world import Contract, World

#: Seconds of training between two points of the curve, and between two saved states.
CURVE_EVERY, SAVE_EVERY = 480.0, 120.0
REFRESH_STEPS = 25
#: Training may begin when so many shards are there.
ENOUGH_SHARDS = 4


def run(given: argparse.Namespace) -> None:
    """Train until the minutes are used up; with the state the checkpoint is written too."""
    folder = checkpoint_folder(given.start, 'refer')
    model, tokenizer = PixelReferLite.from_checkpoint(folder), Tokenizer.from_folder(folder)
    encoder = RegionEncoder(model)
    key = encoder.key
    held_out = curve_records(given.out / 'curve.pt', encoder, given.curve_scenes)
    model.train()
    recipe = TenseRecipe(minutes=given.minutes, seed=given.seed)
    (given.out / 'recipe.json').write_text(json.dumps(
        {**asdict(recipe), 'shards': given.shards, 'start': str(given.start)}, indent=2) + '\n')
    torch.manual_seed(given.seed)
    trainer = TenseTrainer(model, tokenizer, recipe, Contract.load())
    state = given.out / 'state.pt'
    if state.exists():
        trainer.load_state(torch.load(state, weights_only=True))
        print(f'goes on at step {trainer.step}, {trainer.seconds:.0f} s', file=sys.stderr)
    pool = LongPool(given.shards_dir, given.shards, key, given.seed)
    while len(pool.records) == 0 or len(list(given.shards_dir.glob('long-*.pt'))) < min(
            ENOUGH_SHARDS, given.shards):
        time.sleep(2)
        pool.refresh()
    measured = saved = trainer.seconds
    recent: dict[str, float] = {}
    with tqdm(total=int(recipe.minutes * 60), initial=int(trainer.seconds), unit='s') as bar:
        while trainer.progress < 1:
            if trainer.step % REFRESH_STEPS == 0:
                pool.refresh()
            for name, value in trainer.train_step(pool).items():
                recent[name] = 0.95 * recent.get(name, value) + 0.05 * value
            bar.update(int(trainer.seconds) - bar.n)
            bar.set_postfix_str(f'step {trainer.step} scenes {len(pool.records)} ' + ' '.join(
                f'{name} {value:.2f}' for name, value in recent.items()), refresh=False)
            done = trainer.progress >= 1
            if done or trainer.seconds - measured >= CURVE_EVERY:
                measured = trainer.seconds
                point = {'step': trainer.step, 'seconds': round(trainer.seconds, 1),
                         'records': len(pool.records), 'loss': recent,
                         'held_out': trainer.measure(held_out)}
                with open(given.out / 'log.jsonl', 'a') as log:
                    log.write(json.dumps(point) + '\n')
            if done or trainer.seconds - saved >= SAVE_EVERY:
                saved = trainer.seconds
                part = given.out / 'state.part'
                torch.save(trainer.state(), part)
                part.rename(state)
                export(trainer.model, tokenizer, given.out / 'checkpoint')


def curve_records(file: Path, encoder: RegionEncoder, scenes: int) -> list:
    """Held-out records for the curve, rendered once."""
    if not file.exists():
        with World(Contract.load()) as world:
            scribe = Scribe(world, encoder, vary=False)
            write_shard(file, [record for n in tqdm(range(scenes), desc='curve', unit='scene')
                               for record in scribe.records(CURVE_SEED + n, 'test', SECONDS)],
                        encoder.key)
    return read_shard(file, encoder.key)


def main() -> None:
    parser = argparse.ArgumentParser(description='Teaches a tiny PixelRefer-Lite the tenses.')
    parser.add_argument('--out', type=Path, required=True, help='folder of the run')
    parser.add_argument('--minutes', type=float, default=TenseRecipe.minutes)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--start', default='tiny', help='checkpoint that it begins with (packaged)')
    parser.add_argument('--shards', type=int, default=60, help='10 rendered scenes each')
    parser.add_argument('--shards-dir', type=Path, help='rendered scenes of another run')
    parser.add_argument('--no-render', action='store_true',
                        help='another process renders the shards')
    parser.add_argument('--curve-scenes', type=int, default=4, help='held-out, for the curve')
    given = parser.parse_args()
    if given.minutes <= 0 or given.shards < 1 or given.curve_scenes < 1:
        parser.error('--minutes must be over 0, --shards and --curve-scenes at least 1')
    given.shards_dir = given.shards_dir or given.out / 'shards'
    for folder in (given.out, given.shards_dir):
        folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    with ExitStack() as stack:
        if not given.no_render:
            renderer = stack.enter_context(subprocess.Popen(
                [sys.executable, '-m', 'training.tenses.render', '--out', str(given.shards_dir),
                 '--shards', str(given.shards), '--start', str(given.start)]))
            stack.callback(renderer.terminate)
        run(given)


if __name__ == '__main__':
    main()
