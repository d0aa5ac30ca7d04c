# SPDX-License-Identifier: Apache-2.0
"""Parts of benchmarks/gpu.py about answers: loading, object tokens, decoding, the first token.

A checkpoint of random weights in bfloat16, in the released layout and the shape of
PixelRefer-Lite-2B, which benchmarks/load_memory.py writes.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import answers
from benchmarks.answers import DESCRIBE, SECOND, SIDE, Answers, about, in_turn, scene
from benchmarks.figures import TABLE, Ratio, clock, forget_peak, in_ms, peak_mb
from benchmarks.load_memory import resident
from pixelrefer_model.language import (
    CudaGraphs, Eager, LanguageModel, RenderedPrompt, Tokenizer, collect)
from pixelrefer_model.pixelrefer import PixelReferLite


@dataclass(frozen=True)
class Plan:
    """What is measured. rows: objects that are encoded, and prompts that are decoded, at once;
    history: remembered frames of an object; tokens: of an answer; repeats: of everything."""

    rows: tuple[int, ...] = (1, 8)
    history: tuple[int, ...] = (1, 16)
    tokens: int = 40
    repeats: int = 5


SMALL = Plan((1, 2), (1, 2), 3, 1)


def load(device: str, small: bool, folder: Path) -> list[str]:
    """Time and memory of loading the checkpoint, which was written just before."""
    if device.startswith('cuda'):
        torch.zeros(1, device=device)  # the driver's context is no part of it
    before, start = resident('VmRSS'), clock(device)
    forget_peak(device)
    model = PixelReferLite.from_checkpoint(folder, device=device, dtype=torch.bfloat16)
    seconds = clock(device) - start
    weights = sum(p.nbytes for p in {id(p): p for p in model.parameters()}.values())
    return ['## Loading', '',
            f'{weights / 1e9:.2f} GB of weights in {seconds:.2f} s, once, files in the page cache. '
            f'Resident memory of the process {before / 1e9:.2f} GB before, '
            f'{resident("VmRSS") / 1e9:.2f} GB after, {resident("VmHWM") / 1e9:.2f} GB at most; '
            f'the device at its peak, MB: {peak_mb(device)}.']


def spans(language: LanguageModel, prompts: Sequence[RenderedPrompt], tokens: int
          ) -> tuple[float, float]:
    """Seconds to the first token of all prompts, and for each step after it."""
    start, first = time.perf_counter(), 0.0
    for number, _ in enumerate(language.generate(prompts, max_new_tokens=tokens)):
        if number == len(prompts) - 1:
            first = time.perf_counter()
    return first - start, (time.perf_counter() - first) / (tokens - 1)


class Questions:
    """The models, and the object tokens that prompts are about."""

    def __init__(self, device: str, small: bool, folder: Path) -> None:
        self.device, self.plan = device, SMALL if small else Plan()
        model = PixelReferLite.from_checkpoint(folder, device=device, dtype=torch.bfloat16)
        sizes = answers.SMALL if small else answers.Sizes()
        self.bench = Answers(sizes, (model, Tokenizer.from_folder(folder)))
        self.image, self.masks = scene(max(self.plan.rows))
        self.seen = self.bench.encoder.encode(self.image, self.masks)

    def object_tokens(self) -> list[str]:
        """Encoding objects of an image, at once and one after the other."""
        def timed(act) -> float:
            start = clock(self.device)
            act()
            return clock(self.device) - start

        lines = ['## Object tokens', '', *TABLE]
        for count in self.plan.rows:
            masks = self.masks[:count]
            ours, plain = in_turn(
                self.plan.repeats,
                lambda: timed(lambda: self.bench.encoder.encode(self.image, masks)),
                lambda: timed(lambda: [self.bench.plain.encode(self.image, m) for m in masks]))
            lines.append(Ratio(f'{count} object(s) of an image', ours, plain, None).row)
        return lines

    def decoding(self) -> list[str]:
        """Steps as they are and captured. The first answer is told apart: each length of its keys
        is new to the libraries then."""
        lines = ['## Decoding', '', f'{self.plan.tokens} tokens a row; {self.plan.repeats} answers '
                 'after the first, median (least to most). Peak: of the process, weights included.',
                 '', '| rows | steps | ms a step, first answer | ms a step, afterwards | tokens a '
                 'second | peak, MB |', '|---' * 6 + '|']
        for count in self.plan.rows:
            for name, steps in (('eager', Eager()), ('CUDA graphs', CudaGraphs())):
                language, prompts = self.bench.language(steps=steps), self._prompts(count)
                forget_peak(self.device)
                first, *took = (spans(language, prompts, self.plan.tokens)[1]
                                for _ in range(self.plan.repeats + 1))
                rate = count * len(took) / sum(took)
                lines.append(f'| {count} | {name} | {1e3 * first:.2f} | {in_ms(took)} | {rate:.0f} '
                             f'| {peak_mb(self.device)} |')
        told = [[one.token_ids for one in collect(
            self.bench.language(steps=steps).generate(
                self._prompts(count), max_new_tokens=self.plan.tokens), count)]
            for steps in (Eager(), CudaGraphs())]
        same = sum(a == b for one, other in zip(*told) for a, b in zip(one, other))
        return [*lines, '', f'Of {sum(map(len, told[0]))} tokens of {count} rows {same} are equal '
                'both ways.']

    def first_tokens(self) -> list[str]:
        """A question about what is remembered, against encoding every frame anew."""
        lines = ['## First token of a question about what is remembered', '', *TABLE]
        for frames in self.plan.history:
            seen, images = self.bench.encoded(frames), [scene(1, seed=n) for n in range(frames)]
            prompt = about(SECOND, seen, timed=True)
            ours, plain = in_turn(
                self.plan.repeats, lambda: self.bench.first_token(self.bench.language(), prompt),
                lambda: self.bench.first_token_plainly(images, timed=True))
            lines.append(Ratio(f'{frames} frame(s) of an object', ours, plain, None).row)
        return lines

    def _prompts(self, count: int) -> list[RenderedPrompt]:
        return [about(DESCRIBE, one[None]) for one in self.seen[:count]]


def asked(device: str, small: bool, folder: Path) -> list[str]:
    """All that is asked of the loaded model."""
    questions = Questions(device, small, folder)
    plan = questions.plan
    return [f'In the following, random weights in bfloat16; objects {SIDE} px a side in 640x480; '
            f'{plan.repeats} rounds in turn, a first one thrown away. Plain: '
            '`benchmarks/plain.py`.', '', *questions.object_tokens(), '', *questions.decoding(), '',
            *questions.first_tokens()]
