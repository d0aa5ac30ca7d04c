# SPDX-License-Identifier: Apache-2.0
"""Linear layers whose matrix products run in bfloat16 while everything else stays float32.

On CPUs with AVX512-BF16 a training step takes about a fifth less, on others four times as long;
weights, gradients and the optimiser are float32 as before. On a GPU it is attention that is worth
it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrefer_model.device import devices
from pixelrefer_model.pixelrefer.attention import Sdpa
from pixelrefer_model.pixelrefer.batch import Group


def multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions for it; False where nobody can tell."""
    return bool(devices()[-1].bf16)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        low_x, low_weight = x.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(low_x, low_weight)
        ctx.biased = bias is not None
        return F.linear(low_x, low_weight, bias.bfloat16() if ctx.biased else None).float()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        low = gradient.bfloat16()
        rows = low.flatten(0, -2)
        bias = gradient.flatten(0, -2).sum(0) if ctx.biased else None
        own = (rows.T @ x.flatten(0, -2)).float() if ctx.needs_input_grad[1] else None
        return (low @ weight).float(), own, bias


def low_precision_products(model: nn.Module) -> None:
    """Make every nn.Linear inside `model` multiply in bfloat16."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.forward = _forward_of(module)


def _forward_of(module: nn.Linear):
    return lambda x: _Product.apply(x, module.weight, module.bias)


class LowSdpa(Sdpa):
    """Attention of the vision tower in bfloat16, for which GPUs have far better kernels."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, groups: Sequence[Group]
                 ) -> Tensor:
        return super().__call__(query.bfloat16(), key.bfloat16(), value.bfloat16(),
                                groups).float()
