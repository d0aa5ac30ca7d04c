# SPDX-License-Identifier: Apache-2.0
"""LanguageModel: prompts with object tokens to text, token by token."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from pixelrefer_model.device import guarded
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language import decoding
from pixelrefer_model.language.cache import (
    KeepPrefixes, KeyValueCache, PrefixCache, TokenizedPrompt, tokenized)
from pixelrefer_model.language.chat import RenderedPrompt, check_text
from pixelrefer_model.language.decoding import Decoding
from pixelrefer_model.language.events import Generation, Reason, TokenEvent
from pixelrefer_model.language.graphs import CudaGraphs, Eager, FixedStep, FixedSteps, Steps
from pixelrefer_model.language.sampling import Greedy, Sampler, Sampling
from pixelrefer_model.language.stream import TextStream
from pixelrefer_model.language.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pixelrefer_model.pixelrefer.modeling_pixelrefer import PixelReferModel

Made = TypeVar('Made')
#: Which answer -> why it ends now: 'cancelled' or 'deadline'; '' while it goes on.
Ended = Callable[[int], Reason]


def never(_index: int) -> Reason:
    """No answer ends before its time."""
    return ''


class LanguageModel:
    """Answers of a PixelRefer model. Not thread-safe: one worker owns it."""

    def __init__(self, model: 'PixelReferModel', tokenizer: Tokenizer | None = None,
                 generation: dict | None = None, *, prefixes: KeepPrefixes = KeepPrefixes(0),
                 steps: Steps = Eager()) -> None:
        """tokenizer, generation (of generation_config.json): the checkpoint's where not given.
        prefixes: keys and values kept for later prompts; only for weights that do not change.

        Raises PixelReferError CHECKPOINT, naming the model's folder, if there is no tokenizer, it
        has more tokens than the model or another `<REGION>`, or the model's attention reaches back
        less far than its positions.
        """
        self.model = model
        self.tokenizer = _checked(model, tokenizer or model.tokenizer)
        generation = model.generation if generation is None else generation
        ends = generation.get('eos_token_id')
        ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
        #: Ids that end an answer.
        self.ends = frozenset([*ends, self.tokenizer.end_id])
        self.repetition_penalty = float(generation.get('repetition_penalty') or 1)
        self.prefixes = PrefixCache(prefixes)
        self._fixed = FixedSteps(model, steps) if isinstance(steps, CudaGraphs) else None
        #: Steps that the device is given before the oldest is read, so that it never waits for the
        #: host. A CPU works in the caller's own time, and what it did ahead would be in vain.
        self.ahead = 0 if model.device.type == 'cpu' else 1
        #: Tokens of prompts read so far, without those of kept prefixes.
        self.prefilled = 0

    @property
    def longest_prompt(self) -> int:
        """Most tokens a prompt may have: one position is left for the answer."""
        return self.model.config.language.max_position_embeddings - 1

    def count(self, prompt: RenderedPrompt) -> int:
        """Tokens of a prompt, however many are allowed."""
        return len(self.tokenizer.encode(prompt.text))

    def check(self, prompt: RenderedPrompt, max_new_tokens: int = 1) -> int:
        """Tokens of the prompt. Raises PixelReferError SPECIAL_TOKEN, QUESTION_TOO_LONG, or
        BAD_BUDGET."""
        self._check_request(prompt, max_new_tokens)
        return len(self._ids(prompt))

    def tokenize(self, prompt: RenderedPrompt) -> TokenizedPrompt:
        """Ids and object tokens. Raises PixelReferError QUESTION_TOO_LONG, or ValueError if there
        are not as many object tokens as places."""
        return tokenized(self._ids(prompt), self.model.places, prompt.tokens)

    def generate(self, prompts: Sequence[RenderedPrompt], *,
                 max_new_tokens: int | Sequence[int] = 64, sampling: Sampling = Greedy(),
                 stop: Sequence[str] = (), ended: Ended = never) -> Iterator[TokenEvent]:
        """Answer several prompts as one batch, each as if it were alone.

        max_new_tokens: of every answer, or of each. stop: words that end an answer, which ends
        before them. ended(i): asked for each unfinished answer before the prefill and before every
        token; it says why that answer ends there, or ''. Raises (at the first `next`) what `check`
        and `tokenize` raise, before anything is computed, and PixelReferError OUT_OF_MEMORY (a
        smaller request may do) or NOT_FINITE: then kept prefixes and captured steps are given up.
        """
        budgets = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(
            max_new_tokens)
        for prompt, budget in zip(prompts, budgets, strict=True):
            self._check_request(prompt, budget)
        work = [self.tokenize(prompt) for prompt in prompts]
        # The last token needs no position: nothing looks at it.
        limits = [min(budget, self.longest_prompt + 2 - len(p))
                  for budget, p in zip(budgets, work, strict=True)]
        text = [TextStream(stop) for _ in work]
        left, launched = list(range(len(work))), 0
        batch: _Batch | None = None
        reading: deque[_Reading] = deque()
        try:
            while left:
                over = {i: reason for i in left if (reason := ended(i))}
                yield from (TokenEvent(i, None, text[i].end(), 0.0, True, reason)
                            for i, reason in over.items())
                left = [i for i in left if i not in over]
                most = max((limits[i] for i in left), default=0)
                if launched < most:
                    batch = self._guarded(self._go_on, batch) if batch is not None else \
                        self._guarded(self._begin, work, max(limits), sampling)
                    reading.append(_Reading(batch))
                    launched += 1
                if not left or (len(reading) <= self.ahead and launched < most):
                    continue
                for event in self._read(reading.popleft(), left, limits, text):
                    left = [i for i in left if i != event.index or not event.finished]
                    yield event
                if left and batch.step is None and len(left) < len(batch.state.rows):
                    self._guarded(batch.keep, left)
        finally:
            if batch is not None and batch.step is not None:
                batch.step.busy = False

    def _read(self, reading: '_Reading', left: Sequence[int], limits: Sequence[int],
              text: Sequence[TextStream]) -> Iterator[TokenEvent]:
        """The events of one step, for rows that go on. Raises PixelReferError NOT_FINITE."""
        told = reading.tokens()
        if not all(math.isfinite(probability) for i, _, probability in told if i in left):
            # NaN stays NaN however little it counts: whoever looked at these keys and values
            # again, in a prefix or a captured step, would answer nonsense.
            self.free()
            raise PixelReferError(
                'NOT_FINITE', 'the language model gave NaN or infinity: object tokens or weights '
                f'that are not finite, or too large for {self.model.dtype}; bfloat16 or float32 '
                'is allowed')
        for i, token, probability in told:
            if i not in left:
                continue
            delta = text[i].feed(self.tokenizer.bytes_of(token))
            stopped = token in self.ends or text[i].stopped
            last = stopped or reading.number == limits[i]
            yield TokenEvent(i, token, delta + (text[i].end() if last else ''), probability, last,
                             '' if not last else 'stop' if stopped else 'length')

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[RenderedPrompt], max_new_tokens: int = 1) -> Decoding:
        """Read the prompts, with room for so many tokens; scores of the first new one."""
        return self._prefill([self.tokenize(p) for p in prompts], max_new_tokens, None)

    @torch.inference_mode()
    def decode(self, state: Decoding, tokens: Tensor) -> Decoding:
        """Append one token (int64 [B]) to every row; scores of the next one."""
        return decoding.decode(self.model, state, tokens)

    @torch.inference_mode()
    def embed(self, prompt: RenderedPrompt) -> Tensor:
        """Embeddings [N, D] of a prompt with its object tokens in place."""
        made = self.tokenize(prompt)
        return decoding.embed(self.model, [(made, 0)], len(made))[0]

    def free(self) -> None:
        """Give up everything that is only kept to be faster."""
        self.prefixes.clear()
        if self._fixed is not None:
            self._fixed.clear()

    def _prefill(self, work: Sequence[TokenizedPrompt], most: int, step: FixedStep | None
                 ) -> Decoding:
        cache = self._cache(work, most) if step is None else step.cache
        state = decoding.prefill(self.model, work, cache,
                                 self.prefixes if self.prefixes.policy.most_bytes else None)
        self.prefilled += state.prefilled
        return state

    def _room(self, work: Sequence[TokenizedPrompt], most: int) -> int:
        return min(max(map(len, work)) + most - 1, self.longest_prompt + 1)

    def _cache(self, work: Sequence[TokenizedPrompt], most: int) -> KeyValueCache:
        return KeyValueCache(self.model.model.config, len(work), self._room(work, most),
                             device=self.model.device, dtype=self.model.dtype)

    @torch.inference_mode()
    def _begin(self, work: Sequence[TokenizedPrompt], most: int, sampling: Sampling) -> '_Batch':
        """Prefill and the first token."""
        step = None if self._fixed is None else self._fixed.take(
            len(work), self._room(work, most))
        state = self._prefill(work, most, step)
        if step is not None:
            step.positions.copy_(state.positions)
            state.positions = step.positions
        sampler = Sampler(sampling, self.repetition_penalty, len(work), most,
                          state.scores.shape[1], self.model.device)
        return _Batch(state, sampler, step).choose()

    @torch.inference_mode()
    def _go_on(self, batch: '_Batch') -> '_Batch':
        """Decode and the next token."""
        if batch.step is None:
            batch.state = self.decode(batch.state, batch.chosen)
        else:
            batch.state = batch.step.decode(batch.state, batch.chosen)
        return batch.choose()

    def _guarded(self, act: Callable[..., Made], *arguments: object) -> Made:
        """Run a step on the device. Raises PixelReferError OUT_OF_MEMORY, everything freed."""
        return guarded(act, *arguments, device=self.model.device, free=self.free,
                       what='for this; ask about fewer objects or frames at once, or for a '
                       'shorter answer')

    def _check_request(self, prompt: RenderedPrompt, max_new_tokens: int) -> None:
        if max_new_tokens < 1:
            raise PixelReferError('BAD_BUDGET', f'{max_new_tokens} new tokens; at least 1 is '
                                                'needed')
        if prompt.question:
            check_text(prompt.question, list(self.tokenizer.added.values()))

    def _ids(self, prompt: RenderedPrompt) -> list[int]:
        ids = self.tokenizer.encode(prompt.text)
        if len(ids) > self.longest_prompt:
            raise PixelReferError(
                'QUESTION_TOO_LONG', f'the prompt has {len(ids)} tokens with its objects; '
                f'{self.longest_prompt} are allowed: ask shorter, about fewer objects or frames')
        return ids


def collect(events: Iterable[TokenEvent], count: int) -> list[Generation]:
    """Run `generate` to its end: one Generation per prompt, text stripped."""
    made = [Generation() for _ in range(count)]
    for event in events:
        made[event.index].add(event)
    for one in made:
        one.text = one.text.strip()
    return made


@dataclass
class _Batch:
    """A batch with what chooses its tokens. step: None where each step is launched anew.
    chosen, likely: the newest token of each row, on the device; number: which token that is."""

    state: Decoding
    sampler: Sampler
    step: FixedStep | None
    chosen: Tensor = field(init=False, repr=False)
    likely: Tensor = field(init=False, repr=False)
    number: int = 0

    def choose(self) -> '_Batch':
        self.chosen, self.likely = self.sampler.choose(self.state.scores)
        self.number += 1
        return self

    def keep(self, left: Sequence[int]) -> None:
        """Drop the rows of all prompts but these."""
        kept = [b for b, i in enumerate(self.state.rows) if i in left]
        index = torch.tensor(kept, device=self.chosen.device)
        with torch.inference_mode():
            self.state.keep(kept, index)
            self.sampler.keep(index)
            self.chosen = self.chosen[index]


class _Reading:
    """The tokens of one step on their way to the host: one copy, and no wait until it is read."""

    def __init__(self, batch: _Batch) -> None:
        self._rows, self.number = list(batch.state.rows), batch.number
        # float32 holds every id below 2**24 exactly.
        both = torch.stack([batch.chosen.float(), batch.likely])
        self._both = both.to('cpu', non_blocking=both.is_cuda)
        self._ready = None
        if both.is_cuda:
            self._ready = torch.cuda.Event()
            self._ready.record()

    def tokens(self) -> list[tuple[int, int, float]]:
        """(prompt, token, probability) of each row, once they are there."""
        if self._ready is not None:
            self._ready.synchronize()
        ids, likely = self._both.tolist()
        return list(zip(self._rows, map(int, ids), likely, strict=True))


def _checked(model: 'PixelReferModel', tokenizer: Tokenizer | None) -> Tokenizer:
    """The tokenizer, if it is the model's. Raises PixelReferError CHECKPOINT."""
    where, language = model.folder or 'a model of no folder', model.config.language
    if tokenizer is None:
        raise PixelReferError('CHECKPOINT', f'{where}: there is no tokenizer.json, nor '
                                            'vocab.json with merges.txt')
    if len(tokenizer) > language.vocab_size:
        raise PixelReferError(
            'CHECKPOINT', f'{where}: the tokenizer has {len(tokenizer)} tokens, the model only '
            f'{language.vocab_size}')
    if tokenizer.region_id != model.config.region_token_index:
        raise PixelReferError(
            'CHECKPOINT', f'{where}: <REGION> is token {tokenizer.region_id} of the tokenizer '
            f'and {model.config.region_token_index} of the model')
    kinds = getattr(model.model.config, 'layer_types', None) or []
    if 'sliding_attention' in kinds:
        raise PixelReferError(
            'CHECKPOINT', f'{where}: use_sliding_window is set; only attention over the whole '
            'prompt is supported, as all released models have it')
    return tokenizer
