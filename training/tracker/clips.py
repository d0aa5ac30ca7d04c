# SPDX-License-Identifier: Apache-2.0
"""Clips on disk and the batches cut from them: random windows, flips, light, time reversed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from pixelrefer_model.sam2.pixels import normalise

#: An object must show this many pixels of the network's input where it is prompted.
_LEAST_PIXELS = 24


class ClipStore:
    """Clips in one folder: images.npy uint8 [n, T, H, W, 3], labels.npy uint8 [n, T, H, W].

    `count` grows while another process is still writing; the file `count` holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.images = np.load(folder / 'images.npy', mmap_mode='r')
        self.labels = np.load(folder / 'labels.npy', mmap_mode='r')
        self._count = folder / 'count'

    @property
    def count(self) -> int:
        return int(self._count.read_text()) if self._count.exists() else 0


def write_clips(folder: Path, clips: Iterator[tuple[np.ndarray, np.ndarray]], done: int,
                count: int, frames: int, height: int, width: int) -> None:
    """Write clips `done` to `count` (images [T, H, W, 3], labels [T, H, W]) as a ClipStore.

    With `done` over 0 the store is there already and is gone on with; it has room for `count`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {'images': (count, frames, height, width, 3), 'labels': (count, frames, height, width)}
    if done:
        stores = {name: np.load(folder / f'{name}.npy', mmap_mode='r+') for name in shapes}
    else:
        stores = {name: np.lib.format.open_memmap(folder / f'{name}.npy', 'w+', np.uint8, shape)
                  for name, shape in shapes.items()}
    for index, (image, label) in zip(range(done, count), clips):
        stores['images'][index], stores['labels'][index] = image, label
        part = folder / 'count.part'
        part.write_text(str(index + 1))
        os.replace(part, folder / 'count')


@dataclass(frozen=True)
class Batch:
    """Windows of B clips: pictures uint8 [B, T, S, S, 3], labels uint8 [B, T, S, S], and which K of
    the labels are followed, taken uint8 [B, K].

    Kept as small as can be: a batch goes from the process that cuts it to the device that learns.
    """

    pictures: Tensor
    labels: Tensor
    taken: Tensor

    def to(self, device: torch.device) -> 'Batch':
        """The same on another device."""
        return Batch(*(each.to(device) for each in (self.pictures, self.labels, self.taken)))

    @property
    def pixels(self) -> Tensor:
        """float [B, T, 3, S, S], normalised."""
        return normalise(self.pictures.permute(0, 1, 4, 2, 3))

    @property
    def masks(self) -> Tensor:
        """bool [B, K, T, S, S]."""
        return self.labels[:, None] == self.taken[:, :, None, None, None]


@dataclass(frozen=True)
class Cut:
    """How clips are cut: S, T, objects per clip and how wide the window is, in clip widths."""

    size: int
    frames: int
    objects: int
    narrow: float
    wide: float


def cut_clip(images: np.ndarray, labels: np.ndarray, cut: Cut, rng: np.random.Generator
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """One window of one clip: images uint8 [T, S, S, 3], labels uint8 [T, S, S] and K of them that
    are seen in its first frame, uint8 [K]; None where nothing is."""
    total, height, width = labels.shape
    step = int(rng.integers(1, 3)) if total >= 2 * cut.frames else 1
    first = int(rng.integers(0, total - step * (cut.frames - 1)))
    order = first + step * np.arange(cut.frames)
    if rng.random() < 0.5:
        order = order[::-1]
    start = labels[order[0]]
    shown = [int(k) for k in np.unique(start) if k]
    if not shown:
        return None
    # the window holds one object, chosen at random, somewhere in its inner part
    chosen = int(rng.choice(shown))
    ys, xs = np.nonzero(start == chosen)
    part = float(np.exp(rng.uniform(np.log(cut.narrow), np.log(cut.wide))))
    scale = cut.size / (part * width), cut.size / (part * height)
    centre = np.array([xs.mean() / width, ys.mean() / height])
    corner = centre - part * rng.uniform(0.2, 0.8, 2)
    if part <= 1:
        corner = np.clip(corner, 0, 1 - part)
    else:
        corner = np.clip(corner, 1 - part, 0)
    flip = rng.random() < 0.5
    wander = rng.normal(0, 1, 2) * rng.choice([0, 0, 0.005, 0.015]) * part
    pictures = np.empty((cut.frames, cut.size, cut.size, 3), np.uint8)
    ids = np.empty((cut.frames, cut.size, cut.size), np.uint8)
    gain, lift = rng.uniform(0.7, 1.3) * rng.uniform(0.85, 1.15, 3), rng.uniform(-20, 20, 3)
    swap = rng.permutation(3) if rng.random() < 0.5 else np.arange(3)
    for row, t in enumerate(order):
        at = corner + wander * row
        warp = np.float64([[scale[0], 0, -at[0] * width * scale[0] + 0.5 * scale[0] - 0.5],
                           [0, scale[1], -at[1] * height * scale[1] + 0.5 * scale[1] - 0.5]])
        if flip:
            warp[0] = -warp[0]
            warp[0, 2] += cut.size - 1
        area = cv2.INTER_LINEAR
        picture = cv2.warpAffine(images[t], warp, (cut.size, cut.size), flags=area,
                                 borderMode=cv2.BORDER_REFLECT_101)
        ids[row] = cv2.warpAffine(labels[t], warp, (cut.size, cut.size),
                                  flags=cv2.INTER_NEAREST, borderValue=0)
        picture = picture[..., swap] * gain.astype(np.float32) + lift.astype(np.float32)
        pictures[row] = np.clip(picture, 0, 255)
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(2, 8), pictures.shape[1:]).astype(np.int16)
        pictures = np.clip(pictures + noise, 0, 255).astype(np.uint8)
    sizes = np.bincount(ids[0].ravel(), minlength=256)
    shown = [k for k in range(1, 256) if sizes[k] >= _LEAST_PIXELS]
    if not shown:
        return None
    # objects that go and come back teach most: they are taken first half of the time
    rng.shuffle(shown)
    if rng.random() < 0.5:
        shown.sort(key=lambda k: (ids == k).any((1, 2)).all())
    taken = [shown[k % len(shown)] for k in range(cut.objects)]
    return pictures, ids, np.array(taken, np.uint8)


def draw_batch(sources: list[tuple[ClipStore, float]], clips: int, cut: Cut,
               rng: np.random.Generator) -> Batch:
    """A batch of `clips` windows from weighted stores; deterministic from `rng` and the stores."""
    weights = np.array([weight for _, weight in sources])
    found = []
    while len(found) < clips:
        store = sources[rng.choice(len(sources), p=weights / weights.sum())][0]
        index = int(rng.integers(store.count))
        window = cut_clip(store.images[index], store.labels[index], cut, rng)
        if window is not None:
            found.append(window)
    return Batch(*(torch.from_numpy(np.stack(each)) for each in zip(*found)))
