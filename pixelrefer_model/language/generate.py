# SPDX-License-Identifier: Apache-2.0
"""Prefill and decode: prompts with object tokens to text, token by token."""

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from transformers import DynamicCache

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language.chat import RenderedPrompt, check_text
from pixelrefer_model.language.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pixelrefer_model.pixelrefer.modeling_pixelrefer import PixelReferLite


@dataclass(frozen=True)
class TokenEvent:
    """One token of one answer.

    index: which prompt. token_id: None where the end came without a token (cancelled). text_delta:
    what the token completes; never part of a character. probability: of the token, before any
    repetition penalty, 0 to 1. finished: nothing follows for this prompt; reason says why.
    """

    index: int
    token_id: int | None
    text_delta: str
    probability: float
    finished: bool = False
    reason: Literal['', 'stop', 'length', 'cancelled'] = ''


def least_sure(probabilities: Sequence[float]) -> float:
    """How sure an answer is: the least probability of its tokens, 0 where there are none.

    Most tokens are given by the form of the answer, and their mean hides the one that decides.
    """
    return min(probabilities, default=0.0)


@dataclass
class Generation:
    """All events of one prompt together."""

    text: str = ''
    token_ids: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    reason: str = ''

    @property
    def confidence(self) -> float:
        """Probability of the least sure token, 0 to 1; 0 where there is no token."""
        return least_sure(self.probabilities)


@dataclass
class Decoding:
    """A batch under way. Row b answers prompt `rows[b]`.

    scores: [B, V] of the next token. mask: [B, N] of the tokens so far, None where none is
    padding. lengths: int64 [B], position of the next token.
    """

    rows: list[int]
    cache: DynamicCache
    scores: Tensor
    mask: Tensor | None
    lengths: Tensor

    def keep(self, kept: list[int]) -> None:
        """Drop all rows but these (places in the batch)."""
        index = torch.tensor(kept, device=self.scores.device)
        self.rows = [self.rows[b] for b in kept]
        self.cache.batch_select_indices(index)
        self.scores, self.lengths = self.scores[index], self.lengths[index]
        self.mask = None if self.mask is None else self.mask[index]


class LanguageModel:
    """Greedy answers of a PixelRefer-Lite model. Not thread-safe: one worker owns it."""

    def __init__(self, model: 'PixelReferLite', tokenizer: Tokenizer | None = None,
                 generation: dict | None = None) -> None:
        """tokenizer, generation (of generation_config.json): the checkpoint's where not given.

        Raises PixelReferError CHECKPOINT, naming the model's folder, if there is no tokenizer or
        it has more tokens than the model or another `<REGION>`.
        """
        self.model = model
        tokenizer = tokenizer or model.tokenizer
        where = model.folder or 'a model of no folder'
        if tokenizer is None:
            raise PixelReferError('CHECKPOINT', f'{where}: there is no tokenizer.json, nor '
                                                'vocab.json with merges.txt')
        if len(tokenizer) > model.config.language.vocab_size:
            raise PixelReferError(
                'CHECKPOINT', f'{where}: the tokenizer has {len(tokenizer)} tokens, the model only '
                f'{model.config.language.vocab_size}')
        if tokenizer.region_id != model.config.region_token_index:
            raise PixelReferError(
                'CHECKPOINT', f'{where}: <REGION> is token {tokenizer.region_id} of the tokenizer '
                f'and {model.config.region_token_index} of the model')
        self.tokenizer = tokenizer
        generation = model.generation if generation is None else generation
        ends = generation.get('eos_token_id')
        ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
        #: Ids that end an answer.
        self.ends = frozenset([*ends, tokenizer.end_id])
        self.repetition_penalty = float(generation.get('repetition_penalty') or 1)

    @property
    def longest_prompt(self) -> int:
        """Most tokens a prompt may have: one position is left for the answer."""
        return self.model.config.language.max_position_embeddings - 1

    def check(self, prompt: RenderedPrompt, max_new_tokens: int = 1) -> int:
        """Tokens of the prompt. Raises PixelReferError SPECIAL_TOKEN, QUESTION_TOO_LONG, or
        BAD_BUDGET."""
        if max_new_tokens < 1:
            raise PixelReferError('BAD_BUDGET', f'{max_new_tokens} new tokens; at least 1 is '
                                                'needed')
        if prompt.question:
            check_text(prompt.question, list(self.tokenizer.added.values()))
        return len(self._ids(prompt))

    def generate(self, prompts: Sequence[RenderedPrompt], *, max_new_tokens: int = 64,
                 cancel: Callable[[], bool] = lambda: False) -> Iterator[TokenEvent]:
        """Answer several prompts as one batch; greedy, each as if it were alone.

        `cancel` is asked before the prefill and before every token; when it says yes each
        unfinished answer ends with reason 'cancelled'. Raises (at the first `next`) what `check`
        raises, before anything is computed.
        """
        for prompt in prompts:
            self.check(prompt, max_new_tokens)
        text = [codecs.getincrementaldecoder('utf-8')(errors='replace') for _ in prompts]
        left = list(range(len(prompts)))
        state = None
        seen: list[set[int]] = [set() for _ in prompts]
        for count in range(1, max_new_tokens + 1):
            if not left:
                return
            if cancel():
                yield from (TokenEvent(i, None, text[i].decode(b'', final=True), 0.0, True,
                                       'cancelled') for i in left)
                return
            state = self.prefill(prompts) if state is None else self.decode(state, chosen)
            chosen, likely = self.choose(state, [seen[i] for i in state.rows])
            room = state.lengths <= self.longest_prompt
            kept = []
            for b, (i, token, probability) in enumerate(
                    zip(state.rows, chosen, likely, strict=True)):
                seen[i].add(token)
                end = token in self.ends
                last = end or count == max_new_tokens or not room[b]
                yield TokenEvent(i, token, text[i].decode(self.tokenizer.bytes_of(token), last),
                                 probability, last,
                                 '' if not last else 'stop' if end else 'length')
                kept += [] if last else [b]
            chosen = [chosen[b] for b in kept]
            left = [state.rows[b] for b in kept]
            if left and len(kept) < len(state.rows):
                state.keep(kept)

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[RenderedPrompt]) -> Decoding:
        """Read the prompts, shorter ones padded on the left; scores of the first new token."""
        device = self.model.device
        embeds = [self.embed(prompt) for prompt in prompts]
        lengths = torch.tensor([len(e) for e in embeds], device=device)
        longest = int(lengths.max())
        batch = torch.stack([torch.nn.functional.pad(e, (0, 0, longest - len(e), 0))
                             for e in embeds])
        places = torch.arange(longest, device=device) - (longest - lengths)[:, None]
        mask = None if bool((lengths == longest).all()) else (places >= 0).long()
        cache = DynamicCache(config=self.model.model.config)
        hidden = self.model.model(
            inputs_embeds=batch, attention_mask=mask, position_ids=places.clamp(min=0),
            past_key_values=cache, use_cache=True).last_hidden_state
        return Decoding(list(range(len(prompts))), cache, self.model.logits(hidden[:, -1]), mask,
                        lengths)

    @torch.inference_mode()
    def decode(self, state: Decoding, token_ids: Sequence[int]) -> Decoding:
        """Append one token to every row; scores of the next one. `state` is changed."""
        ids = torch.tensor(token_ids, device=self.model.device)[:, None]
        if state.mask is not None:
            state.mask = torch.cat([state.mask, torch.ones_like(ids)], dim=1)
        hidden = self.model.model(
            input_ids=ids, attention_mask=state.mask, position_ids=state.lengths[:, None],
            past_key_values=state.cache, use_cache=True).last_hidden_state
        state.scores = self.model.logits(hidden[:, -1])
        state.lengths = state.lengths + 1
        return state

    @torch.inference_mode()
    def choose(self, state: Decoding, seen: Sequence[set[int]]) -> tuple[list[int], list[float]]:
        """The best token of each row and its probability.

        The repetition penalty looks at `seen`, the tokens made so far, never at the prompt.
        """
        scores = state.scores.float()
        likely = scores.softmax(dim=-1)
        if self.repetition_penalty != 1:
            scores = scores.clone()
            for row, made in zip(scores, seen, strict=True):
                index = torch.tensor(sorted(made), dtype=torch.long, device=scores.device)
                old = row[index]
                row[index] = torch.where(old < 0, old * self.repetition_penalty,
                                         old / self.repetition_penalty)
        best = scores.argmax(dim=-1)
        return best.tolist(), likely.gather(1, best[:, None])[:, 0].tolist()

    @torch.inference_mode()
    def embed(self, prompt: RenderedPrompt) -> Tensor:
        """Embeddings [N, D] of a prompt with its object tokens in place."""
        ids = torch.tensor(self._ids(prompt), device=self.model.device)
        return self.model.embed(ids, prompt.tokens.to(self.model.device))

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
        one = made[event.index]
        one.text += event.text_delta
        if event.token_id is not None:
            one.token_ids.append(event.token_id)
            one.probabilities.append(event.probability)
        one.reason = event.reason
    for one in made:
        one.text = one.text.strip()
    return made
