# SPDX-License-Identifier: Apache-2.0
"""The scene contract as a value: what contract.yaml says, checked when it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

SPLITS = ('train', 'test')


@dataclass(frozen=True)
class Colour:
    """One colour word: `rgb` is the object's, `second` what its pattern alternates with (0..1)."""

    rgb: tuple[float, float, float]
    second: tuple[float, float, float]


@dataclass(frozen=True)
class Contract:
    """The whole of contract.yaml. Lengths in metres, times in seconds, image figures in pixels."""

    width: int
    height: int
    fovy_degrees: float
    near: float
    far: float
    rate_hz: float
    colours: dict[str, Colour]
    patterns: tuple[str, ...]
    shapes: dict[str, tuple[str, ...]]
    sizes: dict[str, tuple[float, float]]
    objects_per_scene: tuple[int, int]
    look_alike_share: float
    supported_share: float
    partly_hidden_share: float
    cut_share: float
    whole: float
    area: dict[str, float]
    camera: dict[str, object]
    events: dict[str, object]
    relation: dict[str, float]
    held_out: frozenset[tuple[str, str]]
    train_seeds: int

    @classmethod
    def load(cls, path: str | Path | None = None) -> 'Contract':
        """Read `path`, or the contract of this package. Raises ValueError on a broken one."""
        source = Path(path) if path else Path(__file__).with_name('contract.yaml')
        data = yaml.safe_load(source.read_text(encoding='utf-8'))
        image = data.pop('image')
        contract = cls(
            width=image['width'], height=image['height'], fovy_degrees=image['fovy_degrees'],
            near=image['near'], far=image['far'],
            colours={name: Colour(tuple(value['rgb']), tuple(value['second']))
                     for name, value in data.pop('colours').items()},
            shapes={name: tuple(value) for name, value in data.pop('shapes').items()},
            sizes={name: tuple(value) for name, value in data.pop('sizes').items()},
            patterns=tuple(data.pop('patterns')),
            objects_per_scene=tuple(data.pop('objects_per_scene')),
            held_out=frozenset((category, colour) for category, colour in data.pop('held_out')),
            **data)
        contract._check(source)
        return contract

    def _check(self, source: Path) -> None:
        for category, shapes in self.shapes.items():
            if len(shapes) < 2:
                raise ValueError(f'{source}: {category} needs two shapes or more, has {shapes}')
        for category, colour in self.held_out:
            if category not in self.shapes or colour not in self.colours:
                raise ValueError(f'{source}: held-out pair {category}, {colour} is not of this '
                                 'world')
        if not self.sizes['small'][1] < self.sizes['large'][0]:
            raise ValueError(f'{source}: small and large must not meet, got {self.sizes}')

    @property
    def categories(self) -> tuple[str, ...]:
        """The category words, in order."""
        return tuple(self.shapes)

    @property
    def focal(self) -> float:
        """Focal length in pixels; pixels are square and the centre is ((w-1)/2, (h-1)/2)."""
        return self.height / 2 / np.tan(np.radians(self.fovy_degrees) / 2)

    @property
    def centre(self) -> tuple[float, float]:
        """Principal point (cx, cy) in pixels, pixel centres at whole numbers."""
        return (self.width - 1) / 2, (self.height - 1) / 2

    def seed(self, seed: int, split: str) -> int:
        """The world's own seed: train seeds as they are, test seeds moved to `train_seeds` and up.

        Raises ValueError for an unknown split or a train seed outside [0, train_seeds).
        """
        if split not in SPLITS:
            raise ValueError(f'split must be one of {SPLITS}, got {split!r}')
        if seed < 0:
            raise ValueError(f'a seed is not negative, got {seed}')
        if split == 'train':
            if seed >= self.train_seeds:
                raise ValueError(f'train seeds are below {self.train_seeds}, got {seed}')
            return seed
        return seed if seed >= self.train_seeds else seed + self.train_seeds

    def allowed(self, category: str, colour: str, split: str) -> bool:
        """Whether a scene of `split` may show this category in this colour."""
        return split == 'test' or (category, colour) not in self.held_out
