# SPDX-License-Identifier: Apache-2.0
"""The image encoder: Hiera and its feature pyramid, over the weights of transformers' modules.

The pyramid is linear, so each finer level goes through the neck and the decoder's projection as one
matrix, and no position maps are made that nobody reads. Everything stays channels last. Hiera:
arXiv:2306.00989; the pyramid: "SAM 2: Segment Anything in Images and Videos" (arXiv:2408.00714,
appendix D.1).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrefer_model.sam2.tables import Tables


@dataclass(frozen=True)
class Features:
    """An encoded image. coarse [B, C, h, w], stride 16. fine: what the decoder adds at strides 4
    and 8, grouped by the coarse cell that it belongs to: [B, hw, 16, C/8] and [B, hw, 4, C/4]."""

    coarse: Tensor
    fine: tuple[Tensor, Tensor]

    def rows(self, index: Tensor | slice) -> 'Features':
        """The features of some of the images."""
        return Features(self.coarse[index], (self.fine[0][index], self.fine[1][index]))

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.coarse, *self.fine)


class ImageEncoder:
    """Normalised pixels [B, 3, S, S] -> Features. `compiled`: through torch.compile."""

    def __init__(self, model: nn.Module, compiled: bool = False) -> None:
        self.model = model
        self.tables = Tables()
        self.run: Callable[[Tensor, Tensor], Features] = self.forward
        if compiled:
            # one fixed shape; graphs that are replayed would overwrite features that are kept
            self.run = torch.compile(self.forward, fullgraph=True, dynamic=False)

    def __call__(self, pixels: Tensor) -> Features:
        backbone = self.model.vision_encoder.backbone
        place = backbone.pos_embed
        if place.requires_grad:
            return self.run(pixels, self._place(pixels))
        return self.run(pixels, self.tables.get(
            ('place', pixels.shape[-1], place.device, place.dtype), lambda: self._place(pixels)))

    def _place(self, pixels: Tensor) -> Tensor:
        backbone = self.model.vision_encoder.backbone
        stride = backbone.patch_embed.projection.stride
        return backbone._get_pos_embed(
            (pixels.shape[-2] // stride[0], pixels.shape[-1] // stride[1]))

    def forward(self, pixels: Tensor, place: Tensor) -> Features:
        """pixels [B, 3, S, S]; place: the position embedding [1, S/4, S/4, C0]."""
        vision, decoder = self.model.vision_encoder, self.model.mask_decoder
        backbone, neck = vision.backbone, vision.neck
        x = (backbone.patch_embed(pixels) + place).contiguous()
        levels = []
        for index, block in enumerate(backbone.blocks):
            x = _block(block, x)
            if index in backbone.stage_ends:
                levels.append(x)
        top, coarse = (_pointwise(conv, level) for conv, level in
                       zip(neck.convs[:2], (levels[3], levels[2])))
        # the coarsest level is added to the next one, each of its cells to four
        coarse = coarse.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)) + top[:, :, None, :, None]
        coarse = coarse.flatten(3, 4).flatten(1, 2)
        eighth = _pointwise(decoder.conv_s1, levels[1], after=neck.convs[2])
        quarter = _pointwise(decoder.conv_s0, levels[0], after=neck.convs[3])
        return Features(coarse.permute(0, 3, 1, 2), (_by_cell(quarter, 2), _by_cell(eighth, 1)))


def _pointwise(conv: nn.Conv2d, x: Tensor, after: nn.Conv2d | None = None) -> Tensor:
    """A 1 x 1 convolution of x [..., C]; `after` another one, the two as one matrix."""
    weight, bias = conv.weight.flatten(1), conv.bias
    if after is not None:
        bias = weight @ after.bias + bias
        weight = weight @ after.weight.flatten(1)
    return F.linear(x, weight, bias)


def _by_cell(x: Tensor, halvings: int) -> Tensor:
    """[B, H, W, c] -> [B, hw, 4 ** halvings, c]: the order in which doubling a coarse map
    `halvings` times makes its cells."""
    batch, height, width, channels = x.shape
    rows = (height >> halvings, *(2,) * halvings)
    columns = (width >> halvings, *(2,) * halvings)
    x = x.reshape(batch, *rows, *columns, channels)
    order = [0]
    for level in range(halvings + 1):
        order += [1 + level, 2 + halvings + level]
    x = x.permute(*order, x.ndim - 1)
    return x.reshape(batch, rows[0] * columns[0], 4 ** halvings, channels)


def _block(block: nn.Module, x: Tensor) -> Tensor:
    """One block of Hiera, x [B, H, W, C]; its first of a stage halves the map."""
    normed = block.layer_norm1(x)
    if block.dim != block.dim_out:
        x = _pool(block.proj(normed), block.query_stride)
    batch, height, width, _ = normed.shape
    side = block.window_size
    if not side:
        attended = _attend(block.attn, normed)
    else:
        down, right = -height % side, -width % side
        if down or right:
            normed = F.pad(normed, (0, 0, 0, right, 0, down))
        high, wide = (height + down) // side, (width + right) // side
        windows = normed.unflatten(2, (wide, side)).unflatten(1, (high, side)).transpose(2, 3)
        attended = _attend(block.attn, windows.flatten(0, 2))
        attended = attended.unflatten(0, (batch, high, wide)).transpose(2, 3)
        attended = attended.flatten(3, 4).flatten(1, 2)[:, :x.shape[1], :x.shape[2]]
    x = x + attended
    return x + block.mlp(block.layer_norm2(x))


def _attend(attn: nn.Module, x: Tensor) -> Tensor:
    """Attention within each map of x [B, H, W, C], the queries pooled where the stage asks."""
    batch, height, width, _ = x.shape
    query, key, value = attn.qkv(x).chunk(3, dim=-1)
    if attn.query_stride:
        query = _pool(query, attn.query_stride)
        height, width = query.shape[1:3]
    query, key, value = (
        each.reshape(batch, -1, attn.num_attention_heads, each.shape[-1]
                     // attn.num_attention_heads).transpose(1, 2)
        for each in (query, key, value))
    out = F.scaled_dot_product_attention(query, key, value)
    return attn.proj(out.transpose(1, 2).reshape(batch, height, width, -1))


def _pool(x: Tensor, stride: tuple[int, int] | None) -> Tensor:
    if not stride:
        return x
    return F.max_pool2d(x.permute(0, 3, 1, 2), stride, stride).permute(0, 2, 3, 1)
