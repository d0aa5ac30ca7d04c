# SPDX-License-Identifier: Apache-2.0
"""Image arithmetic of whole images: pixel budget, patches, image tokens and which of them stay."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.pixelrefer.configuration_pixelrefer import PixelReferConfig
from pixelrefer_model.pixelrefer.policy import EncodePolicy

#: Fewest patches of an encoded image; a smaller one is enlarged.
FEWEST_PATCHES = 16
#: A token of a video frame stays if its pixels differ from those of the frame before by more than
#: this on average, where 255 stands for a difference of 1 in normalised pixel values.
STATIC_DIFFERENCE = 0.1


@dataclass(frozen=True)
class ImageInputs:
    """Whole images (or the frames of a video) that the language model will see.

    patches: per image uint8 [h*w, 3*P*P]. grids: int32 [M, 2], rows and columns of patches. merge:
    patches along a side that are averaged into one image token. kept: per image bool [S], the
    tokens in raster order that go into the prompt; every image keeps at least one.
    """

    patches: list[np.ndarray] = field(repr=False)
    grids: np.ndarray
    merge: int
    kept: list[np.ndarray] = field(repr=False)

    def __len__(self) -> int:
        return len(self.patches)

    @property
    def tokens(self) -> list[int]:
        """Tokens in the prompt of each image."""
        return [int(kept.sum()) for kept in self.kept]


def prepare_images(images: Sequence[np.ndarray], config: PixelReferConfig,
                   policy: EncodePolicy) -> ImageInputs:
    """Images for the prompt, every patch a token; uint8 [H, W, 3] RGB each.

    Raises PixelReferError BAD_IMAGE if one is over 200 times as long as wide.
    """
    patches, grids = [], []
    for fitted in _fitted(images, config, policy, 1):
        patches.append(patchify(fitted, config.patch_size))
        grids.append((fitted.shape[0] // config.patch_size, fitted.shape[1] // config.patch_size))
    return ImageInputs(patches, np.array(grids, np.int32).reshape(-1, 2), 1,
                       [np.ones(len(p), bool) for p in patches])


def prepare_video(frames: Sequence[np.ndarray], config: PixelReferConfig, policy: EncodePolicy,
                  dtype: torch.dtype = torch.float32) -> ImageInputs:
    """Frames for the prompt, a square of patches a token, static tokens left out.

    frames: uint8 [H, W, 3] RGB, all of one size. dtype: the model's; differences between frames
    are taken in it. Raises PixelReferError BAD_IMAGE for frames of several sizes.
    """
    if len({frame.shape for frame in frames}) > 1:
        raise PixelReferError('BAD_IMAGE', 'the frames of a video have several sizes; one is '
                                           'allowed')
    merge, patch = config.spatial_merge_size, config.patch_size
    fitted = _fitted(frames, config, policy, merge)
    patches = [patchify(frame, patch) for frame in fitted]
    grid = (fitted[0].shape[0] // patch, fitted[0].shape[1] // patch) if fitted else (0, 0)
    return ImageInputs(patches, np.array([grid] * len(fitted), np.int32).reshape(-1, 2), merge,
                       moving_tokens(fitted, merge * patch, dtype))


def _fitted(images: Sequence[np.ndarray], config: PixelReferConfig, policy: EncodePolicy,
            merge: int) -> list[np.ndarray]:
    """The images at sizes that share the budget of the call, in tokens, among them."""
    most = config.mm_max_length
    if policy.image_patches is not None:
        most = min(most, policy.image_patches)
    side = config.patch_size * merge
    budget = most * side * side // max(len(images), 1)
    return [fit_to_budget(image, budget, config.patch_size, merge) for image in images]


def moving_tokens(frames: Sequence[np.ndarray], side: int,
                  dtype: torch.dtype = torch.float32) -> list[np.ndarray]:
    """Which squares of `side` pixels differ from the frame before: bool [S] per frame.

    All of the first frame are kept, and the first of a frame in which nothing moved.
    """
    table = normalised(torch.arange(256, dtype=torch.uint8), dtype)
    kept, before = [], None
    for frame in frames:
        now = table[torch.from_numpy(patchify(frame, side)).int()]
        if before is None:
            moved = torch.ones(len(now), dtype=torch.bool)
        else:
            moved = (now - before).abs().mean(dim=1) * 255 > STATIC_DIFFERENCE
            moved[0] |= not moved.any()
        kept.append(moved.numpy())
        before = now
    return kept


def normalised(pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """uint8 0..255 to -1..1 in one pass over the pixels in float32, then rounded to `dtype`.

    Rounded to 16 bits it is what the published code has, for each of the 256 values.
    """
    offset = torch.tensor(-1, dtype=torch.float32, device=pixels.device)
    return torch.add(offset, pixels, alpha=2 / 255).to(dtype)


def fit_to_budget(image: np.ndarray, max_pixels: int, patch: int, merge: int = 1) -> np.ndarray:
    """Resize to whole squares of `merge` x `merge` patches, at least 16 patches and at most
    `max_pixels` pixels in all (bicubic).

    Returned as it is when it fits. Raises PixelReferError BAD_IMAGE if over 200 times as long as
    wide.
    """
    height, width = image.shape[:2]
    side, min_pixels = patch * merge, FEWEST_PATCHES * patch * patch
    if height < side:
        height, width = side, round(side / height * width)
    if width < side:
        height, width = round(side / width * height), side
    if max(height, width) / min(height, width) > 200:
        raise PixelReferError('BAD_IMAGE', f'an image of {width}x{height} pixels is too elongated; '
                                           'up to 200 to 1 is allowed')
    rows, columns = round(height / side), round(width / side)
    if rows * columns * side * side > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows = max(1, math.floor(height / shrink / side))
        columns = max(1, math.floor(width / shrink / side))
    elif rows * columns * side * side < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows, columns = (math.ceil(length * grow / side) for length in (height, width))
    size = columns * side, rows * side
    if size == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def patchify(image: np.ndarray, patch: int) -> np.ndarray:
    """uint8 [h*P, w*P, 3] to [h*w, 3*P*P]: patches in raster order, inside (channel, row, col)."""
    rows, columns = image.shape[0] // patch, image.shape[1] // patch
    blocks = image.reshape(rows, patch, columns, patch, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(blocks).reshape(rows * columns, 3 * patch * patch)
