# SPDX-License-Identifier: Apache-2.0
"""RegionEncoder: an image and masks in, object tokens out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pixelrefer_model.pixelrefer.batch import collate
from pixelrefer_model.pixelrefer.loading import digest
from pixelrefer_model.pixelrefer.modeling_pixelrefer import PixelReferLite
from pixelrefer_model.pixelrefer.policy import EncodePolicy
from pixelrefer_model.pixelrefer.processing_pixelrefer import prepare_regions


@dataclass(frozen=True)
class EncodedRegions:
    """tokens: [R, K, D] on the CPU. missed: bool [R], true where the mask is so thin that none of
    it is left at the patches, so that the tokens rest on the policy's fallback."""

    tokens: Tensor
    missed: np.ndarray


@dataclass(frozen=True)
class TowerCalls:
    """What the vision tower was asked so far: passes and patches."""

    calls: int
    patches: int


class RegionEncoder:
    """Object tokens of regions, with one packed pass of the vision tower per call.

    Not thread-safe: one worker owns it.
    """

    def __init__(self, model: PixelReferLite,
                 policy: EncodePolicy = EncodePolicy.robot()) -> None:
        self.model = model
        self.config = model.config
        self.policy = policy
        self._digest = digest(model)

    @property
    def key(self) -> str:
        """What the tokens are made with: weights, policy, dtype. Only equal keys may meet."""
        dtype = str(self.model.dtype).removeprefix('torch.')
        return f'{self._digest}/{self.policy!r}/{dtype}'

    @property
    def calls(self) -> TowerCalls:
        """Count of tower passes and patches; grows by one pass per `encode`."""
        return TowerCalls(self.model.tower.calls, self.model.tower.patches)

    def encode(self, image: np.ndarray, masks: np.ndarray | Sequence[np.ndarray]) -> Tensor:
        """Object tokens [R, K, D] on the CPU, in the model's dtype.

        image: uint8 [H, W, 3] RGB. masks: bool [R, H, W]. R may be 0. Raises PixelReferError
        MASK_SIZE, or EMPTY_MASK where the policy refuses it.
        """
        return self.encode_regions([image], masks, [0] * len(masks)).tokens

    def encode_regions(self, images: Sequence[np.ndarray],
                       masks: np.ndarray | Sequence[np.ndarray],
                       image_of: Sequence[int]) -> EncodedRegions:
        """The same over several images: `image_of[r]` is the image of mask r."""
        if not len(masks):
            empty = torch.zeros(0, self.config.mask_num, self.config.language.hidden_size,
                                dtype=self.model.dtype)
            return EncodedRegions(empty, np.zeros(0, bool))
        inputs = prepare_regions(images, list(masks), image_of, self.config, self.policy)
        batch = collate([inputs], self.policy.kmeans).to(self.model.device)
        with torch.inference_mode():
            tokens = self.model.region_tokens(batch).cpu()
        # An inference tensor could not be kept and used in training later on.
        return EncodedRegions(tokens.clone(), inputs.missed)
