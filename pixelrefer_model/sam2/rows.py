# SPDX-License-Identifier: Apache-2.0
"""Layers that no other object changes one bit of, however many there are in the batch.

Libraries for a CPU choose their kernel, and so the order of their sums, by the size of the batch
where products have a single row and in convolutions. It matters: memories are rounded to bfloat16,
and what is rounded otherwise shows in the masks. Products of many rows and attention have no such
choice, as far as was seen, and are batched.
"""

from collections.abc import Callable

import torch
from torch import Tensor

#: With so many copies of each row every number of objects takes the kernel for several rows.
_COPIES = 8


def apply_rows(layer: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """`layer` of rows [N, C] -> [N, C'], the same bits for a row whatever the others are."""
    if rows.device.type != 'cpu':
        return layer(rows)
    return layer(rows.repeat_interleave(_COPIES, dim=0))[::_COPIES]


def apply_each(convolution: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
    """`convolution` of maps [N, c, H, W], one after the other on a CPU."""
    if maps.device.type != 'cpu' or len(maps) == 1:
        return convolution(maps)
    return torch.cat([convolution(each) for each in maps.split(1)])
