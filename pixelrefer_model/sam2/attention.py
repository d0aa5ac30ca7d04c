# SPDX-License-Identifier: Apache-2.0
"""The memory attention: an image's coarse features fused with what each object remembers.

Batched over objects. What does not depend on the object - the features' positions and, as long as
all look at one image, the first layer's self-attention and its queries - is computed once. "SAM 2:
Segment Anything in Images and Videos" (arXiv:2408.00714, section 4 and appendix D.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrefer_model.sam2.rows import apply_rows
from pixelrefer_model.sam2.tables import Tables

#: Channels of a spatial memory, and of the pieces that a pointer is cut into.
MEMORY_CHANNELS = 64
#: How much of its position a feature is given before the first layer.
_HERE_SCALE = 0.1


@dataclass(frozen=True)
class Selection:
    """What one object remembers of the past when one frame is decoded.

    spatial: (memory [hw, 64], place) with place 0 for a prompted frame and 1, 2, ... for the
    frames before this one. pointers: (pointer [C], age in frames). A memory or pointer that is None
    is attended to by nobody: objects that remember unequally much are one batch so, as training on
    a GPU wants it, where a hundred batches take longer than the sums that they save.
    """

    spatial: Sequence[tuple[Tensor | None, int]]
    pointers: Sequence[tuple[Tensor | None, float]]


@dataclass(frozen=True)
class _Recalled:
    """The memories of objects that remember equally much: rows of the batch; tokens [n, M, 64] and
    the same with their positions added, of which the first `maps` x hw are spatial; known: bool
    [n, 1, 1, M], None where there is something at all of them."""

    rows: Sequence[int]
    tokens: Tensor
    placed: Tensor
    maps: int
    known: Tensor | None


def sine_encoding(ages: Tensor, channels: int) -> Tensor:
    """Sine encoding of normalised ages [...] -> [..., channels] (arXiv:1706.03762, 3.5)."""
    half = channels // 2
    index = torch.arange(half, dtype=torch.float32, device=ages.device)
    angles = ages[..., None] / 10000 ** (2 * (index // 2) / half)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class MemoryAttention:
    """Coarse features and selections -> fused features; no object sees another's memory."""

    def __init__(self, model: nn.Module, grid: int) -> None:
        self.model, self.grid = model, grid
        self.tables = Tables()

    def __call__(self, coarse: Tensor, selections: Sequence[Selection]) -> Tensor:
        """coarse [N, C, h, w], or [1, C, h, w] for N objects in one image -> [N, C, h, w]."""
        attention = self.model.memory_attention
        recalled = self._recall(selections, coarse.device, coarse.dtype)
        turn = self._turn(coarse.device)
        x = coarse.flatten(2).transpose(1, 2)
        x = x + _HERE_SCALE * self._sine(self.model.vision_encoder.neck, x.shape[-1], x)
        for layer in attention.layers:
            x = x + _self(layer.self_attn, layer.layer_norm1(x), turn)
            x = x + _cross(layer.cross_attn_image, layer.layer_norm2(x), recalled,
                           len(selections), turn)
            x = x + layer.linear2(layer.activation(layer.linear1(layer.layer_norm3(x))))
        return attention.layer_norm(x).transpose(1, 2).unflatten(2, coarse.shape[2:])

    def _recall(self, selections: Sequence[Selection], device: torch.device, dtype: torch.dtype
                ) -> list[_Recalled]:
        groups: dict[tuple[int, int], list[int]] = {}
        for row, selection in enumerate(selections):
            key = (len(selection.spatial), len(selection.pointers))
            groups.setdefault(key, []).append(row)
        model, recalled = self.model, []
        for (maps, pointers), rows in groups.items():
            chosen = [selections[row] for row in rows]
            tokens = _stacked([m for s in chosen for m, _ in s.spatial]).to(dtype)
            tokens = tokens.unflatten(0, (len(rows), maps))
            cells = tokens.shape[2]
            places = torch.tensor([[place for _, place in s.spatial] for s in chosen],
                                  device=device)
            # place 0 (prompted) is the last row of the table, place k the row k - 1
            temporal = model.memory_temporal_positional_encoding[places - 1].flatten(2)[:, :, None]
            placed = tokens + (self._sine(model.memory_encoder, MEMORY_CHANNELS, tokens) + temporal)
            tokens, placed = tokens.flatten(1, 2), placed.flatten(1, 2)
            if pointers:
                pieces, when = self._pointers(chosen, dtype)
                tokens = torch.cat([tokens, pieces], dim=1)
                placed = torch.cat([placed, pieces + when], dim=1)
            recalled.append(_Recalled(rows, tokens, placed, maps, _known(
                chosen, cells, (tokens.shape[1] - maps * cells) // max(pointers, 1), device)))
        return recalled

    def _pointers(self, selections: Sequence[Selection], dtype: torch.dtype
                  ) -> tuple[Tensor, Tensor]:
        """Pointers cut into pieces [n, P C/64, 64], and the encoding of their ages likewise."""
        model, config = self.model, self.model.config
        pointers = _stacked([p for s in selections for p, _ in s.pointers]).to(dtype)
        pointers = pointers.unflatten(0, (len(selections), -1))
        channels = pointers.shape[-1]
        splits = channels // MEMORY_CHANNELS
        pieces = pointers.unflatten(2, (splits, MEMORY_CHANNELS)).flatten(1, 2)
        if not config.enable_temporal_pos_encoding_for_object_pointers:
            return pieces, torch.zeros_like(pieces)
        longest = float(config.max_object_pointers_in_encoder - 1)
        ages = torch.tensor([[age for _, age in s.pointers] for s in selections],
                            dtype=torch.float32, device=pointers.device) / longest
        when = apply_rows(model.temporal_positional_encoding_projection_layer,
                          sine_encoding(ages, channels).to(dtype).flatten(0, 1))
        when = when.unflatten(0, ages.shape)
        return pieces, when.repeat_interleave(splits, dim=1)

    def _sine(self, owner: nn.Module, channels: int, like: Tensor) -> Tensor:
        """The position map of `owner` as rows [hw, channels]; made in float32."""
        def make() -> Tensor:
            shape = torch.Size((1, channels, self.grid, self.grid))
            made = owner.position_encoding(shape, like.device, torch.float32)
            return made[0].flatten(1).T.contiguous().to(like.dtype)
        return self.tables.get((channels, like.device, like.dtype), make)

    def _turn(self, device: torch.device) -> Tensor:
        """The rotation of every cell as complex numbers [hw, D/2]."""
        def make() -> Tensor:
            attention = self.model.memory_attention
            # anew, since the module's own buffer has lost digits if the model was cast
            frequency, scale = attention.rotary_emb.compute_axial_rope_parameters(
                self.model.config, device)
            angles = (attention.position_ids.to(device)[..., None].float() * frequency).flatten(1)
            return torch.polar(torch.full_like(angles, scale), angles)
        return self.tables.get(('turn', device), make)


def _stacked(some: Sequence[Tensor | None]) -> Tensor:
    """Zeros where there is none."""
    blank = None
    if any(one is None for one in some):
        blank = torch.zeros_like(next(one for one in some if one is not None))
    return torch.stack([blank if one is None else one for one in some])


def _known(selections: Sequence[Selection], cells: int, pieces: int, device: torch.device
           ) -> Tensor | None:
    """bool [n, 1, 1, M]: of which tokens there is something; None where there is of all."""
    there = [[one is not None for one, _ in (*s.spatial, *s.pointers)] for s in selections]
    if all(map(all, there)):
        return None
    maps, pointers = len(selections[0].spatial), len(selections[0].pointers)
    times = torch.tensor([cells] * maps + [pieces] * pointers, device=device)
    known = torch.tensor(there, device=device)
    return known.repeat_interleave(times, dim=1, output_size=cells * maps + pieces * pointers
                                   )[:, None, None]


def _heads(attn: nn.Module, x: Tensor) -> Tensor:
    return x.unflatten(-1, (attn.num_attention_heads, attn.head_dim)).transpose(-3, -2)


def _rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn neighbouring channels of x [..., hw, D] by the angle of their cell."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)


def _self(attn: nn.Module, x: Tensor, turn: Tensor) -> Tensor:
    query, key, value = (_heads(attn, project(x)) for project in
                         (attn.q_proj, attn.k_proj, attn.v_proj))
    out = F.scaled_dot_product_attention(_rotate(query, turn), _rotate(key, turn), value)
    return attn.o_proj(out.transpose(1, 2).flatten(2))


def _cross(attn: nn.Module, x: Tensor, recalled: Sequence[_Recalled], count: int, turn: Tensor
           ) -> Tensor:
    """Attend from x [N or 1, hw, C] to each object's own memory -> [N, hw, C].

    The weights of a mean add up to one, so values may be projected after it as well as before:
    hw rows instead of all that is remembered, where a memory is no wider than a head."""
    late = attn.num_attention_heads == 1 and attn.head_dim == MEMORY_CHANNELS
    query = _rotate(_heads(attn, attn.q_proj(x)), turn)
    query = query.expand(count, -1, -1, -1)
    parts = []
    for group in recalled:
        value = group.tokens[:, None] if late else _heads(attn, attn.v_proj(group.tokens))
        key = attn.k_proj(group.placed)
        spatial = _heads(attn, key[:, :group.maps * len(turn)]).unflatten(2, (group.maps, -1))
        # written where they lie: pointers, behind them, have no place to be turned by
        spatial.copy_(_rotate(spatial, turn))
        key = _heads(attn, key)
        asking = query if len(recalled) == 1 else query[group.rows]
        parts.append(F.scaled_dot_product_attention(asking, key, value, group.known))
    out = parts[0]
    if len(parts) > 1:
        order = [row for group in recalled for row in group.rows]
        out = torch.cat(parts)[sorted(range(count), key=order.__getitem__)]
    out = out.transpose(1, 2).flatten(2)
    return attn.o_proj(attn.v_proj(out) if late else out)
