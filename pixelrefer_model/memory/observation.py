# SPDX-License-Identifier: Apache-2.0
"""An observation: one object at one keyframe, as the language model will know it."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch


@dataclass(frozen=True)
class Whereabouts:
    """Where an object was: position [3] in metres and covariance [3, 3] of its error, in `frame`."""

    frame: str
    position: np.ndarray
    covariance: np.ndarray


class Rle(NamedTuple):
    """A mask as COCO run lengths, and its size in pixels."""

    counts: str
    height: int
    width: int


@dataclass(frozen=True)
class Observation:
    """All that is kept of an object at a moment; the image itself is forgotten.

    stamp_ns: the image's own stamp. epoch: counts resets, so that times before and after one are
    never mixed. box: x, y, width, height in pixels of the frame; area: pixels of the mask.
    tokens: object tokens [K, D] on the CPU (of a model whose objects have up to K tokens, as many
    as there are). key: what they were made with (checkpoint and encode policy); tokens of different
    keys never meet in a prompt. image: tokens [S, D] of the whole frame, one tensor that all
    observations of the frame share; None where the model does not see it. where: its place, if that
    is known. reason: why it was made: 'interval', 'changed', or the event that it shows. mask: COCO
    run lengths, or None.
    """

    object_id: str
    stamp_ns: int
    camera: str
    epoch: int
    box: tuple[int, int, int, int]
    area: int
    tokens: torch.Tensor = field(repr=False)
    key: str
    image: torch.Tensor | None = field(default=None, repr=False)
    where: Whereabouts | None = None
    reason: str = 'interval'
    mask: Rle | None = field(default=None, repr=False)

    @property
    def bytes(self) -> int:
        """Bytes that the object tokens hold."""
        return self.tokens.element_size() * self.tokens.nelement()
