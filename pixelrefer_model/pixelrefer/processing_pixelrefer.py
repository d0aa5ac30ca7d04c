# SPDX-License-Identifier: Apache-2.0
"""Image arithmetic of regions: crops, mask grids, context images, patches, selected cells.

Nothing here depends on weights, so a data loader can run it once and keep the result.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.pixelrefer.configuration_pixelrefer import FULL, LITE, PixelReferConfig
from pixelrefer_model.pixelrefer.policy import EncodePolicy
from pixelrefer_model.pixelrefer.processing_image import fit_to_budget, patchify


@dataclass(frozen=True)
class RegionCrop:
    """A region cut out at its own scale.

    image: uint8 [h, w, 3], sides multiples of the patch. context: uint8, the same crop unscaled.
    mask_grid: [gh, gw], the mask at the patches, float32 in Lite and of the mask's own type
    otherwise; a cell counts where it is over 0. box: (top, left, bottom, right) of the crop in
    pixels of the image, ends inclusive in Lite and exclusive otherwise.
    """

    image: np.ndarray = field(repr=False)
    context: np.ndarray = field(repr=False)
    mask_grid: np.ndarray = field(repr=False)
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class RegionInputs:
    """Everything of one call that the weights are applied to: regions of one or more images.

    patches: per encoded image uint8 [h*w, 3*P*P]: the crops, then in Lite the unique globals, then
    the unique locals. grids: int32 [M, 2], rows and columns of each. crop, global_, local: int32
    [R], the encoded image that a region uses; the last two are None where it uses none. cells: per
    region int32 [n, T], rows of its crop's patches that make a selected cell (T is 1, or 4 where
    features are resized to the mask grid), and weights float32 [n, T]. coordinates: per region
    float32 [n, 2], position of each selected cell. boxes: int32 [R, 4] (top, left, bottom, right)
    as in RegionCrop. missed: bool [R], true where the plain resize of the mask to the grid leaves
    no cell. index: int64 [R], which mask of the call each region is; some are missing where the
    policy skips empty ones. k: object tokens per region.
    """

    patches: list[np.ndarray] = field(repr=False)
    grids: np.ndarray
    crop: np.ndarray
    global_: np.ndarray | None
    local: np.ndarray | None
    cells: list[np.ndarray] = field(repr=False)
    weights: list[np.ndarray] = field(repr=False)
    coordinates: list[np.ndarray] = field(repr=False)
    boxes: np.ndarray
    missed: np.ndarray
    index: np.ndarray
    k: int

    def __len__(self) -> int:
        return len(self.crop)

    @property
    def patch_count(self) -> int:
        """Patches that the vision tower will see."""
        return sum(len(p) for p in self.patches)

    def take(self, regions: Sequence[int]) -> 'RegionInputs':
        """Only these regions, in this order, with only the images they use."""
        regions = list(regions)
        used = [None if images is None else images[regions].tolist()
                for images in (self.crop, self.global_, self.local)]
        kept = [i for images in used if images is not None for i in dict.fromkeys(images)]
        place = {image: new for new, image in enumerate(kept)}
        renumber = [None if images is None else np.array([place[i] for i in images], np.int32)
                    for images in used]
        return RegionInputs(
            [self.patches[i] for i in kept], self.grids[kept], *renumber,
            [self.cells[i] for i in regions], [self.weights[i] for i in regions],
            [self.coordinates[i] for i in regions], self.boxes[regions], self.missed[regions],
            self.index[regions], self.k)


@dataclass(frozen=True)
class RegionImages:
    """The images of a call before budget and patching: crops, unique globals, unique locals.

    global_of, local_of: per region the position in `globals_` and `locals_`; all four are empty
    for a model that sees the whole image itself. sizes: per region
    (H, W) of its source image. missed: per region, the resized mask has no cell (the policy's
    fallback may have found some). index: per region, which mask of the call it is.
    """

    crops: list[RegionCrop]
    globals_: list[np.ndarray]
    locals_: list[np.ndarray]
    global_of: list[int]
    local_of: list[int]
    sizes: list[tuple[int, int]]
    missed: list[bool]
    index: list[int]


def prepare_regions(images: Sequence[np.ndarray], masks: Sequence[np.ndarray],
                    image_of: Sequence[int], config: PixelReferConfig,
                    policy: EncodePolicy) -> RegionInputs:
    """Crops to patches, for R regions of one call.

    images: uint8 [H, W, 3] RGB each. masks: bool (or 0/1) [H, W] per region; a model that sees the
    whole image resizes those of a floating type as such. image_of: per region the index of its
    image. Raises PixelReferError EMPTY_MASK (if the policy refuses one), MASK_SIZE, or BAD_IMAGE.
    """
    return pack_regions(region_images(images, masks, image_of, config, policy), config, policy)


def region_images(images: Sequence[np.ndarray], masks: Sequence[np.ndarray],
                  image_of: Sequence[int], config: PixelReferConfig,
                  policy: EncodePolicy) -> RegionImages:
    """The first half of `prepare_regions`: every crop, global and local image of the call."""
    out = RegionImages([], [], [], [], [], [], [], [])
    global_at: dict[int, int] = {}
    local_at: dict[int, int] = {}
    for index, (mask, source) in enumerate(zip(masks, image_of, strict=True)):
        image = images[source]
        if mask.shape != image.shape[:2]:
            raise PixelReferError('MASK_SIZE', f'mask {index} is {mask.shape[1]}x{mask.shape[0]}; '
                                  f'its image is {image.shape[1]}x{image.shape[0]}')
        if policy.empty == 'skip' and not mask.any():
            continue
        crop, missed = crop_region(image, mask, config, policy)
        out.crops.append(crop)
        out.sizes.append(image.shape[:2])
        out.missed.append(missed)
        out.index.append(index)
        if config.model_type == FULL:
            continue
        if source not in global_at:
            global_at[source] = len(out.globals_)
            out.globals_.append(_squeeze(image, config.global_image_size))
        place = source if policy.local_crop == 'published' else index
        if place not in local_at:
            local_at[place] = len(out.locals_)
            out.locals_.append(_squeeze(crop.context, config.local_image_size))
        out.global_of.append(global_at[source])
        out.local_of.append(local_at[place])
    return out


def pack_regions(images: RegionImages, config: PixelReferConfig,
                 policy: EncodePolicy) -> RegionInputs:
    """The second half of `prepare_regions`: budget, patches, selected cells, positions."""
    count, patch = len(images.crops), config.patch_size
    divisor = max(count, 1) if policy.budget_divisor == 'regions' else 1
    patches, grids = [], []
    for image in [*(c.image for c in images.crops), *images.globals_, *images.locals_]:
        fitted = fit_to_budget(image, config.mm_max_length * patch * patch // divisor, patch)
        patches.append(patchify(fitted, patch))
        grids.append((fitted.shape[0] // patch, fitted.shape[1] // patch))
    cells, weights, coordinates = [], [], []
    for crop, grid, size in zip(images.crops, grids, images.sizes, strict=False):
        selected, share = select_cells(crop.mask_grid, grid)
        position = cell_coordinates(crop.box, grid, size)
        cells.append(selected)
        weights.append(share)
        coordinates.append((position[selected] * share[..., None]).sum(axis=1, dtype=np.float32))
    lite = config.model_type == LITE
    return RegionInputs(
        patches, np.array(grids, np.int32).reshape(-1, 2), np.arange(count, dtype=np.int32),
        np.array(images.global_of, np.int32) + count if lite else None,
        np.array(images.local_of, np.int32) + count + len(images.globals_) if lite else None,
        cells, weights, coordinates,
        np.array([c.box for c in images.crops], np.int32).reshape(-1, 4),
        np.array(images.missed, bool), np.array(images.index, np.int64), config.mask_num)


def crop_region(image: np.ndarray, mask: np.ndarray, config: PixelReferConfig,
                policy: EncodePolicy) -> tuple[RegionCrop, bool]:
    """Cut one region out at its own scale (paper, scale-adaptive object tokenizer).

    Returns the crop and whether the mask, resized to its grid, has no cell at all. Raises
    PixelReferError EMPTY_MASK for an empty mask unless the policy makes it zeros (which Lite can
    alone), BAD_IMAGE where the image is too small to cut a crop with a pixel from.
    """
    patch, lite = config.patch_size, config.model_type == LITE
    binary = np.ascontiguousarray(mask, dtype=bool).astype(np.uint8)
    if not binary.any():
        if policy.empty != 'zeros' or not lite:
            raise PixelReferError('EMPTY_MASK', 'the mask has no pixel; at least 1 is needed')
        blank = np.zeros((patch, patch, 3), np.uint8)
        return RegionCrop(blank, image, np.zeros((1, 1), np.float32), (0, 0, 0, 0)), True
    top, left, bottom, right = crop_window(binary, config)
    context, cut = image[top:bottom, left:right], binary[top:bottom, left:right]
    height, width = context.shape[:2]
    if not height or not width:
        raise PixelReferError('BAD_IMAGE', f'an image of {image.shape[1]}x{image.shape[0]} pixels '
                                           'leaves no crop; at least 2 a side are needed')
    grid = crop_grid(height, width, int(binary.sum()), config, policy)
    target = grid[0] * patch, grid[1] * patch
    enlarge = not lite or target[0] >= height or target[1] >= width
    scaled = cv2.resize(context, (target[1], target[0]),
                        interpolation=cv2.INTER_LINEAR if enlarge else cv2.INTER_AREA)
    if lite:
        mask_grid = cv2.resize(cut.astype(np.float32), (grid[1], grid[0]),
                               interpolation=cv2.INTER_LINEAR).reshape(grid)
    else:
        # In the mask's own type: whole numbers are rounded to 0 or 1, shares stay shares.
        own = mask[top:bottom, left:right] if np.issubdtype(mask.dtype, np.floating) else cut
        mask_grid = F.interpolate(torch.from_numpy(np.ascontiguousarray(own))[None, None], grid,
                                  mode='bilinear')[0, 0].numpy()
    missed = not (mask_grid > 0).any()
    if missed and policy.missed == 'max_pool':
        mask_grid = touched_cells(cut, grid)
    box = (top, left, bottom - 1, right - 1) if lite else (top, left, bottom, right)
    return RegionCrop(scaled, context, mask_grid, box), missed


def crop_window(binary: np.ndarray, config: PixelReferConfig) -> tuple[int, int, int, int]:
    """Top, left and the exclusive bottom and right of a mask's box with its margin, clipped."""
    margin = config.patch_size * config.context_patches
    rows, columns = np.flatnonzero(binary.any(axis=1)), np.flatnonzero(binary.any(axis=0))
    bottom = min(binary.shape[0], int(rows[-1]) + 1 + margin)
    right = min(binary.shape[1], int(columns[-1]) + 1 + margin)
    # Where the whole image is seen, the published code takes inclusive ends for exclusive ones.
    less = 0 if config.model_type == LITE else 1
    return (max(0, int(rows[0]) - margin), max(0, int(columns[0]) - margin), bottom - less,
            right - less)


def crop_grid(height: int, width: int, area: int, config: PixelReferConfig,
              policy: EncodePolicy) -> tuple[int, int]:
    """Rows and columns of patches that a crop of this size with a mask of this area becomes.

    Small masks are enlarged by the whole factor that gives them K patches, large ones shrunk to
    `shrink_patches` patches. The policy's `crop_patches` bounds the result.
    """
    patch = config.patch_size
    scale = math.ceil(math.sqrt(patch * patch * config.mask_num / max(area, 1)))
    if scale == 1 and area / (patch * patch) > config.shrink_patches:
        scale = 1 / math.sqrt(area / (patch * patch) / config.shrink_patches)
    rows, columns = (math.ceil(side * scale / patch) for side in (height, width))
    most = config.crop_patches if policy.crop_patches == 'checkpoint' else policy.crop_patches
    if most is None or rows * columns <= most:
        return rows, columns
    scale = patch * math.sqrt(most / (height * width))
    rows = min(max(1, math.floor(height * scale / patch)), most)
    return rows, min(max(1, math.floor(width * scale / patch)), max(1, most // rows))


def touched_cells(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Max-pooling of a mask: float32 grid, 1 where any pixel of the mask lies in the cell."""
    out = np.zeros(grid, np.float32)
    rows, columns = np.nonzero(mask)
    out[rows * grid[0] // mask.shape[0], columns * grid[1] // mask.shape[1]] = 1
    return out


def cell_coordinates(box: tuple[int, int, int, int], grid: tuple[int, int],
                     size: tuple[int, int]) -> np.ndarray:
    """Position of every patch of a crop, float32 [h*w, 2].

    The published model runs the first coordinate over the columns but scales it by the rows of
    the box and the width of the image, and the second the other way round. The weights were
    trained so; it is kept. size: (H, W) of the source image.
    """
    top, left, bottom, right = box
    rows, columns = grid
    across = (np.arange(columns, dtype=np.float32) / np.float32(columns)
              * np.float32(bottom - top) + np.float32(top)) / np.float32(max(size[1] - 1, 1))
    down = (np.arange(rows, dtype=np.float32) / np.float32(rows)
            * np.float32(right - left) + np.float32(left)) / np.float32(max(size[0] - 1, 1))
    return np.stack([np.tile(across, rows), np.repeat(down, columns)], axis=1)


def select_cells(mask_grid: np.ndarray, grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Selected cells in row-major order, as rows of the encoded grid and their weights [n, T].

    Where the crop was resized once more to fit the budget, features are brought to the mask grid
    bilinearly (half-pixel centres, no antialias): four rows with weights make a cell.
    """
    rows, columns = np.nonzero(mask_grid > 0)
    if mask_grid.shape == tuple(grid):
        index = (rows * grid[1] + columns).astype(np.int32)[:, None]
        return index, np.ones(index.shape, np.float32)
    low_row, high_row, part_row = _taps(rows, mask_grid.shape[0], grid[0])
    low_column, high_column, part_column = _taps(columns, mask_grid.shape[1], grid[1])
    index = np.stack([r * grid[1] + c for r in (low_row, high_row)
                      for c in (low_column, high_column)], axis=1).astype(np.int32)
    share = np.stack([r * c for r in (1 - part_row, part_row)
                      for c in (1 - part_column, part_column)], axis=1)
    return index, share.astype(np.float32)


def _taps(at: np.ndarray, out_size: int, in_size: int) -> tuple[np.ndarray, ...]:
    source = np.maximum((at + 0.5) * (in_size / out_size) - 0.5, 0)
    low = np.minimum(np.floor(source).astype(np.int64), in_size - 1)
    return low, np.minimum(low + 1, in_size - 1), source - low


def _squeeze(image: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
