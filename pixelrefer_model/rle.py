# SPDX-License-Identifier: Apache-2.0
"""COCO run lengths of a binary mask: the compressed counts string, column by column.

The format is that of pycocotools: lengths of alternating runs that begin with background, each
from the third on as the difference to the one two before, written five bits a character, least
significant first, bit 5 saying that more follow, offset by 48.
"""

import numpy as np

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import LARGEST_SIDE

_OFFSET, _BITS, _MORE, _SIGN = 48, 5, 32, 16
#: Characters that one length may take: run lengths of the largest image fit in six.
_MOST_CHARACTERS = 7


def encode(mask: np.ndarray) -> str:
    """The counts string of a mask, bool [H, W]."""
    height, width = mask.shape
    # Only the columns with something in them are looked at, with an empty one on either side.
    filled = np.flatnonzero(mask.any(axis=0))
    first, last = (max(0, filled[0] - 1), filled[-1] + 2) if len(filled) else (0, 1)
    pixels = mask[:, first:last].ravel(order='F')
    starts = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1 + first * height
    counts = np.diff(np.concatenate([[0], starts, [height * width]]))
    if pixels.size and pixels[0]:
        counts = np.concatenate([[0], counts])
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2]
    digits = np.zeros((len(values), _MOST_CHARACTERS), np.int64)
    used = np.zeros(digits.shape, bool)
    open_ = np.ones(len(values), bool)
    for k in range(_MOST_CHARACTERS):
        digit, values = values & (_MORE - 1), values >> _BITS
        used[:, k] = open_
        open_ = open_ & (values != np.where(digit & _SIGN, -1, 0))
        digits[:, k] = digit | np.where(open_, _MORE, 0)
    return (digits[used] + _OFFSET).astype(np.uint8).tobytes().decode('ascii')


def decode(counts: str, height: int, width: int) -> np.ndarray:
    """The mask, bool [height, width], of a counts string.

    Raises PixelReferError MASK_SIZE when the string is no run lengths or does not fill the mask.
    """
    if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
        raise PixelReferError(
            'MASK_SIZE', f'the mask is {width}x{height}; sides of 1 to {LARGEST_SIDE} are allowed')
    lengths = _lengths(counts, width * height)
    total = int(lengths.sum())
    if total != width * height:
        raise PixelReferError(
            'MASK_SIZE', f'the runs of the mask cover {total} pixels; {width}x{height} has '
            f'{width * height}, and they have to fill it')
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape((height, width), order='F')


def _lengths(counts: str, most: int) -> np.ndarray:
    """Run lengths, int64 [N], each 0 to `most`, at most as many as `most` pixels can have."""
    wrong = PixelReferError(
        'MASK_SIZE', 'the counts of the mask are no COCO run lengths; the compressed string of '
        'pycocotools is allowed')
    if len(counts) > _MOST_CHARACTERS * (most + 1):
        raise wrong
    digits = np.frombuffer(counts.encode('utf-8'), np.uint8).astype(np.int64) - _OFFSET
    if not len(digits) or digits.min() < 0 or digits.max() >= 2 * _MORE or digits[-1] & _MORE:
        raise wrong
    last = (digits & _MORE) == 0
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() >= _MOST_CHARACTERS:
        raise wrong
    place = np.arange(len(digits)) - np.repeat(starts, ends - starts + 1)
    values = np.add.reduceat((digits & (_MORE - 1)) << (_BITS * place), starts)
    negative = (digits[ends] & _SIGN) != 0
    values = values - np.where(negative, np.int64(1) << (_BITS * (ends - starts + 1)), 0)
    lengths = values.copy()
    lengths[1::2] = np.cumsum(values[1::2])
    lengths[2::2] = np.cumsum(values[2::2])
    if lengths.min() < 0 or lengths.max() > most:
        raise wrong
    return lengths
