# SPDX-License-Identifier: Apache-2.0
"""Pictures on things: pattern cubes for the objects, wood, stone and cloth for tables and floors.

Patterns are few and wide, so that stripes and checks stay apart at 320x240: about five stripes or
checks over an object. Cube textures are sampled by direction from the middle of the unit geom.
"""

from __future__ import annotations

import cv2
import numpy as np

from training.world.contract import Colour, Contract

FACE = 64
LAYOUTS = {'striped': ('bands', 'staves'), 'checkered': ('checks', 'checks')}
KINDS = ('box', 'cylinder', 'ellipsoid')


def texture_name(kind: str, layout: str, colour: str) -> str:
    """The name under which a pattern of this colour on this kind of geom is kept."""
    return f'{"cylinder" if kind == "capsule" else kind}-{layout}-{colour}'


def _directions() -> np.ndarray:
    """[6,FACE,FACE,3] direction of each texel, in OpenGL's order of cube faces."""
    line = (np.arange(FACE) + .5) / FACE * 2 - 1
    s, t = np.meshgrid(line, line)
    one = np.ones_like(s)
    return np.stack([np.stack(face, -1) for face in (
        (one, -t, -s), (-one, -t, s), (s, one, t), (s, -one, -t), (s, -t, one), (-s, -t, -one))])


def _stripe(x: np.ndarray, count: int) -> np.ndarray:
    """Which of `count` equal stripes over [-1, 1]."""
    return np.clip(np.floor((x + 1) / 2 * count), 0, count - 1).astype(int)


def pattern(kind: str, layout: str) -> np.ndarray:
    """[6,FACE,FACE] booleans: True where the second colour goes. Unit geoms: radius or half 1."""
    d = _directions()
    if kind == 'ellipsoid':
        d = d / np.linalg.norm(d, axis=-1, keepdims=True)
        x, y, z = np.moveaxis(d, -1, 0)
        turn = np.floor((np.arctan2(y, x) / (2 * np.pi) + .5) * 8).astype(int)
        if layout == 'bands':
            return _stripe(z, 5) % 2 == 1
        return turn % 2 == 1 if layout == 'staves' else (turn + _stripe(z, 4)) % 2 == 1
    if kind == 'cylinder':
        radius = np.hypot(d[..., 0], d[..., 1])
        end = np.abs(d[..., 2]) > radius
        x, y, z = np.moveaxis(d / np.maximum(radius, np.abs(d[..., 2]))[..., None], -1, 0)
        turn = np.floor((np.arctan2(y, x) / (2 * np.pi) + .5) * 8).astype(int)
        side = {'bands': _stripe(z, 5) % 2, 'staves': turn % 2,
                'checks': (turn + _stripe(z, 4)) % 2}[layout]
        top = (_stripe(x, 4) + _stripe(y, 4)) % 2 if layout == 'checks' else _stripe(x, 5) % 2
        return np.where(end, top, side) == 1
    x, y, z = np.moveaxis(d, -1, 0)
    main = np.abs(d).argmax(-1)
    if layout == 'checks':
        pairs = {0: (y, z), 1: (x, z), 2: (x, y)}
        cells = [(_stripe(a, 4) + _stripe(b, 4)) % 2 for a, b in pairs.values()]
    elif layout == 'bands':
        cells = [_stripe(z, 5) % 2, _stripe(z, 5) % 2, _stripe(x, 5) % 2]
    else:
        cells = [_stripe(y, 5) % 2, _stripe(x, 5) % 2, _stripe(x, 5) % 2]
    return np.choose(main, cells) == 1


def pattern_textures(contract: Contract) -> dict[str, np.ndarray]:
    """Every pattern cube of the world by name, each [6*FACE,FACE,3] uint8."""
    made = {}
    for kind in KINDS:
        for layout in ('bands', 'staves', 'checks'):
            second = pattern(kind, layout)
            for name, colour in contract.colours.items():
                made[texture_name(kind, layout, name)] = _paint(second, colour)
    return made


def _paint(second: np.ndarray, colour: Colour) -> np.ndarray:
    faces = np.where(second[..., None], colour.second, colour.rgb)
    return np.round(faces * 255).astype(np.uint8).reshape(-1, FACE, 3)


def _noise(rng: np.random.Generator, size: int, cells: tuple[int, int]) -> np.ndarray:
    """Smooth noise in [-1, 1]."""
    coarse = rng.uniform(-1, 1, (cells[1], cells[0])).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def _wood(rng: np.random.Generator, size: int, rgb: tuple, planks: int) -> np.ndarray:
    base = np.ones((size, size, 3)) * rgb
    step = size // planks
    for plank in range(planks):
        rows = slice(plank * step, (plank + 1) * step)
        grain = _noise(rng, size, (5, 70))[:step] * .10 + _noise(rng, size, (3, 24))[:step] * .10
        base[rows] *= (1 + grain[:, :, None] + rng.uniform(-.09, .09))
        base[plank * step:plank * step + 2] *= .72
        seam = int(rng.integers(size))
        base[rows, seam:seam + 2] *= .75
    return base


def _stone(rng: np.random.Generator, size: int, rgb: tuple) -> np.ndarray:
    veins = sum(_noise(rng, size, (2 ** k, 2 ** k)) / 2 ** (k - 2) for k in range(2, 7))
    line = np.exp(-(veins / .10) ** 2)
    return np.ones((size, size, 3)) * rgb * (1 + .07 * veins - .16 * line)[:, :, None]


def _cloth(rng: np.random.Generator, size: int, rgb: tuple, accent: tuple) -> np.ndarray:
    base = np.ones((size, size, 3)) * rgb
    weave = ((np.indices((size, size)).sum(0) % 4) < 2) * .05 - .025
    base = base * (1 + weave + .03 * _noise(rng, size, (12, 12)))[:, :, None]
    for at in (.06, .09):
        edge = int(at * size)
        for low, high in ((edge, edge + 4), (size - edge - 4, size - edge)):
            base[low:high, edge:size - edge] = accent
            base[edge:size - edge, low:high] = accent
    return base


def surface_textures(size: int = 256) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Table tops and floors, each [size,size,3] uint8; always the same ones."""
    rng = np.random.default_rng(7)
    tables = [_wood(rng, size, (.72, .52, .33), 5), _wood(rng, size, (.48, .31, .19), 4),
              _wood(rng, size, (.86, .74, .56), 6), _wood(rng, size, (.34, .24, .18), 3),
              _stone(rng, size, (.84, .83, .80)), _stone(rng, size, (.42, .44, .46)),
              _stone(rng, size, (.60, .66, .62)),
              _cloth(rng, size, (.80, .78, .70), (.45, .52, .60)),
              _cloth(rng, size, (.48, .57, .66), (.86, .86, .82)),
              _cloth(rng, size, (.70, .55, .52), (.90, .86, .80))]
    floors = [_wood(rng, size, (.58, .44, .32), 8), _wood(rng, size, (.40, .32, .27), 8),
              _stone(rng, size, (.66, .64, .60)), _cloth(rng, size, (.50, .52, .50),
                                                         (.45, .47, .45))]
    return tuple([np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8) for picture in group]
                 for group in (tables, floors))
