# SPDX-License-Identifier: Apache-2.0
"""What weights in 8 and 4 bits cost in right answers, on held-out scenes of the small world.

    ./run python benchmarks/quantization.py --seed 4 --scenes 200

Needs torchao (the extra `quantization`) and MuJoCo (the extra `train`). The object tokens are made
once, with the true masks: the encoders are not quantized. Prints a table, and writes it with --out.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from tqdm import tqdm

from benchmarks.figures import ran_on
from pixelrefer_model.engine import checkpoint_folder
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language import LanguageModel
from pixelrefer_model.language.quantize import Quantization, quantize
from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder
from training.refer.measure import Score, held_out_scenes, score_scene, tokens_of, true_masks
from training.world import Contract, World


def scores(refer: Path, seed: int, scenes: int, kinds: Iterable[Quantization]
           ) -> dict[Quantization, tuple[Score, int]]:
    """For each way to store the weights: the answers to the same questions, and the bytes of the
    decoder layers. Raises PixelReferError CHECKPOINT or UNSUPPORTED."""
    kinds = list(kinds)
    models = {kind: PixelReferLite.from_checkpoint(refer) for kind in kinds}
    for kind, model in models.items():
        quantize(model, kind)
    encoder = RegionEncoder(models[kinds[0]])
    made = {kind: Score() for kind in kinds}
    languages = {kind: LanguageModel(model) for kind, model in models.items()}
    with World(Contract.load()) as world:
        for scene in tqdm(held_out_scenes(world, seed, scenes, every_frame=False), total=scenes):
            tokens = tokens_of(scene, true_masks(scene), encoder)
            for kind, language in languages.items():
                score_scene(scene, tokens, language, made[kind])
    return {kind: (made[kind], stored_bytes(models[kind].model.layers)) for kind in kinds}


def stored_bytes(module: torch.nn.Module) -> int:
    """Bytes of a module's parameters; of quantized ones those of what they are made of."""
    def parts(tensor: torch.Tensor) -> Iterable[torch.Tensor]:
        if type(tensor) in (torch.Tensor, torch.nn.Parameter) and not hasattr(tensor, 'qdata'):
            yield tensor
        else:
            for name in tensor.__tensor_flatten__()[0]:
                yield from parts(getattr(tensor, name))
    return sum(part.element_size() * part.nelement()
               for parameter in module.parameters() for part in parts(parameter))


def table(found: dict[Quantization, tuple[Score, int]]) -> str:
    """Right answers, their difference to the first way, equal texts, bytes."""
    (first, _), *_ = found.values()
    lines = ['| weights | questions | right | difference | same text | decoder layers, MB |',
             '|---|---|---|---|---|---|']
    base = _right(first)
    for kind, (score, size) in found.items():
        same = sum(a.text == b.text for a, b in zip(score.answers, first.answers, strict=True))
        lines.append(f'| {kind} | {len(score.answers)} | {_right(score):.4f} | '
                     f'{_right(score) - base:+.4f} | {same / len(score.answers):.4f} | '
                     f'{size / 1e6:.2f} |')
    return '\n'.join(lines)


def _right(score: Score) -> float:
    return sum(answer.good for answer in score.answers) / len(score.answers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; exit status 2 where it cannot be made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--refer', default='tiny', help='checkpoint (default: packaged)')
    parser.add_argument('--seed', type=int, default=4, help='which held-out scenes')
    parser.add_argument('--scenes', type=int, default=200, help='how many')
    parser.add_argument('--out', type=Path, help='write the table to this file as well')
    options = parser.parse_args(arguments)
    try:
        found = scores(checkpoint_folder(options.refer, 'refer'), options.seed, options.scenes,
                       get_args(Quantization))
    except PixelReferError as error:
        print(f'quantization.py: {error.message}', file=sys.stderr)
        return 2
    text = (f'# Right answers by weights\n\n`./run python benchmarks/quantization.py --seed '
            f'{options.seed} --scenes {options.scenes}`, checkpoint {options.refer}, on '
            f'{ran_on("torchao")}\n\n{table(found)}\n')
    print(text)
    if options.out:
        options.out.write_text(text, encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
