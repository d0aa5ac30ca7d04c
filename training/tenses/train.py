# SPDX-License-Identifier: Apache-2.0
"""Teaches a trained tiny PixelRefer-Lite the three tenses:
`./run python -m training.tenses.train --out DIR --records DIR --minutes M`.

It begins with the weights of `--start` (the packaged checkpoint), adds layers to the language model
where they are not there yet, and changes nothing else. DIR gets the rendered scenes, the object
tokens of the pictures of the stages before (`--records`: the shards of training/refer), the state
(a later start with the same DIR goes on), log.jsonl with its picture and the checkpoint. Two
processes of one thread train while another renders, but for --no-render, and one more makes object
tokens of the pictures. With `--device cuda` one process trains on a GPU, in steps of many more
scenes, which `--loaders` processes put together ahead while `--renderers` draw and encode more with
the same GPU.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder
from pixelrefer_model.weights import checkpoint_folder
from training.ahead import Ahead, Part, Refreshed, device_name
from training.refer.deepen import deepened
from training.refer.pool import CURVE_SEED, curve_records
from training.refer.recipe import progress_of
from training.refer.sizes import export, with_words
from training.refer.start import weights_of
from training.tenses.curve import draw_curve
from training.tenses.pictures import (
    Picture, PicturePool, pictures_of, read_pictures, write_pictures)
from training.tenses.recipe import ON_GPU, TenseRecipe, recipe_of
from training.tenses.records import LongRecord, Scribe, read_shard, write_shard
from training.tenses.render import SCENES, SECONDS, shard_path
from training.tenses.step import LongPool, StepsAhead, TenseMaker
from training.tenses.tokenizer import tense_tokenizer
from training.tenses.trainer import TenseTrainer
from training.together import Together, run_together
from training.world import Contract, World

#: Seconds of training between two points of the curve, and between two saved states.
CURVE_EVERY = {'cpu': 480.0, 'cuda': 120.0}
SAVE_EVERY = {'cpu': 240.0, 'cuda': 40.0}
#: Steps between two looks at the losses.
LOOKED_STEPS = 5
#: Training may begin when so many shards are there.
ENOUGH_SHARDS = 4
#: Shards of long scenes, and of --records: two cores that learn beside have made these in two
#: thirds of the time.
SHARDS, PICTURE_SHARDS = {'cpu': 24, 'cuda': 120}, {'cpu': 24, 'cuda': 10_000}
#: Pictures, and half as many clips, of the curve.
CURVE_PICTURES = 60


def run(together: Together, given: argparse.Namespace) -> None:
    """Train until the minutes are used up; with the state the checkpoint is written too."""
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    on_gpu = given.device == 'cuda'
    if on_gpu:
        torch.set_float32_matmul_precision('high')
    folder = checkpoint_folder(given.start, 'refer')
    start = PixelReferLite.from_checkpoint(folder, device=given.device)
    encoder = RegionEncoder(start)
    again = start.config.language.num_hidden_layers == TenseRecipe.layers
    # Once it has the words about time a checkpoint keeps its words.
    tokenizer = Tokenizer.from_folder(folder) if again else tense_tokenizer()
    recipe = recipe_of(given.minutes, given.seed, again, on_gpu)
    contract = Contract.load()
    state = torch.load(given.out / 'state.pt', map_location=given.device, weights_only=True) \
        if (given.out / 'state.pt').exists() else None
    where = ((given.shards_dir, given.shards, encoder.key, given.seed),
             (given.pictures_dir, encoder.key, given.seed))
    with Ahead(partial(StepsAhead, TenseMaker(recipe, start.config, tokenizer, contract), *where),
               state['step'] if state else 0, progress_of(recipe, state), given.loaders,
               pinned=on_gpu) if given.loaders else nullcontext() as ahead:
        model = weights_of(folder, with_words(start.config, tokenizer), tokenizer)
        model = deepened(model, recipe.layers).to(given.device)
        model.train()
        trainer = TenseTrainer(model, tokenizer, recipe, contract, together)
        if state:
            trainer.load_state(state)
            print(f'goes on at step {trainer.step}, {trainer.seconds:.0f} s', file=sys.stderr)
        together.share(trainer.model, trainer.heads)
        if together.first:
            (given.out / 'recipe.json').write_text(json.dumps(
                {**asdict(recipe), 'shards': given.shards, 'start': str(given.start),
                 'processes': together.count, 'device': device_name(trainer.model.device)},
                indent=2) + '\n')
        curve = held_out(given.out, encoder, given.curve_scenes) if together.first else None
        # Each process learns from a part of what is there, and has to find something in it.
        enough = min(max(ENOUGH_SHARDS, together.count), given.shards)
        while shards_there(given) < enough or len(
                list(given.pictures_dir.glob('seen-*.pt'))) < together.count:
            time.sleep(1)
        _loop(trainer, ahead.learned(trainer) if ahead else _here(
            trainer, pools_of(together, *where)), ahead, curve, given)


def shards_there(given: argparse.Namespace) -> int:
    """How many of the run's shards of long scenes are there: the folder may hold more."""
    return sum(shard_path(given.shards_dir, n).exists() for n in range(given.shards))


def pools_of(together: Together, long: tuple, seen: tuple) -> Refreshed:
    """What a process draws from: its own part of the long scenes and of the pictures, or each would
    hold all of them in memory. long, seen: what makes the two pools."""
    part = Part(together.rank, together.count)
    return Refreshed(LongPool(*long, part), PicturePool(*seen, part))


def _here(trainer: TenseTrainer, pools: Refreshed) -> Iterator[dict[str, Tensor]]:
    """The losses of step after step, each made when it is asked for."""
    while True:
        yield trainer.train_step(*pools.now())


@dataclass(frozen=True)
class HeldOut:
    """What the curve is measured on."""

    records: list[LongRecord]
    pictures: list[Picture]


def _loop(trainer: TenseTrainer, steps: Iterator[dict[str, Tensor]], ahead: Ahead | None,
          curve: HeldOut | None, given: argparse.Namespace) -> None:
    measured = saved = trainer.seconds
    recent: dict[str, float] = {}
    device = trainer.model.device.type
    with tqdm(total=int(trainer.recipe.minutes * 60), initial=int(trainer.seconds), unit='s',
              disable=curve is None) as bar:
        while trainer.progress < 1:
            losses = next(steps)
            # To look at a loss means to wait for the device.
            if trainer.step % LOOKED_STEPS == 0:
                for name, value in losses.items():
                    value = float(value)
                    recent[name] = 0.9 * recent.get(name, value) + 0.1 * value
            if curve is None:
                continue
            bar.update(int(trainer.seconds) - bar.n)
            bar.set_postfix_str(f'step {trainer.step} ' + (
                f'waited {ahead.waited:.0f} s ' if ahead else '') + ' '.join(
                f'{name} {value:.2f}' for name, value in recent.items()), refresh=False)
            done = trainer.progress >= 1
            if done or trainer.seconds - measured >= CURVE_EVERY[device]:
                measured = trainer.seconds
                point = {'step': trainer.step, 'seconds': round(trainer.seconds, 1),
                         'records': 2 * SCENES * shards_there(given), 'loss': recent,
                         'held_out': trainer.measure(curve.records),
                         'before': trainer.measure_pictures(curve.pictures)}
                with open(given.out / 'log.jsonl', 'a') as log:
                    log.write(json.dumps(point) + '\n')
                draw_curve(given.out / 'log.jsonl', given.out / 'tenses.png')
            if done or trainer.seconds - saved >= SAVE_EVERY[device]:
                saved = trainer.seconds
                part = given.out / 'state.part'
                torch.save(trainer.state(), part)
                part.rename(given.out / 'state.pt')
                export(trainer.model, trainer.tokenizer, given.out / 'checkpoint')


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
    parser.add_argument('--minutes', type=float, help='of training '
                        f'({TenseRecipe.minutes:.0f}, on cuda {ON_GPU["minutes"]:.0f})')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--start', default='tiny', help='checkpoint that it begins with (packaged)')
    parser.add_argument('--shards', type=int, help='5 rendered scenes each '
                        f'({SHARDS["cpu"]}, on cuda {SHARDS["cuda"]})')
    parser.add_argument('--shards-dir', type=Path, help='rendered scenes of another run')
    parser.add_argument('--no-render', action='store_true',
                        help='another process renders the shards')
    parser.add_argument('--records', type=Path, help='folder of the shards of training/refer, '
                        'whose pictures are made here')
    parser.add_argument('--picture-shards', type=int, help='the first so many of --records '
                        f'({PICTURE_SHARDS["cpu"]}, on cuda all)')
    parser.add_argument('--pictures-dir', type=Path, help='pictures of another run')
    parser.add_argument('--processes', type=int, default=2, help='of one thread each, on CPUs, at '
                        'most one for each of the shards, and of the pictures that are there')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--loaders', type=int,
                        help='processes that put steps together ahead (9 on cuda, else none)')
    parser.add_argument('--renderers', type=int, nargs=2, metavar=('SCENES', 'PICTURES'),
                        help='processes that render long scenes, and that encode pictures '
                        '(12 and 4 on cuda, else 1 and 1)')
    parser.add_argument('--curve-scenes', type=int, default=4, help='held-out, for the curve')
    given = parser.parse_args()
    # Whatever ends this process ends those that make its data.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    on_gpu = given.device == 'cuda'
    given.processes = 1 if on_gpu else given.processes
    given.shards = SHARDS[given.device] if given.shards is None else given.shards
    if given.picture_shards is None:
        given.picture_shards = PICTURE_SHARDS[given.device]
    given.loaders = (9 if on_gpu else 0) if given.loaders is None else given.loaders
    renderers, encoders = given.renderers or ((12, 4) if on_gpu else (1, 1))
    if min(renderers, encoders) < 1 or given.loaders < 0:
        parser.error('--renderers must be at least 1 each, --loaders at least 0')
    if given.loaders and given.processes > 1:
        parser.error('--loaders needs --processes 1')
    if given.minutes is not None and given.minutes <= 0 or min(
            given.shards, given.picture_shards, given.curve_scenes, given.processes) < 1:
        parser.error('--minutes must be over 0, --shards, --picture-shards, --curve-scenes and '
                     '--processes at least 1')
    if (given.records is None) == (given.pictures_dir is None):
        parser.error('one of --records and --pictures-dir is needed')
    # Training waits for the first pictures: without any shard it would for ever.
    if given.records is not None and not any(given.records.glob('shard-*.zip')):
        parser.error(f'--records {given.records}: there is no shard-*.zip of training/refer in it')
    # Each has shards and pictures of its own.
    seen = list((given.records or given.pictures_dir).glob(
        'shard-*.zip' if given.records else 'seen-*.pt'))[:given.picture_shards]
    given.loaders = min(given.loaders, given.shards, len(seen))
    given.processes = max(1, min(given.processes, given.shards, len(seen)))
    given.shards_dir = given.shards_dir or given.out / 'shards'
    pictures, given.pictures_dir = given.pictures_dir, given.pictures_dir or given.out / 'pictures'
    for folder in (given.out, given.shards_dir, given.pictures_dir):
        folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    with ExitStack() as stack:
        # A GPU is learned with by one process, which many would keep from its core.
        beside = partial(_beside, stack, ['nice', '-n', '5'] if on_gpu else [])
        made = '--start', str(given.start), '--device', given.device
        for part in range(0 if given.no_render else renderers):
            beside('training.tenses.render', '--out', str(given.shards_dir),
                   '--shards', str(given.shards), '--part', f'{part}/{renderers}', *made)
        for part in range(0 if pictures else encoders):
            beside('training.tenses.pictures', '--records', str(given.records),
                   '--out', str(given.pictures_dir), '--shards', str(given.picture_shards),
                   '--part', f'{part}/{encoders}', *made)
        run_together(given.processes, run, given)


def _beside(stack: ExitStack, before: list[str], module: str, *arguments: str) -> None:
    """Let a process run until the training ends. before: what its command begins with."""
    process = stack.enter_context(subprocess.Popen(
        [*before, sys.executable, '-m', module, *arguments]))
    stack.callback(process.terminate)


if __name__ == '__main__':
    main()
