# SPDX-License-Identifier: Apache-2.0
"""Weight-only quantization of the language model's linear layers, by torchao."""

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import nn

from pixelrefer_model.errors import PixelReferError

if TYPE_CHECKING:
    from pixelrefer_model.pixelrefer.modeling_pixelrefer import PixelReferModel

Quantization = Literal['none', 'int8', 'int4']
#: Weights of a row that share a scale in int4; in int8 the whole row does.
GROUP = 64


def quantize(model: 'PixelReferModel', quantization: Quantization) -> None:
    """Store the weights of the decoder layers in 8 or 4 bits, in place; 'none' leaves them.

    Encoders, embeddings and output layer stay as they are, so object tokens and their key do not
    change. Answers do: `benchmarks/quantization.py` measures by how much. int4 is packed two to a
    byte on CUDA (which needs bfloat16); elsewhere it is int4 in value but takes a byte each.

    Raises PixelReferError UNSUPPORTED, changing nothing, if torchao is not installed, or for a
    value, a width or a dtype that is not supported.
    """
    if quantization not in get_args(Quantization):
        raise PixelReferError('UNSUPPORTED', f'quantization {quantization!r}; '
                              f'{", ".join(get_args(Quantization))} are allowed')
    if quantization == 'none':
        return
    try:
        from torchao.quantization import quantize_
    except ImportError as error:
        raise PixelReferError(
            'UNSUPPORTED', f'quantization {quantization} needs the package torchao, which cannot '
            f'be imported ({error}); pip install torchao') from None
    widths = {m.in_features for m in model.model.layers.modules() if isinstance(m, nn.Linear)}
    odd = sorted(width for width in widths if width % GROUP)
    if quantization == 'int4' and odd:
        raise PixelReferError('UNSUPPORTED', f'int4 needs layers whose width is a multiple of '
                                             f'{GROUP}; this model has {odd[0]}')
    if quantization == 'int4' and model.device.type == 'cuda' and model.dtype != torch.bfloat16:
        raise PixelReferError('UNSUPPORTED', 'int4 on CUDA needs bfloat16, not '
                              f'{str(model.dtype).removeprefix("torch.")}')
    quantize_(model.model.layers, _config(quantization, model.device))


def _config(quantization: Quantization, device: torch.device) -> object:
    """torchao's own name for it."""
    from torchao.quantization import (
        Int4WeightOnlyConfig, Int8WeightOnlyConfig, IntxWeightOnlyConfig)
    from torchao.quantization.granularity import PerGroup
    if quantization == 'int8':
        return Int8WeightOnlyConfig()
    if device.type == 'cuda':
        return Int4WeightOnlyConfig(
            group_size=GROUP, int4_packing_format='tile_packed_to_4d')
    return IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(GROUP))
