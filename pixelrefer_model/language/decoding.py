# SPDX-License-Identifier: Apache-2.0
"""Prefill and decode: a batch of prompts into keys and values, then one token after another.

Nothing here waits for the device: how long each row is, is known on the host.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixelrefer_model.language.cache import KeyValueCache, PrefixCache, TokenizedPrompt
from pixelrefer_model.language.few_rows import FewRows

if TYPE_CHECKING:
    from pixelrefer_model.pixelrefer.modeling_pixelrefer import PixelReferModel


@dataclass
class Decoding:
    """A batch under way. Row b answers prompt `rows[b]`.

    scores: [B, V] of the next token. positions: int64 [B] of the next token, on the device;
    lengths: the same on the host. prefilled: tokens that were read for it, those of kept prefixes
    left out.
    """

    rows: list[int]
    cache: KeyValueCache
    scores: Tensor
    positions: Tensor
    lengths: list[int]
    prefilled: int

    def keep(self, kept: Sequence[int], index: Tensor) -> None:
        """Drop all rows but these (places in the batch, and the same as a tensor)."""
        self.rows = [self.rows[b] for b in kept]
        self.lengths = [self.lengths[b] for b in kept]
        self.cache.keep(index)
        self.scores, self.positions = self.scores[index], self.positions[index]


def prefill(model: 'PixelReferModel', prompts: Sequence[TokenizedPrompt], cache: KeyValueCache,
            prefixes: PrefixCache | None = None) -> Decoding:
    """Read the prompts into an empty cache; scores of the first new token, and of it alone.

    What `prefixes` holds of the beginning of a prompt is not read again. Shorter rows are padded
    behind their end: every token looks only back, so that no token sees the padding, and what it
    leaves in the cache is overwritten before anything looks at it.
    """
    found = [prefixes.longest(p) if prefixes is not None else (None, 0) for p in prompts]
    starts = [length for _, length in found]
    lengths = [len(p) for p in prompts]
    longest = max(n - start for n, start in zip(lengths, starts, strict=True))
    # The padding must stay within the cache, so a row may have to read a little of its prefix.
    starts = [min(start, cache.room - longest) for start in starts]
    for b, ((prefix, _), start) in enumerate(zip(found, starts, strict=True)):
        if start:
            cache.keys[:, b, :, :start] = prefix.keys[:, :, :start]
            cache.values[:, b, :, :start] = prefix.values[:, :, :start]
    batch = embed(model, [(p, start) for p, start in zip(prompts, starts, strict=True)], longest)
    device = batch.device
    first = torch.tensor(starts, device=device)
    positions = first[:, None] + torch.arange(longest, device=device)
    even = min(starts) == max(starts)
    cache.place(positions, max(starts) + longest, starts[0] if even else None)
    # Without a prefix plain causal attention is enough, which is the fastest there is.
    seen = cache.columns[:cache.get_seq_length()]
    mask = None if max(starts) == 0 else seen <= positions[..., None]
    hidden = forward(model, batch, positions, cache, mask)
    last = torch.tensor([n - 1 - start for n, start in zip(lengths, starts, strict=True)],
                        device=device)
    ends = hidden[torch.arange(len(prompts), device=device), last]
    if prefixes is not None:
        for b, prompt in enumerate(prompts):
            prefixes.keep(prompt, cache.keys[:, b], cache.values[:, b])
    return Decoding(list(range(len(prompts))), cache, model.logits(ends),
                    torch.tensor(lengths, device=device), lengths,
                    sum(lengths) - sum(starts))


def decode(model: 'PixelReferModel', state: Decoding, tokens: Tensor) -> Decoding:
    """Append one token (int64 [B], on the device) to every row; scores of the next one.

    `state` is changed. A row at the end of the cache stays there: its answer is over.
    """
    cache, even = state.cache, min(state.lengths) == max(state.lengths)
    positions, width = state.positions[:, None], max(state.lengths) + 1
    cache.place(positions, width, state.lengths[0] if even else None)
    mask = None if even else (cache.columns[:width] <= positions)[:, None]
    few = FewRows.helps(len(tokens), model.lm_head.weight)
    with FewRows() if few else nullcontext():
        hidden = forward(model, model.model.embed_tokens(tokens[:, None]), positions, cache, mask)
        state.scores = model.logits(hidden[:, -1])
    state.positions = (state.positions + 1).clamp(max=cache.room - 1)
    state.lengths = [min(n + 1, cache.room - 1) for n in state.lengths]
    return state


def forward(model: 'PixelReferModel', embeds: Tensor, positions: Tensor, cache: KeyValueCache,
            mask: Tensor | None) -> Tensor:
    """Hidden states [B, S, D] of embeddings [B, S, D] at `positions` [B, S].

    mask: bool [B, S, width], true where a token looks at a column; None: it looks at all before
    it. Made here and not from lengths, which the layers would have to read back from the device.
    """
    if mask is not None:
        mask = mask[:, None]
    kinds = set(getattr(model.model.config, 'layer_types', None) or ['full_attention'])
    return model.model(
        inputs_embeds=embeds, attention_mask=dict.fromkeys(kinds, mask), position_ids=positions,
        past_key_values=cache, use_cache=True).last_hidden_state


def embed(model: 'PixelReferModel', prompts: Sequence[tuple[TokenizedPrompt, int]],
          longest: int) -> Tensor:
    """Embeddings [B, longest, D] of the prompts from a position on, zeros behind their end, with
    their object tokens in place."""
    table = model.model.embed_tokens
    made = table.weight.new_zeros(len(prompts), longest, table.weight.shape[1])
    for row, (prompt, start) in zip(made, prompts, strict=True):
        row[:len(prompt) - start] = table(prompt.ids[start:].to(row.device))
        skipped = int((prompt.places < start).sum())
        if skipped < len(prompt.places):
            row.index_copy_(0, (prompt.places[skipped:] - start).to(row.device),
                            prompt.rows[skipped:].to(row))
    return made
