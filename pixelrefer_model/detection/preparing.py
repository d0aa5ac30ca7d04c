# SPDX-License-Identifier: Apache-2.0
"""Images as Grounding DINO and OWLv2 were trained on them, by what their preprocessor_config.json
says. With Pillow, OpenCV and NumPy alone, so that neither torchvision nor SciPy is needed.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from pixelrefer_model.errors import PixelReferError

#: Gaussian filters reach this many standard deviations, as SciPy's do.
_TRUNCATE = 4.0


class Preparation(Protocol):
    """From an image to what a network takes, and from its boxes back."""

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """uint8 RGB [H, W, 3] -> float32 [3, h, w]."""
        ...

    def extent(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels that a relative box of 1 x 1 covers, of such an image."""
        ...


@dataclass(frozen=True)
class ShortestEdge:
    """Grounding DINO: the aspect ratio is kept, the shorter side becomes `shortest` pixels unless
    the longer one would be more than `longest`."""

    shortest: int
    longest: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the resized image."""
        short, long = min(height, width), max(height, width)
        edge = float(self.shortest)
        if long / short * edge > self.longest:
            edge = self.longest * short / long
        # the shorter side is rounded, the longer cut off, as in training
        a, b = (round(edge), int(edge * long / short)) if short != long else (round(edge),) * 2
        return (a, b) if height <= width else (b, a)

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """See Preparation."""
        height, width = self.size(*image.shape[:2])
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        return _normalised(np.asarray(resized, np.float32) / 255, self.mean, self.std)

    def extent(self, height: int, width: int) -> tuple[int, int]:
        """See Preparation."""
        return height, width


@dataclass(frozen=True)
class PaddedSquare:
    """OWLv2: padded with black at the right or the bottom to a square, then resized to `height` x
    `width` with a Gaussian filter where that shrinks it."""

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """See Preparation."""
        side = max(image.shape[:2])
        square = np.zeros((side, side, 3), np.float32)
        square[:image.shape[0], :image.shape[1]] = image.astype(np.float32) / 255
        sigma = [max(0.0, (side / edge - 1) / 2) for edge in (self.width, self.height)]
        if max(sigma) > 0:
            reach = [2 * int(_TRUNCATE * s + 0.5) + 1 for s in sigma]
            square = cv2.GaussianBlur(square, reach, sigma[0], None, sigma[1],
                                      cv2.BORDER_REFLECT_101)
        resized = cv2.resize(square, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        return _normalised(resized, self.mean, self.std)

    def extent(self, height: int, width: int) -> tuple[int, int]:
        """See Preparation."""
        return max(height, width), max(height, width)


def read_preparation(folder: Path) -> Preparation:
    """The preparation of a checkpoint. Raises PixelReferError CHECKPOINT, naming the file."""
    file = folder / 'preprocessor_config.json'
    try:
        if not file.is_file() and (folder / 'processor_config.json').is_file():
            file = folder / 'processor_config.json'  # as newer versions of transformers write it
            values = json.loads(file.read_text(encoding='utf-8'))['image_processor']
        else:
            values = json.loads(file.read_text(encoding='utf-8'))
        size = values['size']
        mean, std = (tuple(map(float, values[name])) for name in ('image_mean', 'image_std'))
        if 'shortest_edge' in size:
            return ShortestEdge(int(size['shortest_edge']), int(size['longest_edge']), mean, std)
        return PaddedSquare(int(size['height']), int(size['width']), mean, std)
    except OSError as error:
        raise PixelReferError('CHECKPOINT', f'{file}: cannot be read ({error.strerror})') from error
    except (ValueError, KeyError, TypeError) as error:
        raise PixelReferError(
            'CHECKPOINT', f'{file}: no size, image_mean and image_std can be read from it '
            f'({type(error).__name__}: {error})') from error


def _normalised(image: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """float32 [h, w, 3] of 0..1 -> [3, h, w] of zero mean and unit variance."""
    made = (image - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(made.transpose(2, 0, 1), np.float32)
