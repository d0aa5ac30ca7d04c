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
    """Unique context images of a batch (global or local) and who uses which.

    rows: int64 [U, S], rows of the packed patches; mask: bool [U, S] or None if none is padding;
    of: int64 [R].
    """

    rows: Tensor
    mask: Tensor | None
    of: Tensor


@dataclass(frozen=True)
class RegionBatch:
    """R regions ready for the weights; made by `collate`, moved by `to`.

    patches: uint8 [N, 3*P*P]; positions: float32 [N, 2] (row, column) inside the image. cells:
    int64 [M, T] rows of the packed patches, weights float32 [M, T] or None where T is 1,
    coordinates: float32 [M, 2]; `bounds[i]:bounds[i+1]` are region i's. few: int64 [F, K] rows of
    the cells of regions with at most K cells and few_valid bool [F, K]. order: int64 [R], where
    each region's tokens are among (few, clusters...). starts: first packed row of each crop.
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
    global_: Context
    local: Context
    grids: np.ndarray
    starts: np.ndarray
    k: int

    def __len__(self) -> int:
        return len(self.order)

    def to(self, device: torch.device | str) -> 'RegionBatch':
        """The same on another device."""
        return _to(self, torch.device(device))


def collate(inputs: Sequence[RegionInputs], kmeans: KMeansInit = EvenlySpaced()) -> RegionBatch:
    """Pack the regions of several calls; their order is kept (calls in order, regions inside).

    `kmeans` chooses the first centroids. Images that several regions of a call share are encoded
    once. Raises ValueError if there is no region.
    """
    if not sum(len(i) for i in inputs):
        raise ValueError('no region to collate')
    patches = [p for i in inputs for p in i.patches]
    offsets = np.cumsum([0] + [len(i.patches) for i in inputs])
    crop, global_, local = (
        np.concatenate([getattr(i, name) + offset for i, offset in
                        zip(inputs, offsets, strict=False)])
        for name in ('crop', 'global_', 'local'))
    grids = np.concatenate([i.grids for i in inputs])
    lengths = np.array([len(p) for p in patches])
    kinds = np.zeros(len(patches), np.int64)
    kinds[global_], kinds[local] = 1, 2
    order, groups = _group_images(lengths, kinds)
    starts = np.zeros(len(patches), np.int64)
    starts[order] = np.cumsum(lengths[order]) - lengths[order]

    position = np.concatenate([_positions(*grids[i]) for i in order])
    cells, weights = _cells(inputs, starts[crop])
    counts = [len(c) for i in inputs for c in i.cells]
    few, few_valid, clusters, place = _pooling(counts, inputs[0].k, kmeans)
    return RegionBatch(
        torch.from_numpy(np.concatenate([patches[i] for i in order])), torch.from_numpy(position),
        groups, cells, weights,
        torch.from_numpy(np.concatenate([c for i in inputs for c in i.coordinates])),
        np.cumsum([0] + counts).tolist(), few, few_valid, clusters, place,
        _context(global_, starts, lengths), _context(local, starts, lengths),
        grids, starts, inputs[0].k)


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
    taps = max(c.shape[1] for c in cells)
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


def _context(images: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Context:
    unique, of = np.unique(images, return_inverse=True)
    rows, valid = _padded(starts[unique], lengths[unique].tolist())
    return Context(torch.from_numpy(rows), None if valid.all() else torch.from_numpy(valid),
                   torch.from_numpy(of.reshape(-1).astype(np.int64)))


def _to(value: object, device: torch.device) -> object:
    """Every tensor of nested dataclasses and lists on `device`."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, list):
        return [_to(v, device) for v in value]
    if is_dataclass(value):
        return type(value)(**{f.name: _to(getattr(value, f.name), device) for f in fields(value)})
    return value
