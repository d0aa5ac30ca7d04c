# SPDX-License-Identifier: Apache-2.0
"""Clips of textured flat shapes that move, overlap, vanish and return: a second, cheap world.

It has what the small world has little of (odd outlines, odd textures, look-alikes by the dozen), so
that the tracker learns to follow what was pointed at rather than what it has seen before.
"""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass
class _Layer:
    texture: np.ndarray      # uint8 [P, P, 3]
    outline: np.ndarray      # uint8 [P, P], 0 or 255
    start: np.ndarray        # x, y in pixels
    speed: np.ndarray        # pixels per frame
    scale: float
    grow: float
    angle: float
    spin: float
    hidden: tuple[int, int]  # frames [from, to) in which it is not drawn


_PATCH = 96


def _texture(rng: np.random.Generator, size: int) -> np.ndarray:
    """Uniform colour, stripes, checks or smooth noise around one or two colours."""
    first, second = rng.integers(20, 236, (2, 3)).astype(np.float32)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    kind = rng.integers(4)
    if kind == 0:
        blend = np.zeros((size, size), np.float32)
    elif kind == 1:
        angle, width = rng.uniform(0, np.pi), rng.uniform(6, 24)
        blend = (np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / width) > 0) * 1.0
    elif kind == 2:
        width = rng.uniform(8, 24)
        blend = ((x // width + y // width) % 2).astype(np.float32)
    else:
        cells = int(rng.integers(3, 12))
        blend = cv2.resize(rng.random((cells, cells)).astype(np.float32), (size, size),
                           interpolation=cv2.INTER_CUBIC)
    image = first + (second - first) * blend[..., None]
    image += rng.normal(0, rng.uniform(0, 8), (size, size, 1))
    shade = 1 + rng.uniform(-0.4, 0.4) * (x / size - 0.5) + rng.uniform(-0.4, 0.4) * (
        y / size - 0.5)
    return np.clip(image * shade[..., None], 0, 255).astype(np.uint8)


def _outline(rng: np.random.Generator) -> np.ndarray:
    """A blob, an ellipse, a polygon or a star, filling most of the patch."""
    mask = np.zeros((_PATCH, _PATCH), np.uint8)
    corners = int(rng.choice([3, 4, 5, 6, 10, 24]))
    around = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, 6.28)
    radius = np.full(corners, 0.45 * _PATCH)
    if corners == 10:
        radius[::2] *= rng.uniform(0.4, 0.8)
    elif corners == 24 and rng.random() < 0.6:
        wave = sum(rng.uniform(0, 0.15) * np.cos(k * around + rng.uniform(0, 6.28))
                   for k in (2, 3, 4))
        radius *= np.clip(1 - 0.2 + wave, 0.3, 1)
    else:
        radius *= rng.uniform(0.85, 1, corners)
    points = np.stack([np.cos(around), np.sin(around) * rng.uniform(0.4, 1)], 1) * radius[:, None]
    cv2.fillPoly(mask, [np.int32(points + _PATCH / 2)], 255)
    if rng.random() < 0.15:  # a hole, as in a handle
        cv2.circle(mask, (_PATCH // 2, _PATCH // 2), int(rng.integers(6, 16)), 0, -1)
    return mask


def _layer(rng: np.random.Generator, size: int, frames: int, twin: _Layer | None) -> _Layer:
    hidden = (frames, frames)
    if rng.random() < 0.2 and frames > 3:
        first = int(rng.integers(1, frames - 1))
        hidden = (first, first + int(rng.integers(1, 4)))
    return _Layer(
        texture=_texture(rng, _PATCH) if twin is None else twin.texture,
        outline=_outline(rng) if twin is None or rng.random() < 0.5 else twin.outline,
        start=rng.uniform(0.05, 0.95, 2) * size,
        speed=rng.normal(0, 1, 2) * rng.choice([0.5, 3, 8]) * size / 256,
        scale=float(np.exp(rng.uniform(np.log(0.12), np.log(1.0)))) * size / 256,
        grow=float(np.exp(rng.normal(0, 0.03))), angle=rng.uniform(0, 360),
        spin=float(rng.normal(0, 4)), hidden=hidden)


def make_clip(seed: int, frames: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One clip from `seed`: RGB uint8 [T, size, size, 3], labels uint8 [T, size, size] (0 none)."""
    rng = np.random.default_rng(seed)
    layers: list[_Layer] = []
    for _ in range(int(rng.integers(4, 11))):
        twin = layers[rng.integers(len(layers))] if layers and rng.random() < 0.3 else None
        layers.append(_layer(rng, size, frames, twin))
    ground = cv2.resize(_texture(rng, 2 * _PATCH), (2 * size, 2 * size))
    drift = rng.normal(0, 1, 2) * rng.choice([0.5, 3, 7]) * size / 256
    light = rng.normal(1, 0.02, frames).cumprod()
    images = np.empty((frames, size, size, 3), np.uint8)
    labels = np.zeros((frames, size, size), np.uint8)
    for t in range(frames):
        shift = np.float32([[1, 0, drift[0] * t - size / 2], [0, 1, drift[1] * t - size / 2]])
        image = cv2.warpAffine(ground, shift, (size, size), borderMode=cv2.BORDER_REFLECT)
        for index, layer in enumerate(layers):
            if layer.hidden[0] <= t < layer.hidden[1]:
                continue
            turn = cv2.getRotationMatrix2D((_PATCH / 2, _PATCH / 2), layer.angle + layer.spin * t,
                                           layer.scale * layer.grow ** t)
            turn[:, 2] += layer.start + (layer.speed + drift) * t - _PATCH / 2
            alpha = cv2.warpAffine(layer.outline, turn, (size, size))
            body = cv2.warpAffine(layer.texture, turn, (size, size), borderMode=cv2.BORDER_REFLECT)
            weight = alpha[..., None].astype(np.float32) / 255
            image = (image * (1 - weight) + body * weight).astype(np.uint8)
            labels[t][alpha > 127] = index + 1
        noise = rng.normal(0, 3, image.shape)
        images[t] = np.clip(image * light[t] + noise, 0, 255).astype(np.uint8)
    return images, labels
