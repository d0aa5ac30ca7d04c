# SPDX-License-Identifier: Apache-2.0
"""Batches made ahead by other processes, for a device that learns faster than one can cut."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from training.ahead import MOST_STEPS, REFRESH_S, made_ahead
from training.tracker import sources
from training.tracker.clips import Batch, ClipStore, draw_batch
from training.tracker.course import Course, Phase


def make_batch(stores: list[tuple[ClipStore, float]], phase: Phase, seed: int, step: int,
               rank: int = 0) -> Batch:
    """The batch of a step of one process; the same for the same arguments and stores."""
    rng = np.random.default_rng((seed, step, rank))
    return draw_batch(stores, phase.clips, phase.cut, rng)


class Batches(Dataset):
    """Batch number `step` of one process that learns, of the phase that `progress`, a shared tensor
    of one value, is in."""

    def __init__(self, folder: Path, course: Course, progress: torch.Tensor, seed: int,
                 rank: int = 0) -> None:
        self.folder, self.course, self.progress = folder, course, progress
        self.seed, self.rank = seed, rank
        self._opened = -REFRESH_S

    def __len__(self) -> int:
        return MOST_STEPS

    def __getitem__(self, step: int) -> Batch:
        if time.monotonic() - self._opened >= REFRESH_S:
            self._stores, self._opened = sources.open_stores(self.folder), time.monotonic()
        return make_batch(self._stores, self.course.phase(float(self.progress)), self.seed, step,
                          self.rank)


def batches_ahead(batches: Batches, first: int, processes: int) -> Iterator[Batch]:
    """The batches from `first` on in order, made by so many processes, one each ahead: some 100 MB
    each on a GPU's course."""
    return made_ahead(batches, first, processes)
