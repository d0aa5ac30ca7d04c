# SPDX-License-Identifier: Apache-2.0
"""RegionEncoder: an image and masks in, object tokens out, and for a model that sees whole images
their tokens too."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pixelrefer_model.device import guarded
from pixelrefer_model.pixelrefer.batch import RegionBatch, collate
from pixelrefer_model.pixelrefer.loading import digest
from pixelrefer_model.pixelrefer.modeling_pixelrefer import PixelRefer, PixelReferModel
from pixelrefer_model.pixelrefer.policy import EncodePolicy
from pixelrefer_model.pixelrefer.processing_image import (
    ImageInputs, prepare_images, prepare_video)
from pixelrefer_model.pixelrefer.processing_pixelrefer import RegionInputs, prepare_regions

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodedRegions:
    """tokens: [R, K, D] on the CPU; of a model whose regions have up to K tokens a list of [n, D].
    index: int64 [R], which mask each row is of: every one in order, without the empty ones where
    the policy skips them. missed: bool [R], true where the mask is so thin that none of it is left
    at the patches, so that the tokens rest on the policy's fallback. images: tokens [S, D] of each
    whole image or frame on the CPU; none where the model does not see them."""

    tokens: Tensor | list[Tensor]
    index: np.ndarray
    missed: np.ndarray
    images: Sequence[Tensor] = ()


@dataclass(frozen=True)
class TowerCalls:
    """What the vision tower was asked so far: passes and patches."""

    calls: int
    patches: int


class RegionEncoder:
    """Object tokens of regions, with one packed pass of the vision tower per call.

    Not thread-safe: one worker owns it.
    """

    #: Most moments of one object that the model was trained to read in one prompt; None: any.
    moments: int | None = None

    def __init__(self, model: PixelReferModel,
                 policy: EncodePolicy = EncodePolicy.robot()) -> None:
        self.model = model
        self.config = model.config
        self.policy = policy
        #: Regions so far whose mask was too thin for the patches.
        self.missed = 0
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

        image: uint8 [H, W, 3] RGB. masks: bool [R, H, W]. R may be 0, and is the number of masks
        that are not empty where the policy skips empty ones: `encode_regions` says which. Raises
        PixelReferError MASK_SIZE, OUT_OF_MEMORY, or EMPTY_MASK where the policy refuses it.
        """
        return self.encode_regions([image], masks, [0] * len(masks)).tokens

    def encode_regions(self, images: Sequence[np.ndarray],
                       masks: np.ndarray | Sequence[np.ndarray],
                       image_of: Sequence[int]) -> EncodedRegions:
        """The same over several images: `image_of[r]` is the image of mask r.

        A mask that is too thin for the patches is counted in `missed` and warned of in the log.
        """
        inputs = self._prepare(images, masks, image_of)
        if not len(inputs):
            empty = torch.zeros(0, self.config.mask_num, self.config.language.hidden_size,
                                dtype=self.model.dtype)
            return EncodedRegions(empty, inputs.index, inputs.missed)
        tokens, = self._run(lambda batch: (self.model.region_tokens(batch),),
                            collate([inputs], self.policy.kmeans))
        return EncodedRegions(tokens.clone(), inputs.index, inputs.missed)

    def _prepare(self, images: Sequence[np.ndarray], masks: np.ndarray | Sequence[np.ndarray],
                 image_of: Sequence[int]) -> RegionInputs:
        inputs = prepare_regions(images, list(masks), image_of, self.config, self.policy)
        self._warn_of(inputs.missed)
        return inputs

    def _run(self, encode: Callable[[RegionBatch], tuple[Tensor, ...]],
             batch: RegionBatch) -> list[Tensor]:
        """What `encode` makes of a batch, on the CPU. They are inference tensors: clone what is to
        be kept, lest it could not be used in training later on.

        Raises PixelReferError OUT_OF_MEMORY; what the attempt held is free again then.
        """
        def run() -> list[Tensor]:
            with torch.inference_mode():
                return [made.cpu() for made in encode(batch.to(self.model.device))]

        return guarded(
            run, device=self.model.device, what=f'to encode {len(batch)} regions '
            f'({len(batch.patches)} patches) at once; fewer are allowed')

    def _warn_of(self, missed: np.ndarray) -> None:
        """Count thin masks; log the 1st, the 2nd, the 4th, the 8th, ..., so that a wire seen in
        every frame does not fill the log."""
        before = self.missed
        self.missed += int(missed.sum())
        if self.missed.bit_length() > before.bit_length():
            _log.warning(
                'a mask is empty or too thin for the patches of its crop, and its object tokens '
                'rest on the fallback %r; %d such masks so far', self.policy.missed, self.missed)


class ImageEncoder(RegionEncoder):
    """The same for a PixelRefer: object tokens and the tokens of the whole image, in one pass."""

    moments = 1

    def encode_regions(self, images: Sequence[np.ndarray],
                       masks: np.ndarray | Sequence[np.ndarray],
                       image_of: Sequence[int]) -> EncodedRegions:
        """Tokens of every image, seen or not by a mask, and of every region. No pass where every
        mask is skipped."""
        regions = self._prepare(images, masks, image_of)
        if not len(regions):
            return EncodedRegions([], regions.index, regions.missed)
        return self._encode(regions, prepare_images(images, self.config, self.policy))

    def encode_video(self, frames: Sequence[np.ndarray], masks: np.ndarray | Sequence[np.ndarray],
                     image_of: Sequence[int],
                     mask_frames: Sequence[np.ndarray] | None = None) -> EncodedRegions:
        """Tokens of the frames of a video, without what does not move, and of regions in it.

        frames: uint8 [H, W, 3], all of one size. masks: [H, W] of the frames `image_of` names,
        counted in `mask_frames` where the masks are of other frames. Raises what `encode` raises,
        and BAD_IMAGE for frames of several sizes.
        """
        regions = self._prepare(frames if mask_frames is None else mask_frames, masks, image_of)
        return self._encode(regions, prepare_video(frames, self.config, self.policy,
                                                   self.model.dtype))

    def _encode(self, regions: RegionInputs, images: ImageInputs) -> EncodedRegions:
        batch = collate([regions], self.policy.kmeans, images)
        objects, seen = self._run(self.model.encode, batch)
        return EncodedRegions(
            [tokens[:n].clone() for tokens, n in zip(objects, batch.counts, strict=True)],
            regions.index, regions.missed,
            [tokens.clone() for tokens in seen.split(images.tokens)])


def encoder_for(model: PixelReferModel,
                policy: EncodePolicy = EncodePolicy.robot()) -> RegionEncoder:
    """The encoder of a model's variant."""
    return (ImageEncoder if isinstance(model, PixelRefer) else RegionEncoder)(model, policy)
