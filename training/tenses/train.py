# SPDX-License-Identifier: Apache-2.0
"""Teaches a trained tiny PixelRefer-Lite the three tenses:
`./run python -m training.tenses.train --out DIR --records DIR --minutes M`.

It begins with the weights of `--start` (the packaged checkpoint), adds layers to the language model
where they are not there yet, and changes nothing else. DIR gets the rendered scenes, the object
tokens of the pictures of the stages before (`--records`: the shards of training/refer), the state
(a later start with the same DIR goes on), log.jsonl with its picture and the checkpoint. Two
processes of one thread train while another renders, but for --no-render.
"""

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder
from pixelrefer_model.weights import checkpoint_folder
from training.refer.deepen import deepened
from training.refer.pool import CURVE_SEED, curve_records
from training.refer.sizes import export, tiny_config
from training.refer.start import weights_of
from training.tenses.curve import draw_curve
from training.tenses.pictures import (
    Picture, PicturePool, pictures_of, read_pictures, write_pictures)
from training.tenses.records import LongRecord, Scribe, read_shard, write_shard
from training.tenses.render import SECONDS
from training.tenses.tokenizer import tense_tokenizer
from training.tenses.trainer import AGAIN, LongPool, TenseRecipe, TenseTrainer
from training.together import Together, run_together
from training.world import Contract, World

#: Seconds of training between two points of the curve, and between two saved states.
CURVE_EVERY, SAVE_EVERY = 480.0, 120.0
REFRESH_STEPS = 25
#: Training may begin when so many shards are there.
ENOUGH_SHARDS = 4
#: Pictures, and half as many clips, of the curve.
CURVE_PICTURES = 60


def run(together: Together, given: argparse.Namespace) -> None:
    """Train until the minutes are used up; with the state the checkpoint is written too."""
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    folder = checkpoint_folder(given.start, 'refer')
    start = PixelReferLite.from_checkpoint(folder)
    encoder = RegionEncoder(start)
    again = start.config.language.num_hidden_layers == TenseRecipe.layers
    # Once it has the words about time a checkpoint keeps its words.
    tokenizer = Tokenizer.from_folder(folder) if again else tense_tokenizer()
    model = weights_of(folder, tiny_config(tokenizer), tokenizer)
    recipe = TenseRecipe(minutes=given.minutes, seed=given.seed, **(AGAIN if again else {}))
    model = deepened(model, recipe.layers)
    model.train()
    trainer = TenseTrainer(model, tokenizer, recipe, Contract.load(), together)
    state = given.out / 'state.pt'
    if state.exists():
        trainer.load_state(torch.load(state, weights_only=True))
        print(f'goes on at step {trainer.step}, {trainer.seconds:.0f} s', file=sys.stderr)
    together.share(trainer.model, trainer.heads)
    if together.first:
        (given.out / 'recipe.json').write_text(json.dumps(
            {**asdict(recipe), 'shards': given.shards, 'start': str(given.start),
             'processes': together.count}, indent=2) + '\n')
    pool = LongPool(given.shards_dir, given.shards, encoder.key, given.seed)
    pictures = PicturePool(given.pictures_dir, encoder.key, given.seed)
    while len(list(given.shards_dir.glob('long-*.pt'))) < min(ENOUGH_SHARDS, given.shards) \
            or not pictures.clips:
        time.sleep(2)
        pool.refresh()
        pictures.refresh()
    _loop(trainer, pool, pictures, held_out(given.out, encoder, given.curve_scenes)
          if together.first else None, given.out)


@dataclass(frozen=True)
class HeldOut:
    """What the curve is measured on."""

    records: list[LongRecord]
    pictures: list[Picture]


def _loop(trainer: TenseTrainer, pool: LongPool, pictures: PicturePool, curve: HeldOut | None,
          out: Path) -> None:
    measured = saved = trainer.seconds
    recent: dict[str, float] = {}
    with tqdm(total=int(trainer.recipe.minutes * 60), initial=int(trainer.seconds), unit='s',
              disable=curve is None) as bar:
        while trainer.progress < 1:
            if trainer.step % REFRESH_STEPS == 0:
                pool.refresh()
                pictures.refresh()
            for name, value in trainer.train_step(pool, pictures).items():
                recent[name] = 0.95 * recent.get(name, value) + 0.05 * value
            if curve is None:
                continue
            bar.update(int(trainer.seconds) - bar.n)
            bar.set_postfix_str(f'step {trainer.step} scenes {len(pool.records)} ' + ' '.join(
                f'{name} {value:.2f}' for name, value in recent.items()), refresh=False)
            done = trainer.progress >= 1
            if done or trainer.seconds - measured >= CURVE_EVERY:
                measured = trainer.seconds
                point = {'step': trainer.step, 'seconds': round(trainer.seconds, 1),
                         'records': len(pool.records), 'loss': recent,
                         'held_out': trainer.measure(curve.records),
                         'before': trainer.measure_pictures(curve.pictures)}
                with open(out / 'log.jsonl', 'a') as log:
                    log.write(json.dumps(point) + '\n')
                draw_curve(out / 'log.jsonl', out / 'tenses.png')
            if done or trainer.seconds - saved >= SAVE_EVERY:
                saved = trainer.seconds
                part = out / 'state.part'
                torch.save(trainer.state(), part)
                part.rename(out / 'state.pt')
                export(trainer.model, trainer.tokenizer, out / 'checkpoint')


def held_out(out: Path, encoder: RegionEncoder, scenes: int) -> HeldOut:
    """Held-out records and pictures for the curve, rendered once."""
    long, short = out / 'curve.pt', out / 'curve-seen.pt'
    if not long.exists():
        with World(Contract.load()) as world:
            scribe = Scribe(world, encoder, vary=False)
            write_shard(long, [record for n in tqdm(range(scenes), desc='curve', unit='scene')
                               for record in scribe.records(CURVE_SEED + n, 'test', SECONDS)],
                        encoder.key)
    if not short.exists():
        write_pictures(short, pictures_of(
            curve_records(CURVE_PICTURES, CURVE_PICTURES // 2), encoder.model, Contract.load(),
            None), encoder.key)
    return HeldOut(read_shard(long, encoder.key), read_pictures(short, encoder.key))


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
    parser.add_argument('--records', type=Path, help='folder of the shards of training/refer, '
                        'whose pictures are made here')
    parser.add_argument('--pictures-dir', type=Path, help='pictures of another run')
    parser.add_argument('--processes', type=int, default=2, help='of one thread each')
    parser.add_argument('--curve-scenes', type=int, default=4, help='held-out, for the curve')
    given = parser.parse_args()
    if given.minutes <= 0 or min(given.shards, given.curve_scenes, given.processes) < 1:
        parser.error('--minutes must be over 0, --shards, --curve-scenes and --processes at '
                     'least 1')
    if (given.records is None) == (given.pictures_dir is None):
        parser.error('one of --records and --pictures-dir is needed')
    # Training waits for the first pictures: without any shard it would for ever.
    if given.records is not None and not any(given.records.glob('shard-*.zip')):
        parser.error(f'--records {given.records}: there is no shard-*.zip of training/refer in it')
    given.shards_dir = given.shards_dir or given.out / 'shards'
    pictures, given.pictures_dir = given.pictures_dir, given.pictures_dir or given.out / 'pictures'
    for folder in (given.out, given.shards_dir, given.pictures_dir):
        folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    with ExitStack() as stack:
        if not given.no_render:
            _beside(stack, 'training.tenses.render', '--out', str(given.shards_dir),
                    '--shards', str(given.shards), '--start', str(given.start))
        if pictures is None:
            _beside(stack, 'training.tenses.pictures', '--records', str(given.records),
                    '--out', str(given.pictures_dir), '--start', str(given.start))
        run_together(given.processes, run, given)


def _beside(stack: ExitStack, module: str, *arguments: str) -> None:
    """Let a process run until the training ends."""
    process = stack.enter_context(subprocess.Popen([sys.executable, '-m', module, *arguments]))
    stack.callback(process.terminate)


if __name__ == '__main__':
    main()
