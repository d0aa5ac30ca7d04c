# SPDX-License-Identifier: Apache-2.0
"""Regions of one or more calls packed into the tensors of one forward pass.

    inputs = prepare_regions(images, masks, image_of, config, policy)   # once, may be kept
    batch = collate([inputs, ...])                                      # per step
    tokens = model.region_tokens(batch)                                 # [R, K, D]

All patches of all images lie in one row of length N; attention runs over groups of images of like
length, so no image is padded to more than a quarter over its own length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass

import numpy as np
import torch
from torch import Tensor

from pixelrefer_model.pixelrefer.policy import EvenlySpaced, KMeansInit
from pixelrefer_model.pixelrefer.processing_image import ImageInputs
from pixelrefer_model.pixelrefer.processing_pixelrefer import RegionInputs

#: An image joins a group whose longest is at most so many times its own length.
MOST_PADDING = 1.25


@dataclass(frozen=True)
class Group:
    """Sequences of like length, packed one after another from `start` on.

    start, stop: rows of the packed tensor. count: sequences. length: of the longest. pad: int64
    [count * length] rows relative to `start` (0 where padding), place: int64 [stop - start] where
    each row went, mask: bool [count, 1, 1, length]; all three None if all are equally long.
    """

    start: int
    stop: int
    count: int
    length: int
    pad: Tensor | None = None
    place: Tensor | None = None
    mask: Tensor | None = None


@dataclass(frozen=True)
class Clusters:
    """Regions of like number of cells that are to be clustered.

    index: int64 [B, n], rows of the packed cells (0 where padding); valid: bool [B, n]; first:
    int64 [B, K], where the centroids start.
    """

    index: Tensor
    valid: Tensor
    first: Tensor


@dataclass(frozen=True)
class Context:
    """Unique context images of a batch (global or local) and which regions look at each.

    rows: int64 [U, S], rows of the packed patches; mask: bool [U, 1, 1, S] or None if none is
    padding. regions: int64 [U, L], the regions that look at an image (0 where padding); place:
    int64 [R], where a region stands in `regions` read row by row.
    """

    rows: Tensor
    mask: Tensor | None
    regions: Tensor
    place: Tensor


@dataclass(frozen=True)
class Pictures:
    """Whole images of a batch and the patches that make their tokens.

    rows: int64 [S, T], packed patches that are averaged into one token, all images one after the
    other; kept: int64 [S'], the tokens that go into the prompt; counts: of them, per image.
    """

    rows: Tensor
    kept: Tensor
    counts: list[int]


@dataclass(frozen=True)
class RegionBatch:
    """R regions ready for the weights; made by `collate`, moved by `to`.

    patches: uint8 [N, 3*P*P]; positions: float32 [N, 2] (row, column) inside the image. cells:
    int64 [M, T] rows of the packed patches, weights float32 [M, T] or None where T is 1,
    coordinates: float32 [M, 2]; `bounds[i]:bounds[i+1]` are region i's. few: int64 [F, K] rows of
    the cells of regions with at most K cells and few_valid bool [F, K]. order: int64 [R], where
    each region's tokens are among (few, clusters...). counts: tokens of each region, at most K.
    global_, local: context images, pictures: whole ones, each None where the model sees none.
    starts: first packed row of each image.
    """

    patches: Tensor
    positions: Tensor
    groups: list[Group]
    cells: Tensor
    weights: Tensor | None
    coordinates: Tensor
    bounds: list[int]
    few: Tensor
    few_valid: Tensor
    clusters: list[Clusters]
    order: Tensor
    counts: list[int]
    global_: Context | None
    local: Context | None
    pictures: Pictures | None
    grids: np.ndarray
    starts: np.ndarray
    k: int

    def __len__(self) -> int:
        return len(self.order)

    def to(self, device: torch.device | str) -> 'RegionBatch':
        """The same on another device."""
        return moved(self, torch.device(device))


def collate(inputs: Sequence[RegionInputs], kmeans: KMeansInit = EvenlySpaced(),
            images: ImageInputs | None = None) -> RegionBatch:
    """Pack the regions of several calls; their order is kept (calls in order, regions inside).

    `kmeans` chooses the first centroids. Context images that several regions of a call share are
    encoded once. images: whole images, for a model that sees them. Raises ValueError if there is
    neither a region nor an image.
    """
    if not sum(len(i) for i in inputs) and not images:
        raise ValueError('no region to collate')
    patches = [p for i in inputs for p in i.patches]
    offsets = np.cumsum([0] + [len(i.patches) for i in inputs])
    crop, global_, local = (_numbered([getattr(i, name) for i in inputs], offsets)
                            for name in ('crop', 'global_', 'local'))
    grids = np.concatenate([i.grids for i in inputs] + ([images.grids] if images else []))
    patches += images.patches if images else []
    lengths = np.array([len(p) for p in patches])
    kinds = np.zeros(len(patches), np.int64)
    for kind, context in enumerate((global_, local), start=1):
        if context is not None:
            kinds[context] = kind
    kinds[offsets[-1]:] = 3
    order, groups = _group_images(lengths, kinds)
    starts = np.zeros(len(patches), np.int64)
    starts[order] = np.cumsum(lengths[order]) - lengths[order]

    position = np.concatenate([_positions(*grids[i]) for i in order])
    cells, weights = _cells(inputs, starts[crop])
    counts, k = [len(c) for i in inputs for c in i.cells], inputs[0].k
    few, few_valid, clusters, place = _pooling(counts, k, kmeans)
    coordinates = [np.zeros((0, 2), np.float32)] + [c for i in inputs for c in i.coordinates]
    return RegionBatch(
        torch.from_numpy(np.concatenate([patches[i] for i in order])), torch.from_numpy(position),
        groups, cells, weights, torch.from_numpy(np.concatenate(coordinates)),
        np.cumsum([0] + counts).tolist(), few, few_valid, clusters, place,
        [min(n, k) for n in counts], _context(global_, starts, lengths),
        _context(local, starts, lengths),
        _pictures(images, starts[offsets[-1]:]) if images else None, grids, starts, k)


def _numbered(calls: list[np.ndarray | None], offsets: np.ndarray) -> np.ndarray | None:
    """Images of several calls, counted through; None where a call has none of the kind."""
    if any(images is None for images in calls):
        return None
    return np.concatenate([images + offset
                           for images, offset in zip(calls, offsets, strict=False)])


def _group_images(lengths: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, list[Group]]:
    """Order of packing (kind, then longest first) and the attention groups along it."""
    order = np.lexsort((np.arange(len(lengths)), -lengths, kinds))
    groups, members, start = [], [], 0
    for place, image in enumerate(order):
        members.append(int(lengths[image]))
        following = order[place + 1] if place + 1 < len(order) else None
        if following is None or kinds[following] != kinds[image] or \
                lengths[following] * MOST_PADDING < members[0]:
            groups.append(_group(start, members))
            start, members = groups[-1].stop, []
    return order, groups


def _group(start: int, lengths: list[int]) -> Group:
    count, longest, total = len(lengths), max(lengths), sum(lengths)
    if min(lengths) == longest:
        return Group(start, start + total, count, longest)
    index, valid = _padded(np.cumsum([0] + lengths[:-1]), lengths)
    place = torch.from_numpy(np.flatnonzero(valid))
    return Group(start, start + total, count, longest, torch.from_numpy(index.reshape(-1)), place,
                 torch.from_numpy(valid)[:, None, None, :])


def _padded(starts: np.ndarray, lengths: Sequence[int],
            width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows `starts[i] + 0..lengths[i]` side by side: int64 [B, n] (0 in padding), bool [B, n]."""
    reach = np.arange(width or max(lengths))
    valid = reach[None] < np.asarray(lengths)[:, None]
    return np.where(valid, np.asarray(starts)[:, None] + reach[None], 0).astype(np.int64), valid


def _positions(rows: int, columns: int) -> np.ndarray:
    return np.stack([np.repeat(np.arange(rows), columns), np.tile(np.arange(columns), rows)],
                    axis=1).astype(np.float32)


def _cells(inputs: Sequence[RegionInputs],
           starts: np.ndarray) -> tuple[Tensor, Tensor | None]:
    """Selected cells of all regions as packed rows [M, T], and weights [M, T] where T is over 1."""
    cells = [c for i in inputs for c in i.cells]
    weights = [w for i in inputs for w in i.weights]
    taps = max((c.shape[1] for c in cells), default=1)
    index = np.zeros((sum(len(c) for c in cells), taps), np.int64)
    share = np.zeros(index.shape, np.float32)
    at = 0
    for cell, weight, start in zip(cells, weights, starts, strict=True):
        index[at:at + len(cell), :cell.shape[1]] = cell + start
        share[at:at + len(cell), :cell.shape[1]] = weight
        at += len(cell)
    return torch.from_numpy(index), torch.from_numpy(share) if taps > 1 else None


def _pooling(counts: list[int], k: int, kmeans: KMeansInit
             ) -> tuple[Tensor, Tensor, list[Clusters], Tensor]:
    """Which rows of the cells make which tokens: kept as they are up to K, clustered above."""
    bounds = np.cumsum([0] + counts)[:-1]
    few = np.array([r for r, n in enumerate(counts) if n <= k], np.int64)
    many = [r for r, n in enumerate(counts) if n > k]
    few_index, few_valid = _padded(bounds[few], [counts[r] for r in few], k)
    first = dict(zip(many, kmeans.indices([counts[r] for r in many], k), strict=True))
    clusters, placed = [], list(few)
    left = sorted(many, key=lambda r: (-counts[r], r))
    while left:
        members = [r for r in left if counts[r] * MOST_PADDING >= counts[left[0]]]
        left = left[len(members):]
        index, valid = _padded(bounds[members], [counts[r] for r in members])
        clusters.append(Clusters(torch.from_numpy(index), torch.from_numpy(valid),
                                 torch.stack([first[r] for r in members])))
        placed += members
    return (torch.from_numpy(few_index), torch.from_numpy(few_valid), clusters,
            torch.from_numpy(np.argsort(np.array(placed, np.int64))))


def _context(images: np.ndarray | None, starts: np.ndarray,
             lengths: np.ndarray) -> Context | None:
    if images is None:
        return None
    unique, of = np.unique(images, return_inverse=True)
    rows, valid = _padded(starts[unique], lengths[unique].tolist())
    looking = [np.flatnonzero(of == image) for image in range(len(unique))]
    regions, used = _padded(np.cumsum([0] + [len(r) for r in looking[:-1]]),
                            [len(r) for r in looking])
    together = np.concatenate(looking)
    place = np.empty(len(together), np.int64)
    place[together] = np.flatnonzero(used)
    return Context(torch.from_numpy(rows),
                   None if valid.all() else torch.from_numpy(valid)[:, None, None],
                   torch.from_numpy(together[regions]), torch.from_numpy(place))


def _pictures(images: ImageInputs, starts: np.ndarray) -> Pictures:
    """Rows of the patches of each token, in raster order of the tokens."""
    merge, rows = images.merge, [np.zeros((0, images.merge ** 2), np.int64)]
    for start, (height, width) in zip(starts, images.grids.tolist(), strict=True):
        patch = np.arange(height * width).reshape(height // merge, merge, width // merge, merge)
        rows.append(start + patch.transpose(0, 2, 1, 3).reshape(-1, merge * merge))
    kept = np.flatnonzero(np.concatenate(images.kept))
    return Pictures(torch.from_numpy(np.concatenate(rows)), torch.from_numpy(kept), images.tokens)


def moved(value: object, device: torch.device) -> object:
    """Every tensor of nested dataclasses, lists, tuples and dicts on `device`."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, (list, tuple)):
        return type(value)(moved(v, device) for v in value)
    if isinstance(value, dict):
        return {k: moved(v, device) for k, v in value.items()}
    if is_dataclass(value):
        return type(value)(**{
            f.name: moved(getattr(value, f.name), device) for f in fields(value)})
    return value
