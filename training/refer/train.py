# SPDX-License-Identifier: Apache-2.0
"""Trains the tiny PixelRefer-Lite:
`./run python training/refer/train.py --out DIR --minutes M --seed S`.

DIR gets the rendered scenes, the state (a later start with the same DIR goes on), log.jsonl,
curve.png and, in DIR/checkpoint, the checkpoint and at the end its model card. Two processes of one
thread train while another renders. With `--start CHECKPOINT` it begins with the weights of that
checkpoint: first only the heads learn, for a short while, and the steps are smaller.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from tqdm import tqdm

from pixelrefer_model.engine import checkpoint_folder
from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import EncodePolicy, PixelReferLite
from training.evaluate import PARTS, evaluate
from training.refer.card import write_card
from training.refer.curve import draw_curve
from training.refer.pool import Pool, Rendering, curve_records
from training.refer.products import low_precision_products, multiplies_bfloat16
from training.refer.scenes import Scene, make_scene
from training.refer.sizes import export, tiny_config
from training.refer.start import first_weights, weights_of
from training.refer.tokenizer import train_tokenizer
from training.refer.trainer import HEADS, Recipe, Trainer
from training.together import Together, run_together
from training.world import Contract

#: Seconds of training between two points of the curve, and between two saved states.
CURVE_EVERY, SAVE_EVERY = 480.0, 240.0
REFRESH_STEPS = 25
#: Losses that the progress bar shows.
SHOWN = ('category', 'pattern', 'motion', 'answers', 'match')
#: What a run that starts with the weights of a checkpoint does otherwise.
FROM_WEIGHTS = {'vision': 0.04, 'first': (HEADS,), 'rate': 1.2e-3}
#: Seed and number of the test scenes of the model card, as evaluate.py takes them.
CARD = 1, 60


def run(together: Together, arguments: argparse.Namespace) -> None:
    """Train until the minutes are used up; export at the end and whenever the state is saved."""
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    out: Path = arguments.out
    recipe = Recipe(minutes=arguments.minutes, seed=arguments.seed,
                    **(FROM_WEIGHTS if arguments.start else {}))
    contract = Contract.load()
    # A checkpoint keeps its words: those of the tenses are no words of this stage.
    tokenizer = Tokenizer.from_folder(arguments.start) if arguments.start else train_tokenizer()
    held_out = curve_records(arguments.curve_scenes, arguments.curve_scenes // 2) \
        if together.first else []
    pool = Pool(arguments.shards_dir, arguments.shards, arguments.seed)
    model = weights_of(arguments.start, tiny_config(tokenizer), tokenizer) if arguments.start \
        else _first_model(tokenizer, pool, contract)
    trainer = Trainer(model, tokenizer, recipe, contract, together)
    state = out / 'state.pt'
    if state.exists():
        trainer.load_state(torch.load(state, weights_only=True))
        print(f'goes on at step {trainer.step}, {trainer.seconds:.0f} s', file=sys.stderr)
    # The first weights depend on the shards that were there, which may differ by process.
    together.share(trainer.model, trainer.heads)
    products = arguments.products or ('bf16' if multiplies_bfloat16() else 'float32')
    if products == 'bf16':
        low_precision_products(trainer.model)
    if together.first:
        (out / 'recipe.json').write_text(json.dumps(
            {**asdict(recipe), 'shards': arguments.shards, 'products': products,
             'processes': together.count, 'started': arguments.start is not None}, indent=2) + '\n')
    _loop(trainer, pool, trainer.scenes(held_out, None), out)


def _first_model(tokenizer: Tokenizer, pool: Pool, contract: Contract) -> PixelReferLite:
    config, policy = tiny_config(tokenizer), EncodePolicy.robot()
    some = [make_scene(record, config, policy, contract, most=5, rng=None)
            for record in pool.singles[:150]]
    return first_weights(config, [scene for scene in some if scene is not None])


def _loop(trainer: Trainer, pool: Pool, held_out: list[Scene], out: Path) -> None:
    measured = saved = trainer.seconds
    recent: dict[str, float] = {}
    first = trainer.together.first
    with tqdm(total=int(trainer.recipe.minutes * 60), initial=int(trainer.seconds), unit='s',
              disable=not first) as bar:
        while trainer.progress < 1:
            if trainer.step % REFRESH_STEPS == 0:
                pool.refresh()
            for name, value in trainer.train_step(pool).items():
                recent[name] = 0.95 * recent.get(name, value) + 0.05 * value
            if not first:
                continue
            bar.update(int(trainer.seconds) - bar.n)
            bar.set_postfix_str(f'step {trainer.step} ' + ' '.join(
                f'{name} {recent[name]:.2f}' for name in SHOWN if name in recent), refresh=False)
            done = trainer.progress >= 1
            if done or trainer.seconds - measured >= CURVE_EVERY:
                measured = trainer.seconds
                _add_point(trainer, held_out, recent, out)
            if done or trainer.seconds - saved >= SAVE_EVERY:
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
    parser.add_argument('--minutes', type=float, default=Recipe.minutes,
                        help='minutes of training')
    parser.add_argument('--processes', type=int, default=2, help='of one thread each')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--start', type=Path, help='checkpoint whose weights it begins with')
    parser.add_argument('--shards', type=int, default=128, help='150 rendered scenes each')
    parser.add_argument('--shards-dir', type=Path, help='rendered scenes of another run')
    parser.add_argument('--no-render', action='store_true',
                        help='another process renders the shards')
    parser.add_argument('--curve-scenes', type=int, default=80,
                        help='held-out single frames for the curve, and half as many clips')
    parser.add_argument('--products', choices=('float32', 'bf16'),
                        help='precision of matrix products in linear layers (bf16 where the CPU '
                        'multiplies it)')
    arguments = parser.parse_args()
    if arguments.minutes <= 0 or arguments.shards < 1 or arguments.processes < 1:
        parser.error('--minutes must be over 0, --shards and --processes at least 1')
    arguments.shards_dir = arguments.shards_dir or arguments.out / 'shards'
    for folder in (arguments.out, arguments.shards_dir):
        folder.mkdir(parents=True, exist_ok=True)
    with Rendering(arguments.shards_dir, arguments.shards, arguments.seed,
                   start=not arguments.no_render) as rendering:
        rendering.wait()
        run_together(arguments.processes, run, arguments)
    torch.set_num_threads(1)
    checkpoint, (seed, scenes) = arguments.out / 'checkpoint', CARD
    figures = evaluate(seed, scenes, checkpoint_folder('tiny', 'tracker'), checkpoint, PARTS[1:])
    write_card(arguments.out, {part: {name: figure and asdict(figure)
                                      for name, figure in named.items()}
                               for part, named in figures.items()}, checkpoint, seed, scenes)


if __name__ == '__main__':
    main()
