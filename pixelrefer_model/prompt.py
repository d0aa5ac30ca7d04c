# SPDX-License-Identifier: Apache-2.0
"""Prompts: how a person or a planner says which object is meant, in pixels of one frame.

Pixel coordinates are continuous, origin at the top left corner of the image, x right, y down;
pixel (column c, row r) covers [c, c+1) x [r, r+1).
"""

from dataclasses import dataclass

import numpy as np

from pixelrefer_model.errors import PixelReferError

#: A scribble is thinned to this many clicks, the most that SAM 2 was trained with per frame.
SCRIBBLE_CLICKS = 8
MOST_POINTS = 64


def _check_points(points: np.ndarray, width: int, height: int, what: str) -> None:
    if points.ndim != 2 or points.shape[1] != 2 or not 1 <= len(points) <= MOST_POINTS:
        raise PixelReferError(
            'BAD_POINTS', f'{what} has shape {points.shape}; 1 to {MOST_POINTS} points (x, y) '
            'are allowed')
    if not np.isfinite(points).all():
        raise PixelReferError(
            'NOT_FINITE', f'{what} holds NaN or infinity; finite pixels are allowed')
    inside = (points >= 0).all(1) & (points[:, 0] < width) & (points[:, 1] < height)
    if not inside.all():
        x, y = points[~inside][0]
        raise PixelReferError(
            'OUT_OF_IMAGE', f'{what} ({x:g}, {y:g}) lies outside the {width}x{height} image; '
            f'0 <= x < {width} and 0 <= y < {height} is allowed')


def check_mask_size(shape: tuple[int, ...], width: int, height: int) -> None:
    """Raise PixelReferError MASK_SIZE unless a mask of `shape` is one of a `width` x `height`
    frame."""
    if tuple(shape) != (height, width):
        found = 'x'.join(str(side) for side in reversed(shape))
        raise PixelReferError(
            'MASK_SIZE', f'the mask is {found}; the frame is {width}x{height}, and only a mask of '
            'its size is allowed')


@dataclass(frozen=True)
class Click:
    """Points on (label 1) and off (label 0) the object. points float [N, 2], labels int [N]."""

    points: np.ndarray
    labels: np.ndarray

    @classmethod
    def at(cls, x: float, y: float) -> 'Click':
        """One positive click."""
        return cls(np.array([[x, y]], np.float64), np.array([1]))

    def check(self, width: int, height: int) -> None:
        """Raise PixelReferError unless every point is usable on a `width` x `height` frame."""
        _check_points(self.points, width, height, 'the click')
        if len(self.labels) != len(self.points):
            raise PixelReferError(
                'BAD_LABELS', f'{len(self.points)} points but {len(self.labels)} labels; one '
                'label per point is allowed')
        if not np.isin(self.labels, (0, 1)).all():
            raise PixelReferError(
                'BAD_LABELS', f'labels {sorted(set(self.labels.tolist()))}; 1 (on the object) '
                'and 0 (off it) are allowed')


@dataclass(frozen=True)
class Box:
    """A half-open box, x0 <= x < x1 and y0 <= y < y1; `clicks` may refine it."""

    x0: float
    y0: float
    x1: float
    y1: float
    clicks: Click | None = None

    def check(self, width: int, height: int) -> None:
        """Raise PixelReferError unless the box is usable on a `width` x `height` frame."""
        corners = np.array([self.x0, self.y0, self.x1, self.y1], np.float64)
        if not np.isfinite(corners).all():
            raise PixelReferError(
                'NOT_FINITE', 'the box holds NaN or infinity; finite pixels are allowed')
        if self.x1 - self.x0 < 1 or self.y1 - self.y0 < 1:
            raise PixelReferError(
                'BAD_BOX', f'the box is {self.x1 - self.x0:g} x {self.y1 - self.y0:g} pixels; '
                'at least 1 x 1 is allowed')
        if self.x0 < 0 or self.y0 < 0 or self.x1 > width or self.y1 > height:
            raise PixelReferError(
                'OUT_OF_IMAGE', f'the box {self.x0:g},{self.y0:g} to {self.x1:g},{self.y1:g} '
                f'leaves the {width}x{height} image; 0,0 to {width},{height} is allowed')
        if self.clicks is not None:
            self.clicks.check(width, height)


@dataclass(frozen=True)
class Scribble:
    """A polyline drawn on the object, float [N, 2]."""

    points: np.ndarray

    def check(self, width: int, height: int) -> None:
        """Raise PixelReferError unless the scribble lies in a `width` x `height` frame."""
        points = self.points
        if points.ndim != 2 or points.shape[1] != 2 or not 2 <= len(points) <= 10_000:
            raise PixelReferError(
                'BAD_POINTS', f'the scribble has shape {points.shape}; 2 to 10000 points (x, y) '
                'are allowed')
        for start in range(0, len(points), MOST_POINTS):
            _check_points(points[start:start + MOST_POINTS], width, height, 'the scribble')

    def clicks(self) -> Click:
        """The scribble as clicks, evenly spaced along its length."""
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(steps)])
        at = np.linspace(0.0, along[-1], SCRIBBLE_CLICKS)
        points = np.stack([np.interp(at, along, self.points[:, k]) for k in (0, 1)], axis=1)
        return Click(points, np.ones(len(points), int))


@dataclass(frozen=True)
class MaskPrompt:
    """The object's mask, bool [H, W], of the frame's own size."""

    mask: np.ndarray

    def check(self, width: int, height: int) -> None:
        """Raise PixelReferError unless the mask is `width` x `height` and not empty."""
        check_mask_size(self.mask.shape, width, height)
        if not self.mask.any():
            raise PixelReferError('EMPTY_MASK', 'the mask is empty; at least one pixel is allowed')


Prompt = Click | Box | Scribble | MaskPrompt


def check_selects(prompt: Prompt) -> None:
    """Raise PixelReferError BAD_LABELS for clicks that are all off the object: they may correct an
    object, but select none."""
    if isinstance(prompt, Click) and not np.isin(prompt.labels, 1).any():
        raise PixelReferError(
            'BAD_LABELS', 'every point is off the object (label 0), which selects nothing; at '
            'least one point on it (label 1) is allowed, or points off it to correct an object')
