# SPDX-License-Identifier: Apache-2.0
"""Time to answers, against the plain baseline on the same weights, interleaved in one run.

    ./run python benchmarks/answers.py

Writes benchmarks/answers.md and benchmarks/answers.png. The model is fixed and random: vision 768
wide, 12 layers, 12 heads; language 768 wide, 12 layers, 12 heads and 2 of keys and values,
vocabulary 32,000; inner layers 4 times as wide. Objects are 80 px a side, 32 tokens each, in
images of 640x480; bfloat16 where the processor has instructions for it, float32 elsewhere.
`--small` is for trying it out: its figures mean nothing.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.figures import TABLE, Curve, Ratio, draw, has_bfloat16, ran_on
from benchmarks.plain import PlainModel
from pixelrefer_model.engine import TINY
from pixelrefer_model.language import (
    Eager, Evidence, KeepPrefixes, LanguageModel, RenderedPrompt, Tokenizer, compose)
from pixelrefer_model.language.graphs import Steps
from pixelrefer_model.pixelrefer import (
    LanguageConfig, PixelReferConfig, PixelReferLite, RegionEncoder, VisionConfig)

SIDE = 80
DESCRIBE, FIRST, SECOND = ('Please describe <object1> in brief.', 'Which one is the largest?',
                           'Which of them can be lifted?')


@dataclass(frozen=True)
class Sizes:
    """What is measured. width, layers: of both models. tokens: of an answer. frames: remembered
    for the question about many. objects, history, images: points of the curves; plain_frames:
    most frames that the baseline encodes for its curve. repeats: of everything."""

    width: int = 768
    layers: int = 12
    heads: int = 12
    count: int = 5
    tokens: int = 40
    frames: int = 20
    objects: tuple[int, ...] = (1, 2, 4, 8, 16)
    history: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    images: tuple[tuple[int, int], ...] = ((320, 240), (640, 480), (1280, 720), (1920, 1080))
    plain_frames: int = 16
    repeats: int = 5


SMALL = Sizes(96, 1, 4, 2, 3, 2, (1, 2), (1, 2), ((320, 240), (640, 480)), 2, 2)


def build(sizes: Sizes) -> tuple[PixelReferLite, Tokenizer]:
    """The fixed model with random weights, and the packaged tokenizer."""
    tokenizer = Tokenizer.from_folder(TINY['refer'])
    config = PixelReferConfig(
        vision=VisionConfig(sizes.width, 4 * sizes.width, sizes.layers, sizes.heads),
        language=LanguageConfig(
            vocab_size=32000, hidden_size=sizes.width, intermediate_size=4 * sizes.width,
            num_hidden_layers=sizes.layers, num_attention_heads=sizes.heads,
            num_key_value_heads=2, bos_token_id=None, eos_token_id=None),
        region_token_index=tokenizer.region_id)
    torch.manual_seed(0)
    model = PixelReferLite(config).eval()
    return model.to(torch.bfloat16 if has_bfloat16() else torch.float32), tokenizer


def scene(count: int, width: int = 640, height: int = 480, seed: int = 0
          ) -> tuple[np.ndarray, list[np.ndarray]]:
    """A noisy image and the masks of `count` (at most 16) square objects in it."""
    image = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    masks = []
    for place in range(count):
        left = (place % 4) * (width - SIDE) // 4
        top = (place // 4) * (height - SIDE) // 4
        masks.append(np.zeros((height, width), bool))
        masks[-1][top:top + SIDE, left:left + SIDE] = True
    return image, masks


def about(question: str, tokens: Tensor, timed: bool = False) -> RenderedPrompt:
    """A prompt about one object at n moments, or n objects at one: tokens [n, K, D]."""
    if timed:
        return compose(question, [Evidence('it', tokens, [0.5 * n for n in range(len(tokens))])])
    return compose(question, [Evidence(str(n), one[None]) for n, one in enumerate(tokens)])


@dataclass(frozen=True)
class Run:
    """When things were there, in seconds from the start: all first tokens, all tokens but those,
    all of it."""

    first: float
    decoding: float
    whole: float


class Answers:
    """Both models on the same weights; those of `build`, unless a model is given."""

    def __init__(self, sizes: Sizes, given: tuple[PixelReferLite, Tokenizer] | None = None) -> None:
        self.sizes = sizes
        self.model, self.tokenizer = given or build(sizes)
        self.encoder = RegionEncoder(self.model)
        self.plain = PlainModel(self.model, self.tokenizer)

    def language(self, keep: bool = False, steps: Steps = Eager()) -> LanguageModel:
        """A language model that never ends by itself, so that answers are equally long."""
        language = LanguageModel(self.model, self.tokenizer, {}, steps=steps,
                                 prefixes=KeepPrefixes() if keep else KeepPrefixes(0))
        language.ends = frozenset()
        return language

    def encoded(self, frames: int) -> Tensor:
        """Object tokens [frames, K, D] of one object in as many frames, each encoded anew."""
        made = [self.encoder.encode(*scene(1, seed=n)) for n in range(frames)]
        return torch.cat(made)

    def describe(self, count: int, tokens: int, width: int = 640, height: int = 480) -> Run:
        """Ours: encode and describe objects of one image, as one batch."""
        image, masks = scene(count, width, height)
        language, start = self.language(), time.perf_counter()
        seen = self.encoder.encode(image, masks)
        first = 0.0
        for number, _ in enumerate(language.generate(
                [about(DESCRIBE, one[None]) for one in seen], max_new_tokens=tokens)):
            if number == count - 1:
                first = time.perf_counter()
        end = time.perf_counter()
        return Run(first - start, end - first, end - start)

    def describe_plainly(self, count: int, tokens: int, width: int = 640, height: int = 480
                         ) -> Run:
        """The baseline: one object after the other."""
        image, masks = scene(count, width, height)
        first = decoding = 0.0
        start = time.perf_counter()
        for mask in masks:
            begin = time.perf_counter()
            seen = self.plain.encode(image, mask)
            answer = self.plain.answer(about(DESCRIBE, seen).text, list(seen), tokens)
            first += answer.first - begin
            decoding += answer.last - answer.first
        return Run(first, decoding, time.perf_counter() - start)

    def first_token(self, language: LanguageModel, prompt: RenderedPrompt) -> float:
        """Ours: seconds to the first token of a question about what is remembered."""
        calls, start = self.encoder.calls, time.perf_counter()
        next(language.generate([prompt], max_new_tokens=self.sizes.tokens))
        seconds = time.perf_counter() - start
        if self.encoder.calls != calls:
            raise AssertionError('a question about what is remembered has called the vision tower')
        return seconds

    def first_token_plainly(self, images: Sequence[tuple[np.ndarray, list[np.ndarray]]],
                            timed: bool) -> float:
        """The baseline: encode every region again, then one prompt."""
        start = time.perf_counter()
        seen = [self.plain.encode(image, mask) for image, masks in images for mask in masks]
        prompt = about(SECOND, torch.cat(seen), timed)
        return self.plain.answer(prompt.text, [one[0] for one in seen], 1).first - start


def descriptions(bench: Answers) -> list[Ratio]:
    """One image, several objects described: first tokens, decoding, whole."""
    sizes = bench.sizes
    ours, plain = in_turn(sizes.repeats, lambda: bench.describe(sizes.count, sizes.tokens),
                          lambda: bench.describe_plainly(sizes.count, sizes.tokens))
    what = f'{sizes.count} objects of an image, {sizes.tokens} tokens each'
    return [Ratio(f'{what}: {name}', [getattr(r, part) for r in ours],
                  [getattr(r, part) for r in plain], target)
            for name, part, target in (('time to all first tokens', 'first', 0.6),
                                       ('decoding of all', 'decoding', 0.4),
                                       ('whole', 'whole', 0.5))]


def second_question(bench: Answers) -> list[Ratio]:
    """Another question about objects that are encoded already, without and with their prefix."""
    image, masks = scene(bench.sizes.count)
    seen = bench.encoder.encode(image, masks)

    def kept() -> float:
        language = bench.language(keep=True)
        bench.first_token(language, about(FIRST, seen))
        return bench.first_token(language, about(SECOND, seen))

    bare, keeping, plain = in_turn(
        bench.sizes.repeats, lambda: bench.first_token(bench.language(), about(SECOND, seen)), kept,
        lambda: bench.first_token_plainly([(image, masks)], False))
    what = f'second question about the same {bench.sizes.count} objects, time to first token'
    return [Ratio(what, bare, plain, 0.2), Ratio(f'{what}, prefix kept', keeping, plain, 0.1)]


def history(bench: Answers) -> list[Ratio]:
    """A question over many remembered frames of one object."""
    frames = bench.sizes.frames
    seen, images = bench.encoded(frames), [scene(1, seed=n) for n in range(frames)]

    def anew() -> float:
        start = time.perf_counter()
        prompt = about(SECOND, bench.encoded(frames), True)
        return time.perf_counter() - start + bench.first_token(bench.language(), prompt)

    ours, again, plain = in_turn(
        bench.sizes.repeats,
        lambda: bench.first_token(bench.language(), about(SECOND, seen, True)), anew,
        lambda: bench.first_token_plainly(images, True))
    what = f'question over {frames} remembered frames of an object, time to first token'
    return [Ratio(f'{what}, against encoding them anew', ours, plain, 0.1),
            Ratio(f'{what}, against encoding them anew by ours (in the column of plain)', ours,
                  again, None)]


def curves(bench: Answers) -> list[Curve]:
    """Cost by the number of objects, of frames, and by the size of the image."""
    sizes = bench.sizes
    objects = Curve('objects of an image: all first tokens', 'object')
    for count in tqdm(sizes.objects, 'objects'):
        ours, plain = in_turn(sizes.repeats, lambda: bench.describe(count, 1).first,
                              lambda: bench.describe_plainly(count, 1).first)
        objects.add('ours', count, statistics.median(ours))
        objects.add('plain', count, statistics.median(plain))
    frames = Curve('frames of an object: first token', 'frame')
    seen = bench.encoded(max(sizes.history))
    for count in tqdm(sizes.history, 'frames'):
        frames.add('ours, remembered', count, statistics.median(
            bench.first_token(bench.language(), about(SECOND, seen[:count], True))
            for _ in range(sizes.repeats)))
        if count <= sizes.plain_frames:
            frames.add('plain, encoded anew', count, bench.first_token_plainly(
                [scene(1, seed=n) for n in range(count)], True))
    images = Curve('size of the image: first token of one object', 'megapixel')
    for width, height in tqdm(sizes.images, 'images'):
        ours, plain = in_turn(sizes.repeats, lambda: bench.describe(1, 1, width, height).first,
                              lambda: bench.describe_plainly(1, 1, width, height).first)
        images.add('ours', width * height / 1e6, statistics.median(ours))
        images.add('plain', width * height / 1e6, statistics.median(plain))
    return [objects, frames, images]


def in_turn(repeats: int, *ways: Callable) -> list[list]:
    """Results of each way, run in turn so that what slows the machine slows all of them. A first
    round is thrown away."""
    rounds = [[way() for way in ways] for _ in range(repeats + 1)][1:]
    return [list(results) for results in zip(*rounds, strict=True)]


def report(bench: Answers, ratios: Sequence[Ratio], made: Sequence[Curve], picture: str) -> str:
    """The committed table."""
    sizes, dtype = bench.sizes, str(bench.model.dtype).removeprefix('torch.')
    return '\n'.join([
        '# Time to answers', '', f'`./run python benchmarks/answers.py`, on {ran_on()}', '',
        f'Random weights in {dtype}: vision and language {sizes.width} wide, {sizes.layers} '
        f'layers, {sizes.heads} heads (2 of keys and values in language), inner layers 4 times as '
        f'wide, vocabulary 32,000; objects {SIDE} px a side in 640x480; median of {sizes.repeats} '
        'runs in turn. Plain: `benchmarks/plain.py`. No question about what is remembered called '
        'the vision tower (counted).', '',
        *TABLE, *(ratio.row for ratio in ratios), '',
        'On a CUDA GPU: [gpu.md](gpu.md), with other sizes.', '',
        *([f'![cost as it grows]({picture})', ''] if made else []),
        *(f'- {words}' for curve in made for words in curve.words), ''])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and print; exit status 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path(__file__).parent / 'answers.md')
    parser.add_argument('--small', action='store_true', help='tiny sizes, to try the command')
    parser.add_argument('--no-curves', action='store_true', help='the ratios alone')
    options = parser.parse_args(arguments)
    bench = Answers(SMALL if options.small else Sizes())
    ratios = [ratio for part in tqdm((descriptions, second_question, history), 'ratios')
              for ratio in part(bench)]
    made, picture = [] if options.no_curves else curves(bench), options.out.with_suffix('.png')
    if made:
        draw(made, picture)
    text = report(bench, ratios, made, picture.name)
    options.out.write_text(text, encoding='utf-8')
    print(text)
    return int(any(r.target is not None and r.value > r.target for r in ratios))


if __name__ == '__main__':
    sys.exit(main())
