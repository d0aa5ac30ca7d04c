# SPDX-License-Identifier: Apache-2.0
"""What each part of the region encoder is worth in the small world, in the manner of the paper's
tables 7 to 9, and what training in two stages is:
`./run python training/refer/ablation.py --shards-dir DIR --out docs/ablation`.

Every variant begins with the vision tower and the language model of one checkpoint and a region
encoder from nothing, and trains as many steps on the same scenes. The two orders of training begin
from nothing altogether and take as many minutes of one CPU core. Writes table.md and figures.json;
a later start with the same --out goes on with the variants that are not in it yet.
"""

import argparse
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from pixelrefer_model.engine import checkpoint_folder
from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import EncodePolicy, PixelReferConfig, PixelReferLite
from training.refer.measure import held_out_scenes, measure_refer
from training.refer.pool import Pool
from training.refer.products import low_precision_products, multiplies_bfloat16
from training.refer.scenes import make_scene
from training.refer.sizes import tiny_config, with_words
from training.refer.start import first_weights, weights_of
from training.refer.tokenizer import train_tokenizer
from training.refer.recipe import Recipe
from training.refer.trainer import Trainer
from training.world import Contract, World

SHOWN = ('category', 'small_category', 'colour', 'pattern', 'relation', 'support', 'motion',
         'count', 'caption')
#: Test scenes that the variants are measured on, as evaluate.py takes them.
SEED = 31
#: Less of everything per step than a whole training has.
SMALL = {'seed': 11, 'singles': 3, 'clips': 1, 'pairs': 6, 'asked': (2, 2), 'warm_up': 40}


@dataclass(frozen=True)
class Variant:
    """A model to train. tokens, margin: `mask_num` and `context_patches` where they differ.
    without: linear layers of the region encoder that always give zero. minutes: from nothing for so
    many of one core, instead of the common steps from a checkpoint; vision: share of the first
    stage."""

    name: str
    tokens: int | None = None
    margin: int | None = None
    without: tuple[str, ...] = ()
    minutes: float = 0.0
    vision: float = 0.25

    def config(self, config: PixelReferConfig) -> PixelReferConfig:
        """`config` with the sizes of this variant."""
        return replace(
            config, mask_num=config.mask_num if self.tokens is None else self.tokens,
            context_patches=config.context_patches if self.margin is None else self.margin)

    def cut(self, model: PixelReferLite) -> None:
        """Make the missing parts give zero for good."""
        for name in self.without:
            layer = model.model.region_encoder.get_submodule(name)
            for parameter in layer.parameters():
                parameter.data.zero_()
                parameter.requires_grad_(False)


def variants(minutes: float) -> tuple[Variant, ...]:
    """All of them, the two orders of training for so many minutes first."""
    return (
        Variant('objects first, then answers', minutes=minutes, vision=0.38),
        Variant('everything at once', minutes=minutes, vision=0.0),
        Variant('32 tokens', tokens=32), Variant('whole: 16 tokens'), Variant('8 tokens', tokens=8),
        Variant('1 token', tokens=1), Variant('without expansion of the crop', margin=0),
        Variant('without position embedding', without=('pos_linear',)),
        Variant('without local attention', without=('fusion_attention_local.out_proj',)),
        Variant('without global attention', without=('fusion_attention_global.out_proj',)))


def begin(variant: Variant, start: Path, tokenizer: Tokenizer, pool: Pool, contract: Contract
          ) -> PixelReferLite:
    """The variant's model before its training."""
    config = variant.config(tiny_config(tokenizer) if variant.minutes else with_words(
        PixelReferConfig.from_folder(start), tokenizer))
    torch.manual_seed(SMALL['seed'])
    if variant.minutes:
        some = [make_scene(record, config, EncodePolicy.robot(), contract, most=5, rng=None)
                for record in pool.singles[:150]]
        model = first_weights(config, [scene for scene in some if scene is not None])
    else:
        anew = PixelReferLite.from_config(config).model.region_encoder.state_dict()
        model = weights_of(start, config, tokenizer)
        model.model.region_encoder.load_state_dict(anew)
    variant.cut(model)
    return model


def try_variant(variant: Variant, start: Path, shards_dir: Path, shards: int, steps: int,
                scenes: int) -> dict:
    """Train and measure one; its figures, steps and minutes."""
    torch.set_num_threads(1)
    contract, tokenizer = Contract.load(), train_tokenizer()
    pool = Pool(shards_dir, shards, SMALL['seed'])
    model = begin(variant, start, tokenizer, pool, contract)
    recipe = Recipe(**SMALL, vision=variant.vision, minutes=variant.minutes or Recipe.minutes,
                    steps=0 if variant.minutes else steps,
                    rate=Recipe.rate if variant.minutes else 1.2e-3)
    trainer = Trainer(model, tokenizer, recipe, contract, clock=time.process_time)
    if multiplies_bfloat16():
        low_precision_products(model)
    while trainer.progress < 1:
        trainer.train_step(pool)
    for module in model.modules():
        module.__dict__.pop('forward', None)  # measured in float32
    model.eval()
    model.tokenizer, model.generation = tokenizer, {}
    with World(contract) as world:
        made = held_out_scenes(world, SEED, scenes, every_frame=False)
        figures = measure_refer(model, made, None).true.figures()
    print(f'{variant.name}: {trainer.step} steps, {trainer.seconds / 60:.1f} min',
          *(f'{name} {figures[name].value:.3f}' for name in SHOWN if figures[name]),
          file=sys.stderr, flush=True)
    return {'name': variant.name, 'steps': trainer.step, 'minutes': trainer.seconds / 60,
            'figures': {name: figures[name] and asdict(figures[name]) for name in SHOWN}}


def table(results: list[dict]) -> str:
    """The results as Markdown, each figure with half the width of its interval."""
    lines = ['| variant | steps | ' + ' | '.join(name.replace('_', ' ') for name in SHOWN) + ' |',
             '|---' * (len(SHOWN) + 2) + '|']
    for one in results:
        cells = ['-' if (f := one['figures'][name]) is None else
                 f'{100 * f["value"]:.1f} ± {50 * (f["high"] - f["low"]):.1f}' for name in SHOWN]
        lines.append(f'| {one["name"]} | {one["steps"]} | ' + ' | '.join(cells) + ' |')
    counts = ', '.join(f'{name.replace("_", " ")} {f["n"]}' for name in SHOWN
                       if (f := results[0]['figures'][name]))
    return '\n'.join(lines) + f'\n\nPer cent right and half of the 95 % interval; n: {counts}.\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, required=True, help='folder for the table')
    parser.add_argument('--shards-dir', type=Path, required=True, help='rendered scenes of a run')
    parser.add_argument('--shards', type=int, default=60)
    parser.add_argument('--start', default='tiny', help='checkpoint (default: packaged)')
    parser.add_argument('--steps', type=int, default=200)
    parser.add_argument('--minutes', type=float, default=8.0, help='of the two orders of training')
    parser.add_argument('--scenes', type=int, default=100)
    parser.add_argument('--processes', type=int, default=2, help='of one CPU thread each')
    given = parser.parse_args()
    start, file = checkpoint_folder(given.start, 'refer'), given.out / 'figures.json'
    given.out.mkdir(parents=True, exist_ok=True)
    done = {one['name']: one for one in json.loads(file.read_text())} if file.exists() else {}
    every = variants(given.minutes)
    with ProcessPoolExecutor(given.processes, multiprocessing.get_context('spawn')) as executor:
        for job in as_completed([
                executor.submit(try_variant, variant, start, given.shards_dir, given.shards,
                                given.steps, given.scenes)
                for variant in every if variant.name not in done]):
            done[job.result()['name']] = job.result()
            results = [done[v.name] for v in every if v.name in done]
            file.write_text(json.dumps(results, indent=1) + '\n')
    orders = [done[v.name] for v in every if v.minutes]
    parts = [done[v.name] for v in every if not v.minutes]
    (given.out / 'table.md').write_text(table(parts) + '\n' + table(orders))


if __name__ == '__main__':
    main()
