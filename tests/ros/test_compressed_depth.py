# SPDX-License-Identifier: Apache-2.0
"""compressedDepth gives the depth that raw messages give, and what is no such file is refused."""

import struct

import cv2
import numpy as np
import pytest
from ros_support import SECOND
from sensor_msgs.msg import CompressedImage

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import compressed_depth, conversions
from pixelrefer_ros.depth import depth_from_compressed

#: Up to 10 m, with the quantisation that is usual: a = 100 * 101, b = 1 - a / 10.
A, B = 10_100.0, -1009.0
#: Depths in metres and their 16-bit inverse by hand: a / depth + b.
KNOWN = {2.0: 4041, 4.0: 1516, 0.5: 19191, 10.0: 1}


def packed(values: np.ndarray, a: float = 0.0, b: float = 0.0) -> bytes:
    return struct.pack('<iff', 0, a, b) + cv2.imencode('.png', values)[1].tobytes()


def grid(numbers: list[int], kind: type = np.uint16) -> np.ndarray:
    return np.resize(np.array(numbers, kind), (24, 32))


def code_of(data: bytes, format_: str) -> str:
    with pytest.raises(PixelReferError) as caught:
        compressed_depth.decode(data, format_)
    assert ';' in caught.value.message
    return caught.value.code


@pytest.mark.parametrize('format_', [
    '16UC1; compressedDepth png', '16UC1; compressedDepth', 'mono16; compressedDepth png'])
def test_millimetres_come_out_as_they_went_in(format_):
    values = grid([0, 1, 255, 256, 2000, 65535])
    found, encoding = compressed_depth.decode(packed(values), format_)
    assert found.dtype == np.uint16 and encoding == format_.split(';')[0]
    np.testing.assert_array_equal(found, values)


def test_inverse_depth_comes_out_in_metres_and_nothing_as_nan():
    found, encoding = compressed_depth.decode(
        packed(grid([*KNOWN.values(), 0]), A, B), '32FC1; compressedDepth png')
    assert found.dtype == np.float32 and encoding == '32FC1'
    np.testing.assert_allclose(found, grid([*KNOWN, np.nan], np.float32), rtol=1e-6)


def test_the_unit_of_a_message_is_that_of_its_encoding():
    message = CompressedImage(format='16UC1; compressedDepth png', data=packed(grid([2000])))
    message.header = conversions.header_message(3 * SECOND, 'optical')
    millimetres = depth_from_compressed(message)
    message.format, message.data = '32FC1; compressedDepth png', packed(grid([4041]), A, B)
    metres = depth_from_compressed(message)
    for image in (millimetres, metres):
        assert (image.stamp_ns, image.frame_id) == (3 * SECOND, 'optical')
        np.testing.assert_allclose(image.values * image.unit, 2.0, rtol=1e-6)


@pytest.mark.parametrize('format_', [
    '', 'jpeg', 'rgb8; jpeg compressed bgr8', '16UC1; compressedDepth rvl',
    '16UC1; png compressed', '8UC1; compressedDepth png', '; compressedDepth png', ';' * 10_000])
def test_another_format_is_named(format_):
    assert code_of(packed(grid([1])), format_) == 'BAD_ENCODING'


BAD = {
    'nothing': b'',
    'half a header': bytes(7),
    'a header and nothing': bytes(12),
    'no PNG': bytes(12) + b'GIF89a' + bytes(100),
    'a PNG without its header': packed(grid([1]))[12:],
    'a PNG that is cut off': packed(grid([1, 2, 3]))[:-40],
    'a PNG with other bytes within': packed(grid([1, 2, 3]))[:60] + bytes(20) + packed(
        grid([1, 2, 3]))[80:],
    'eight bits': packed(grid([1], np.uint8)),
    'colours': packed(np.zeros((24, 32, 3), np.uint16)),
    'too small': packed(np.zeros((3, 3), np.uint16)),
    'a size that is not there': packed(grid([1]))[:28] + struct.pack('>II', 2**31, 2**31) + packed(
        grid([1]))[36:],
}


@pytest.mark.parametrize('data', BAD.values(), ids=BAD)
def test_a_bad_file_is_refused(data):
    assert code_of(data, '16UC1; compressedDepth png') == 'BAD_IMAGE'


@pytest.mark.parametrize('a, b', [
    (0.0, 0.0), (-1.0, 0.0), (float('nan'), 0.0), (1.0, float('inf'))])
def test_a_quantisation_that_gives_no_depth_is_refused(a, b):
    assert code_of(packed(grid([1]), a, b), '32FC1; compressedDepth png') == 'BAD_IMAGE'


def test_a_number_below_the_quantisation_is_no_depth():
    """Else it would lie behind the camera."""
    found, _ = compressed_depth.decode(packed(grid([5, 10, 20]), 1.0, 10.0),
                                       '32FC1; compressedDepth png')
    np.testing.assert_allclose(found, grid([np.nan, np.nan, 0.1], np.float32), rtol=1e-6)
