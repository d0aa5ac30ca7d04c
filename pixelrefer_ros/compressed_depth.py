# SPDX-License-Identifier: Apache-2.0
"""Depth as image_transport's compressedDepth sends it: a header of 12 bytes, then a PNG.

16UC1 lies in the PNG as it is. Of 32FC1 the PNG has 16-bit numbers n that are inverse depth, even
steps of 1/m: the depth is a / (n - b) metres, and 0 means that there is none.
"""

import struct

import cv2
import numpy as np

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros.images import check_size, png_size

#: Which quantisation (0: inverse depth), then a and b; little endian.
HEADER = struct.Struct('<iff')
ENCODINGS = ('16UC1', 'mono16', '32FC1')


def decode(data: bytes, format_: str) -> tuple[np.ndarray, str]:
    """Depth [H, W] and its encoding: 16UC1 or mono16, uint16 in millimetres, or 32FC1, float32 in
    metres with NaN where there is none. format_: as in the message, `16UC1; compressedDepth png`.

    Raises PixelReferError BAD_ENCODING, or BAD_IMAGE for a file that is cut off, damaged or of a
    size that is not allowed; the size is read before anything is decoded.
    """
    encoding, _, transport = (part.strip() for part in format_.partition(';'))
    # Older publishers name no file format; theirs is PNG.
    if encoding not in ENCODINGS or transport not in ('compressedDepth png', 'compressedDepth'):
        raise PixelReferError(
            'BAD_ENCODING', f'compressed depth of format {format_[:60]!r}; '
            f'{", ".join(ENCODINGS)} with "compressedDepth png" is allowed')
    file = data[HEADER.size:]
    if len(file) < 8 or not file.startswith(b'\x89PNG\r\n\x1a\n'):
        raise PixelReferError(
            'BAD_IMAGE', f'the compressed depth has {len(data)} bytes and no PNG after its header '
            f'of {HEADER.size}; a whole message is allowed')
    width, height = png_size(file)
    check_size(width, height)
    values = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.shape != (height, width) or values.dtype != np.uint16:
        raise PixelReferError(
            'BAD_IMAGE', 'the PNG of the compressed depth is damaged or not of 16-bit grey; a '
            'whole one of that kind is allowed')
    if encoding != '32FC1':
        return values, encoding
    _, a, b = HEADER.unpack_from(data)
    if not (np.isfinite((a, b)).all() and a > 0):
        raise PixelReferError(
            'BAD_IMAGE', f'the compressed depth is quantised by {a:g} and {b:g}; numbers that are '
            'finite, the first above 0, are allowed')
    with np.errstate(divide='ignore'):
        metres = np.float32(a) / (values.astype(np.float32) - np.float32(b))
    there = (values > 0) & (metres > 0) & np.isfinite(metres)
    return np.where(there, metres, np.float32(np.nan)), encoding
