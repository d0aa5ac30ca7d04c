# SPDX-License-Identifier: Apache-2.0
"""Trains the tiny PixelRefer-Lite:
`./run python training/refer/train.py --out DIR --minutes M --seed S`.

DIR gets the rendered scenes, the state (a later start with the same DIR goes on), log.jsonl,
curve.png and, in DIR/checkpoint, the checkpoint and at the end its model card. Two processes of one
thread train while another renders. With `--start CHECKPOINT` it begins with the weights of that
checkpoint: first only the heads learn, for a short while, and the steps are smaller. With `--device
cuda` one process trains on a GPU, in steps of many more scenes, which `--loaders` processes prepare
ahead while `--renderers` draw more with the same GPU; from nothing it has a larger vision tower.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor
from tqdm import tqdm

from pixelrefer_model.engine import checkpoint_folder
from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import EncodePolicy, PixelReferConfig, PixelReferLite
from training.ahead import Ahead, Part, Refreshed, device_name
from training.evaluate import PARTS, evaluate
from training.refer.card import write_card
from training.refer.curve import draw_curve
from training.refer.pool import Pool, Rendering, curve_records
from training.refer.products import LowSdpa, low_precision_products, multiplies_bfloat16
from training.refer.recipe import ON_GPU, Recipe, progress_of, recipe_of
from training.refer.scenes import Scene, make_scene
from training.refer.sizes import TOWERS, export, tiny_config
from training.refer.start import first_weights, started_config, weights_of
from training.refer.step import StepMaker, StepsAhead
from training.refer.tokenizer import train_tokenizer
from training.refer.trainer import Trainer
from training.together import Together, run_together
from training.world import Contract

#: Seconds of training between two points of the curve, and between two saved states.
CURVE_EVERY = {'cpu': 480.0, 'cuda': 120.0}
SAVE_EVERY = {'cpu': 240.0, 'cuda': 40.0}
#: Steps between two looks at the losses.
LOOKED_STEPS = 5
#: Losses that the progress bar shows.
SHOWN = ('category', 'pattern', 'motion', 'answers', 'match')
#: Seed and number of the test scenes of the model card, as evaluate.py takes them.
CARD = 1, 60


def run(together: Together, arguments: argparse.Namespace,
        wait: Callable[[], None] = lambda: None) -> None:
    """Train until the minutes are used up; export at the end and whenever the state is saved.
    wait: until there are records, while the processes that prepare steps begin."""
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    out: Path = arguments.out
    on_gpu = arguments.device == 'cuda'
    if on_gpu:
        torch.set_float32_matmul_precision('high')
    recipe = recipe_of(arguments.minutes, arguments.seed, arguments.start is not None, on_gpu,
                       arguments.keep_language)
    contract = Contract.load()
    # A checkpoint keeps its sizes, and its words: those of the tenses are no words of this stage.
    tokenizer = Tokenizer.from_folder(arguments.start) if arguments.start else train_tokenizer()
    config = started_config(arguments.start) if arguments.start else tiny_config(
        tokenizer, TOWERS[arguments.device])
    state = torch.load(out / 'state.pt', map_location=arguments.device, weights_only=True) \
        if (out / 'state.pt').exists() else None
    with Ahead(partial(StepsAhead, StepMaker(recipe, config, tokenizer, contract),
                       arguments.shards_dir, arguments.shards),
               state['step'] if state else 0, progress_of(recipe, state), arguments.loaders,
               pinned=on_gpu) if arguments.loaders else nullcontext() as ahead:
        wait()
        held_out = curve_records(arguments.curve_scenes, arguments.curve_scenes // 2) \
            if together.first else []
        pools = pools_of(together, arguments)
        model = weights_of(arguments.start, config, tokenizer) if arguments.start \
            else _first_model(config, *pools.now(), contract)
        trainer = Trainer(model.to(arguments.device), tokenizer, recipe, contract, together)
        if state:
            trainer.load_state(state)
            print(f'goes on at step {trainer.step}, {trainer.seconds:.0f} s', file=sys.stderr)
        # The first weights depend on the shards that were there, which may differ by process.
        together.share(trainer.model, trainer.heads)
        products = 'tf32' if on_gpu else arguments.products or (
            'bf16' if multiplies_bfloat16() else 'float32')
        if products == 'bf16':
            low_precision_products(trainer.model)
        elif on_gpu:
            trainer.model.tower.attention = LowSdpa()
        if together.first:
            (out / 'recipe.json').write_text(json.dumps(
                {**asdict(recipe), 'shards': arguments.shards, 'products': products,
                 'processes': together.count, 'device': device_name(trainer.model.device),
                 'started': arguments.start is not None}, indent=2) + '\n')
        _loop(trainer, ahead.learned(trainer) if ahead else _here(trainer, pools), ahead,
              trainer.maker.scenes(held_out, None), out)


def pools_of(together: Together, arguments: argparse.Namespace) -> Refreshed:
    """What a process draws from: its own part, or each would hold all records in memory."""
    return Refreshed(Pool(arguments.shards_dir, arguments.shards, arguments.seed,
                          Part(together.rank, together.count)))


def _here(trainer: Trainer, pools: Refreshed) -> Iterator[dict[str, Tensor]]:
    """The losses of step after step, each made when it is asked for."""
    while True:
        yield trainer.train_step(*pools.now())


def _first_model(config: PixelReferConfig, pool: Pool, contract: Contract) -> PixelReferLite:
    policy = EncodePolicy.robot()
    some = [make_scene(record, config, policy, contract, most=5, rng=None)
            for record in pool.singles[:150]]
    return first_weights(config, [scene for scene in some if scene is not None])


def _loop(trainer: Trainer, steps: Iterator[dict[str, Tensor]], ahead: Ahead | None,
          held_out: list[Scene], out: Path) -> None:
    measured = saved = trainer.seconds
    recent: dict[str, float] = {}
    first = trainer.together.first
    device = trainer.model.device.type
    with tqdm(total=int(trainer.recipe.minutes * 60), initial=int(trainer.seconds), unit='s',
              disable=not first) as bar:
        while trainer.progress < 1:
            losses = next(steps)
            # To look at a loss means to wait for the device.
            if trainer.step % LOOKED_STEPS == 0:
                for name, value in losses.items():
                    value = float(value)
                    recent[name] = 0.9 * recent.get(name, value) + 0.1 * value
            if not first:
                continue
            bar.update(int(trainer.seconds) - bar.n)
            bar.set_postfix_str(f'step {trainer.step} ' + (
                f'waited {ahead.waited:.0f} s ' if ahead else '') + ' '.join(
                f'{name} {recent[name]:.2f}' for name in SHOWN if name in recent), refresh=False)
            done = trainer.progress >= 1
            if done or trainer.seconds - measured >= CURVE_EVERY[device]:
                measured = trainer.seconds
                _add_point(trainer, held_out, recent, out)
            if done or trainer.seconds - saved >= SAVE_EVERY[device]:
                saved = trainer.seconds
                _save(trainer, out)


def _add_point(trainer: Trainer, held_out: list[Scene], recent: dict[str, float],
               out: Path) -> None:
    point = {'step': trainer.step, 'seconds': round(trainer.seconds, 1),
             'regions': trainer.regions, 'stage': 1 + trainer.speaking,
             'loss': {name: round(value, 4) for name, value in recent.items()},
             'held_out': {name: round(value, 4)
                          for name, value in trainer.measure(held_out).items()}}
    with open(out / 'log.jsonl', 'a') as log:
        log.write(json.dumps(point) + '\n')
    draw_curve(out / 'log.jsonl', out / 'curve.png')


def _save(trainer: Trainer, out: Path) -> None:
    part = out / 'state.part'
    torch.save(trainer.state(), part)
    part.rename(out / 'state.pt')
    export(trainer.model, trainer.tokenizer, out / 'checkpoint')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, required=True, help='folder of the run')
    parser.add_argument('--minutes', type=float, help='of training '
                        f'({Recipe.minutes:.0f}, on cuda {ON_GPU["minutes"]:.0f})')
    parser.add_argument('--processes', type=int, default=2,
                        help='of one thread each, on CPUs, at most one for each of the shards')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--start', type=Path, help='checkpoint whose weights it begins with')
    parser.add_argument('--keep-language', action='store_true', help='with --start: its language '
                        'model stays as it is, so that what the tenses taught it is kept')
    parser.add_argument('--shards', type=int, default=96, help='150 rendered scenes each')
    parser.add_argument('--shards-dir', type=Path, help='rendered scenes of another run')
    parser.add_argument('--no-render', action='store_true',
                        help='another process renders the shards')
    parser.add_argument('--curve-scenes', type=int, default=80,
                        help='held-out single frames for the curve, and half as many clips')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--loaders', type=int,
                        help='processes that prepare steps ahead (11 on cuda, else none)')
    parser.add_argument('--renderers', type=int, help='processes that render (12 on cuda, else 1)')
    parser.add_argument('--no-card', action='store_true', help='measure nothing at the end')
    parser.add_argument('--products', choices=('float32', 'bf16'),
                        help='precision of matrix products in linear layers on CPUs (bf16 where '
                        'they multiply it)')
    arguments = parser.parse_args()
    # Whatever ends this process ends those that render for it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    on_gpu = arguments.device == 'cuda'
    arguments.processes = 1 if on_gpu else arguments.processes
    arguments.loaders = (11 if on_gpu else 0) if arguments.loaders is None else arguments.loaders
    renderers = (12 if on_gpu else 1) if arguments.renderers is None else arguments.renderers
    if renderers < 1 or arguments.loaders < 0:
        parser.error('--renderers must be at least 1, --loaders at least 0')
    if arguments.minutes is not None and arguments.minutes <= 0 or arguments.shards < 1 \
            or arguments.processes < 1:
        parser.error('--minutes must be over 0, --shards and --processes at least 1')
    if arguments.keep_language and arguments.start is None:
        parser.error('--keep-language needs --start')
    if arguments.loaders and arguments.processes > 1:
        parser.error('--loaders needs --processes 1')
    # Each has shards of its own.
    arguments.loaders = min(arguments.loaders, arguments.shards)
    arguments.processes = min(arguments.processes, arguments.shards)
    arguments.shards_dir = arguments.shards_dir or arguments.out / 'shards'
    for folder in (arguments.out, arguments.shards_dir):
        folder.mkdir(parents=True, exist_ok=True)
    with Rendering(arguments.shards_dir, arguments.shards, arguments.seed,
                   0 if arguments.no_render else renderers) as rendering:
        if arguments.processes == 1:
            run(Together(), arguments, rendering.wait)
        else:
            rendering.wait()
            run_together(arguments.processes, run, arguments)
    if arguments.no_card:
        return
    torch.set_num_threads(1)
    checkpoint, (seed, scenes) = arguments.out / 'checkpoint', CARD
    figures = evaluate(seed, scenes, checkpoint_folder('tiny', 'tracker'), checkpoint, PARTS[1:])
    write_card(arguments.out, {part: {name: figure and asdict(figure)
                                      for name, figure in named.items()}
                               for part, named in figures.items()}, checkpoint, seed, scenes)


if __name__ == '__main__':
    main()
