# SPDX-License-Identifier: Apache-2.0
"""Tables that depend on sizes only, made once instead of at every frame."""

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

#: Sizes, devices and types that are kept at a time; a network has one of each.
MOST_TABLES = 8


class Tables:
    """Tensors under a key of what they depend on. Bounded by MOST_TABLES, the oldest goes first."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Tensor] = {}

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The table of `key`, made if it is not there."""
        if key not in self._made:
            # a tensor of inference mode could not be used in training afterwards
            with torch.inference_mode(False), torch.no_grad():
                table = make()
            while len(self._made) >= MOST_TABLES:
                del self._made[next(iter(self._made))]
            self._made[key] = table
        return self._made[key]
