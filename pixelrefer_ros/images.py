# SPDX-License-Identifier: Apache-2.0
"""Pixels of every encoding to uint8 RGB: raw rows with their step and byte order, JPEG and PNG."""

import struct

import cv2
import numpy as np

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import LARGEST_SIDE, SMALLEST_SIDE

#: Encodings: type of a channel, channels, OpenCV conversion to RGB (None: it is RGB already).
ENCODINGS: dict[str, tuple[str, int, int | None]] = {
    'rgb8': ('u1', 3, None),
    'bgr8': ('u1', 3, cv2.COLOR_BGR2RGB),
    'rgba8': ('u1', 4, cv2.COLOR_RGBA2RGB),
    'bgra8': ('u1', 4, cv2.COLOR_BGRA2RGB),
    'mono8': ('u1', 1, cv2.COLOR_GRAY2RGB),
    '8UC1': ('u1', 1, cv2.COLOR_GRAY2RGB),
    '8UC3': ('u1', 3, cv2.COLOR_BGR2RGB),
    '8UC4': ('u1', 4, cv2.COLOR_BGRA2RGB),
    'rgb16': ('u2', 3, None),
    'bgr16': ('u2', 3, cv2.COLOR_BGR2RGB),
    'mono16': ('u2', 1, cv2.COLOR_GRAY2RGB),
    # OpenCV names a Bayer pattern by its second row, second column; ROS by its first pixels.
    'bayer_rggb8': ('u1', 1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': ('u1', 1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': ('u1', 1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': ('u1', 1, cv2.COLOR_BayerGB2RGB),
    'bayer_rggb16': ('u2', 1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr16': ('u2', 1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg16': ('u2', 1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg16': ('u2', 1, cv2.COLOR_BayerGB2RGB),
    'yuv422': ('u1', 2, cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': ('u1', 2, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': ('u1', 2, cv2.COLOR_YUV2RGB_YUY2),
    'yuyv': ('u1', 2, cv2.COLOR_YUV2RGB_YUY2),
}
#: Two planes: rows of Y, then half as many rows of U and V (nv21: V and U), one pair for each block
#: of 2x2 pixels.
PLANAR = {'nv12': cv2.COLOR_YUV2RGB_NV12, 'nv21': cv2.COLOR_YUV2RGB_NV21}
_PNG = b'\x89PNG\r\n\x1a\n'
_JPEG = b'\xff\xd8'
#: JPEG markers that start a frame header (all SOFn, without DHT, JPG and DAC).
_START_OF_FRAME = frozenset(range(0xc0, 0xd0)) - {0xc4, 0xc8, 0xcc}


def check_size(width: int, height: int) -> None:
    """Raise PixelReferError BAD_IMAGE for sides that no frame may have."""
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (width, height)):
        raise PixelReferError(
            'BAD_IMAGE', f'the image is {width}x{height} pixels; each side may be '
            f'{SMALLEST_SIDE} to {LARGEST_SIDE}')


def decode_rows(data: bytes, *, width: int, height: int, encoding: str, step: int,
                is_bigendian: bool) -> np.ndarray:
    """uint8 RGB [height, width, 3] of raw rows, each `step` bytes long (0: no padding). May be a
    view of `data`, which must not change after this.

    height: of the image; planar encodings have half as many rows of chroma behind. Raises
    PixelReferError BAD_ENCODING, or BAD_IMAGE when size, step and bytes do not fit.
    """
    if encoding not in (*ENCODINGS, *PLANAR):
        raise PixelReferError(
            'BAD_ENCODING', f'encoding {encoding[:40]!r}; {", ".join((*ENCODINGS, *PLANAR))} are '
            'allowed')
    check_size(width, height)
    planar = encoding in PLANAR
    if width % 2 and (planar or 'yuv' in encoding or 'uy' in encoding) or planar and height % 2:
        raise PixelReferError(
            'BAD_IMAGE', f'{width}x{height} pixels of {encoding}; an even width'
            f'{" and height are" if planar else " is"} allowed')
    kind, channels, conversion = ('u1', 1, PLANAR[encoding]) if planar else ENCODINGS[encoding]
    rows = _rows(data, width, height * 3 // 2 if planar else height, channels,
                 np.dtype(kind).newbyteorder('>' if is_bigendian else '<'), step,
                 f'{width}x{height} {encoding}')
    if rows.itemsize == 2:
        rows = (rows >> 8).astype(np.uint8)
    if conversion is None:
        return np.ascontiguousarray(rows)
    return cv2.cvtColor(np.ascontiguousarray(rows), conversion)


def _rows(data: bytes, width: int, height: int, channels: int, pixel: np.dtype, step: int,
          what: str) -> np.ndarray:
    """A view [height, width, channels] of rows of `step` bytes. Raises PixelReferError BAD_IMAGE
    where they do not fit into `data`; `what` says then what was to be there."""
    row = width * channels * pixel.itemsize
    step = step or row
    if step < row:
        raise PixelReferError(
            'BAD_IMAGE', f'step is {step} bytes; at least {row}, a row of {what}, is allowed')
    if (needed := step * (height - 1) + row) > len(data):
        raise PixelReferError(
            'BAD_IMAGE', f'the image has {len(data)} bytes; {what} with step {step} takes '
            f'{needed}, and no fewer are allowed')
    return np.ndarray((height, width, channels), pixel, data,
                      strides=(step, channels * pixel.itemsize, pixel.itemsize))


def decode_compressed(data: bytes, format_: str) -> np.ndarray:
    """uint8 RGB [H, W, 3] of a JPEG or PNG file.

    Raises PixelReferError BAD_ENCODING for any other file and BAD_IMAGE for one that is cut off,
    damaged or of a size that is not allowed; the size is read before anything is decoded.
    """
    if 'compressedDepth' in format_ or not data.startswith((_JPEG, _PNG)):
        raise PixelReferError(
            'BAD_ENCODING', f'the compressed image (format {format_[:40]!r}) is no JPEG and no PNG '
            'of colours; these are allowed')
    width, height = _jpeg_size(data) if data.startswith(_JPEG) else png_size(data)
    check_size(width, height)
    # Pixels of prompts are those of the file: a turn in its EXIF data must not move them.
    image = cv2.imdecode(np.frombuffer(data, np.uint8),
                         cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or image.shape[0] * image.shape[1] != width * height:
        raise PixelReferError('BAD_IMAGE', 'the compressed image is damaged; a whole JPEG or PNG '
                              'file is allowed')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _cut_off(kind: str, size: int) -> PixelReferError:
    return PixelReferError(
        'BAD_IMAGE', f'the {kind} is cut off after {size} bytes; a whole file is allowed')


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG file. Raises PixelReferError BAD_IMAGE for one that is cut off."""
    if len(data) < 24 or b'IEND' not in data[-16:]:
        raise _cut_off('PNG', len(data))
    return struct.unpack('>II', data[16:24])


def _jpeg_size(data: bytes) -> tuple[int, int]:
    # The decoder fills what is missing with grey and says nothing, so the end is looked for here.
    if not data.rstrip(b'\0').endswith(b'\xff\xd9'):
        raise _cut_off('JPEG', len(data))
    at = 2
    while at + 9 <= len(data) and data[at] == 0xff:
        marker = data[at + 1]
        if marker == 0xff:
            at += 1
            continue
        if marker in _START_OF_FRAME:
            height, width = struct.unpack('>HH', data[at + 5:at + 9])
            return width, height
        at += 2 + struct.unpack('>H', data[at + 2:at + 4])[0]
    raise _cut_off('JPEG', len(data))


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """A JPEG file of uint8 RGB [H, W, 3]."""
    done, data = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
                              [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f'no JPEG could be made of an image {image.shape}')
    return data.tobytes()
