# SPDX-License-Identifier: Apache-2.0
"""Linear layers for a handful of tokens on a CPU, where weights are all that is read."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

#: With more rows the usual product is as good.
MOST_ROWS = 16
#: Smaller models fit in the processor's caches, where the copy costs less than looking for it.
LEAST_WEIGHTS = 1 << 22


class FewRows(TorchFunctionMode):
    """While active, float32 products of 2 to 16 rows with a weight are taken weight first.

    The usual order makes the library copy the weight into another layout at every call, which
    takes about as long as reading it; with the weight as the left factor it is read as it lies.
    """

    @staticmethod
    def helps(rows: int, weight: Tensor) -> bool:
        """Whether so many rows gain by it in a model with this output layer."""
        return (2 <= rows <= MOST_ROWS and weight.nelement() >= LEAST_WEIGHTS
                and weight.device.type == 'cpu' and weight.dtype == torch.float32)

    def __torch_function__(self, function: Callable, types: object, arguments: tuple = (),
                           named: dict | None = None) -> object:
        if function is F.linear and len(arguments) > 1 and type(arguments[1]) is nn.Parameter:
            return linear(*arguments, **named or {})
        return function(*arguments, **named or {})


def linear(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As F.linear, with the weight as the left factor."""
    columns = values.flatten(0, -2).t()
    made = torch.mm(weight, columns) if bias is None else torch.addmm(
        bias[:, None], weight, columns)
    return made.t().contiguous().view(*values.shape[:-1], -1)
