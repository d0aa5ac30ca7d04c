# SPDX-License-Identifier: Apache-2.0
"""The memory encoder: a frame and each object's mask become a memory of 64 channels per cell.

Batched over objects; the frame's part is computed once. "SAM 2" (arXiv:2408.00714, appendix D.1).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrefer_model.sam2.rows import apply_each

#: Layer norms over at most so many channels are written out: the library's kernel works row by
#: row, and a row of 4 numbers costs it as much as one of 64.
_NARROW = 16


def remember(model: nn.Module, coarse: Tensor, masks: Tensor) -> Tensor:
    """coarse [N or 1, C, h, w], masks [N, S, S] as the network was trained to see them ->
    memories [N, hw, 64]."""
    encoder = model.memory_encoder
    x = masks[:, None].to(coarse.dtype)
    for layer in encoder.mask_downsampler.layers:
        x = layer.activation(_norm(apply_each(layer.conv, x), layer.layer_norm))
    x = _pointwise(encoder.mask_downsampler.final_conv, x.permute(0, 2, 3, 1))
    x = x + _pointwise(encoder.feature_projection, coarse.permute(0, 2, 3, 1))
    for layer in encoder.memory_fuser.layers:
        mixed = apply_each(layer.depthwise_conv, x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        norm = layer.layer_norm
        mixed = F.layer_norm(mixed, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        x = x + layer.scale * layer.pointwise_conv2(
            layer.activation(layer.pointwise_conv1(mixed)))
    return _pointwise(encoder.projection, x).flatten(1, 2)


def _pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1 x 1 convolution of x [..., C]."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)


def _norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Layer norm over the channels of x [N, c, H, W]."""
    if x.shape[1] > _NARROW:
        x = F.layer_norm(x.permute(0, 2, 3, 1), norm.normalized_shape, norm.weight, norm.bias,
                         norm.eps)
        return x.permute(0, 3, 1, 2)
    wide = x.float()
    wide = wide - wide.mean(1, keepdim=True)
    scale = torch.rsqrt((wide * wide).mean(1, keepdim=True) + norm.eps)
    weight, bias = (each[:, None, None].float() for each in (norm.weight, norm.bias))
    return torch.addcmul(bias, wide * scale, weight).to(x.dtype)
