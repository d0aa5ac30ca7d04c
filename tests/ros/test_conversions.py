# SPDX-License-Identifier: Apache-2.0
"""Messages and arrays: what goes in comes out, whatever step, byte order or file it came in."""

import cv2
import numpy as np
import pytest
from ros_support import HEIGHT, SECOND, WIDTH, box_mask, picture
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from pixelrefer.msg import Box as BoxMessage
from pixelrefer.msg import ErrorCode, Pixel, Prompt, Rle, TimeWindow, TrackedObject
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import Box, Click, MaskPrompt, Scribble
from pixelrefer_model import rle
from pixelrefer_ros import conversions, images
from pixelrefer_ros.objects import Entry, Sight

RNG = np.random.default_rng(7)
PIXELS = RNG.integers(0, 256, (32, 48, 3), np.uint8)
#: Masks and their counts as pycocotools 2.0 writes them.
COCO = {
    'a block and a corner': (((1, 4, 2, 5), (0, 1, 6, 7)), (5, 7), ';320004NN'),
    'the whole': (((0, 5, 0, 7),), (5, 7), '0S1'),
    'nothing': ((), (5, 7), 'S1'),
}


def mask_of(blocks, size) -> np.ndarray:
    mask = np.zeros(size, bool)
    for top, bottom, left, right in blocks:
        mask[top:bottom, left:right] = True
    return mask


def rows(array: np.ndarray, step: int) -> bytes:
    """Rows of an array with padding that is not zero."""
    padded = np.full((len(array), step), 171, np.uint8)
    flat = np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1)
    padded[:, :flat.shape[1]] = flat
    return padded.tobytes()


def frame(array: np.ndarray, encoding: str, *, padding: int = 0, bigendian: bool = False):
    step = array.shape[1] * array[0, 0].nbytes + padding
    message = Image(height=array.shape[0], width=array.shape[1], encoding=encoding, step=step,
                    is_bigendian=int(bigendian))
    message.data = rows(array, step)
    return conversions.frame_from_image(message, 'camera')


GREY = PIXELS[..., 0]
ALPHA = np.dstack([PIXELS, GREY])
ENCODED = {
    'rgb8': (PIXELS, PIXELS),
    'bgr8': (PIXELS[..., ::-1], PIXELS),
    '8UC3': (PIXELS[..., ::-1], PIXELS),
    'rgba8': (ALPHA, PIXELS),
    'bgra8': (ALPHA[..., [2, 1, 0, 3]], PIXELS),
    '8UC4': (ALPHA[..., [2, 1, 0, 3]], PIXELS),
    'mono8': (GREY, np.dstack([GREY] * 3)),
    '8UC1': (GREY, np.dstack([GREY] * 3)),
    'mono16': (GREY.astype(np.uint16) * 257, np.dstack([GREY] * 3)),
    'rgb16': (PIXELS.astype(np.uint16) * 257, PIXELS),
    'bgr16': (PIXELS[..., ::-1].astype(np.uint16) * 257, PIXELS),
}


@pytest.mark.parametrize('padding', [0, 16])
@pytest.mark.parametrize('encoding', ENCODED)
def test_every_encoding_comes_out_as_rgb_whatever_the_step(encoding, padding):
    given, expected = ENCODED[encoding]
    np.testing.assert_array_equal(frame(given, encoding, padding=padding).image, expected)


def test_the_byte_order_of_the_message_counts():
    swapped = (PIXELS.astype(np.uint16) << 8).byteswap()
    np.testing.assert_array_equal(frame(swapped, 'rgb16', bigendian=True).image, PIXELS)


def test_a_frame_outlives_its_message():
    found = [conversions.frame_from_image(Image(
        height=32, width=48, encoding='rgb8', step=144, data=pixels.tobytes()), 'camera').image
        for pixels in (PIXELS, 255 - PIXELS)]
    np.testing.assert_array_equal(found[0], PIXELS)


@pytest.mark.parametrize('bits, scale', [(8, 1), (16, 257)])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_a_bayer_pattern_is_read_from_its_first_pixels(pattern, bits, scale):
    colour = (200, 90, 30)
    mosaic = np.empty((32, 48), f'u{bits // 8}')
    for place, channel in enumerate(pattern):
        mosaic[place // 2::2, place % 2::2] = colour['rgb'.index(channel)] * scale
    found = frame(mosaic, f'bayer_{pattern}{bits}').image
    np.testing.assert_array_equal(found, np.broadcast_to(np.array(colour, np.uint8), found.shape))


@pytest.mark.parametrize('encoding, order', [
    ('yuv422', (1, 0, 3, 2)), ('uyvy', (1, 0, 3, 2)),
    ('yuyv', (0, 1, 2, 3)), ('yuv422_yuy2', (0, 1, 2, 3))])
def test_packed_yuv_is_read_in_its_own_order(encoding, order):
    # One red of (Y, U, Y, V), in the video range.
    quad = np.array([81, 90, 81, 240], np.uint8)[list(order)]
    found = frame(np.tile(quad, (32, 24)).reshape(32, 48, 2), encoding).image
    assert np.abs(found[0, 0].astype(int) - (255, 0, 0)).max() <= 3
    assert (found == found[0, 0]).all()


@pytest.mark.parametrize('padding', [0, 16])
@pytest.mark.parametrize('encoding, chroma', [('nv12', (90, 240)), ('nv21', (240, 90))])
def test_planar_yuv_is_read_in_its_own_order(encoding, chroma, padding):
    # Above a red, below a grey of the same brightness, in the video range.
    planes = np.full((48, 48), 81, np.uint8)
    planes[32:40] = np.tile(np.array(chroma, np.uint8), (8, 24))
    planes[40:] = 128
    message = Image(height=32, width=48, encoding=encoding, step=48 + padding,
                    data=rows(planes, 48 + padding))
    found = conversions.frame_from_image(message, 'camera').image.astype(int)
    assert found.shape == (32, 48, 3)
    assert np.abs(found[:16] - (255, 0, 0)).max() <= 3
    assert np.abs(found[16:] - 76).max() <= 2


@pytest.mark.parametrize('encoding, width, height', [
    ('nv12', 47, 32), ('nv21', 48, 31), ('yuyv', 47, 32), ('uyvy', 47, 32)])
def test_half_a_pair_of_chroma_is_refused(encoding, width, height):
    message = Image(height=height, width=width, encoding=encoding, step=0, data=bytes(48 * 48 * 2))
    with pytest.raises(PixelReferError) as caught:
        conversions.frame_from_image(message, 'camera')
    assert caught.value.code == 'BAD_IMAGE' and f'{width}x{height}' in caught.value.message


def test_planar_yuv_without_its_chroma_is_refused():
    message = Image(height=32, width=48, encoding='nv12', step=48, data=bytes(32 * 48))
    with pytest.raises(PixelReferError) as caught:
        conversions.frame_from_image(message, 'camera')
    assert caught.value.code == 'BAD_IMAGE' and str(48 * 48) in caught.value.message


def test_a_png_of_sixteen_bits_comes_out_as_its_upper_eight():
    data = cv2.imencode('.png', PIXELS[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    np.testing.assert_array_equal(images.decode_compressed(data, 'rgb16; png compressed'), PIXELS)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_a_grey_file_comes_out_as_rgb(suffix):
    data = cv2.imencode(suffix, np.full((32, 48), 77, np.uint8))[1].tobytes()
    found = images.decode_compressed(data, 'mono8; compressed')
    assert found.shape == (32, 48, 3) and np.abs(found.astype(int) - 77).max() <= 1


@pytest.mark.parametrize('suffix, exact', [('.png', True), ('.jpg', False)])
def test_a_file_of_colours_comes_out_as_rgb(suffix, exact):
    data = cv2.imencode(suffix, cv2.cvtColor(picture(), cv2.COLOR_RGB2BGR))[1].tobytes()
    found = images.decode_compressed(data, 'bgr8; compressed')
    assert found.shape == picture().shape
    error = np.abs(found.astype(int) - picture())
    assert error.max() == 0 if exact else error.mean() < 2


def test_pixels_that_are_rgb_already_are_not_copied():
    message = Image(height=32, width=48, encoding='rgb8', step=144, data=PIXELS.tobytes())
    frame = conversions.frame_from_image(message, 'camera')
    assert np.shares_memory(frame.image, np.frombuffer(message.data, np.uint8))
    assert frame.image.flags.writeable


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_a_file_that_is_cut_anywhere_is_refused(suffix):
    data = cv2.imencode(suffix, picture())[1].tobytes()
    for size in range(8, len(data) - 1, max(1, len(data) // 40)):
        with pytest.raises(PixelReferError) as caught:
            images.decode_compressed(data[:size], '')
        assert caught.value.code == 'BAD_IMAGE'


@pytest.mark.parametrize('blocks, size, counts', COCO.values(), ids=COCO)
def test_run_lengths_are_those_of_coco(blocks, size, counts):
    mask = mask_of(blocks, size)
    assert rle.encode(mask) == counts
    np.testing.assert_array_equal(rle.decode(counts, *size), mask)


def test_every_mask_survives_its_run_lengths():
    for density in (0.0, 0.01, 0.5, 0.99, 1.0):
        for size in ((1, 1), (1, 9), (9, 1), (240, 320)):
            mask = RNG.random(size) < density
            np.testing.assert_array_equal(
                conversions.mask_from(conversions.rle_message(mask)), mask)


@pytest.mark.parametrize('counts', ['', 'o', '1', 'S1S1', 'S2', ' ', 'ooooooooo0', 'O0S1'])
def test_run_lengths_that_do_not_fill_the_mask_are_refused(counts):
    with pytest.raises(PixelReferError) as caught:
        rle.decode(counts, 5, 7)
    assert caught.value.code == 'MASK_SIZE'


def prompt_of(**fields):
    return conversions.prompt_from(Prompt(**fields), WIDTH, HEIGHT)


def test_a_prompt_message_becomes_the_prompt_that_it_says():
    points = [Pixel(x=3.0, y=4.5), Pixel(x=6.0, y=7.0)]
    found = prompt_of(points=points, labels=[1, 0])
    assert isinstance(found, Click)
    assert found.points.tolist() == [[3.0, 4.5], [6.0, 7.0]] and found.labels.tolist() == [1, 0]
    assert prompt_of(points=points).labels.tolist() == [1, 1]
    boxed = prompt_of(
        points=points, labels=[1, 0], box=[BoxMessage(x=1.0, y=2.0, width=10.0, height=20.0)])
    assert isinstance(boxed, Box) and (boxed.x0, boxed.y0, boxed.x1, boxed.y1) == (1, 2, 11, 22)
    assert boxed.clicks.labels.tolist() == [1, 0]
    assert isinstance(prompt_of(scribble=points), Scribble)
    masked = prompt_of(mask=conversions.rle_message(box_mask()))
    assert isinstance(masked, MaskPrompt)
    np.testing.assert_array_equal(masked.mask, box_mask())


def test_a_mask_of_another_size_than_the_frame_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(rle, 'decode', lambda *_: pytest.fail('it was decoded'))
    for height, width in ((16_384, 16_384), (HEIGHT, WIDTH + 1), (WIDTH, HEIGHT)):
        with pytest.raises(PixelReferError) as caught:
            prompt_of(mask=Rle(height=height, width=width, counts='S1'))
        assert caught.value.code == 'MASK_SIZE'
        assert f'{WIDTH}x{HEIGHT}' in caught.value.message


def test_more_run_lengths_than_the_mask_has_pixels_are_refused_unread():
    # Nothing, the whole, and then one run of no length after the other.
    filled = '0S10mN'
    assert rle.decode(filled + '0' * 8, 5, 7).all()
    with pytest.raises(PixelReferError) as caught:
        rle.decode(filled + '0' * 1000, 5, 7)
    assert caught.value.code == 'MASK_SIZE'


def test_in_the_label_image_the_smaller_object_lies_in_front():
    whole, part = np.ones((20, 30), bool), np.zeros((20, 30), bool)
    part[5:10, 5:10] = True
    entries = [Entry('part', 300, 1, Sight(1, mask=part, area=25, box=(5, 5, 5, 5))),
               Entry('whole', 2, 1, Sight(1, mask=whole, area=600, box=(0, 0, 30, 20))),
               Entry('gone', 3, 1, Sight(TrackedObject.LOST))]
    message = conversions.label_image(Header(), (20, 30), entries)
    found = np.frombuffer(message.data, '<u2').reshape(20, 30)
    np.testing.assert_array_equal(found, np.where(part, 300, 2))


def test_a_window_is_now_or_seconds_or_stamps():
    stamp = conversions.time_message
    newest = 100 * SECOND
    assert conversions.window_span(TimeWindow(), newest) is None
    start, end = conversions.window_span(TimeWindow(seconds=2.5), newest)
    assert start == newest - 5 * SECOND // 2 and end >= newest
    window = TimeWindow(start=stamp(3 * SECOND), end=stamp(4 * SECOND))
    assert conversions.window_span(window, newest) == (3 * SECOND, 4 * SECOND)
    assert conversions.window_span(TimeWindow(end=stamp(4)), newest) == (0, 4)
    with pytest.raises(PixelReferError) as caught:
        conversions.window_span(TimeWindow(seconds=1.0, start=stamp(1)), newest)
    assert caught.value.code == 'BAD_WINDOW'


def test_stamps_survive_to_the_nanosecond():
    for stamp_ns in (0, 1, SECOND - 1, SECOND, 1_795_180_607_005_690_317):
        assert conversions.nanoseconds(conversions.time_message(stamp_ns)) == stamp_ns


def test_every_code_of_the_models_is_a_constant_of_the_message():
    import re
    from pathlib import Path
    root = Path(__file__).parents[2]
    found = set()
    for folder in ('pixelrefer_model', 'pixelrefer_ros'):
        for path in (root / folder).rglob('*.py'):
            found |= set(re.findall(r"PixelReferError\(\s*'([A-Z_]+)'", path.read_text()))
    assert 'BAD_BOX' in found and all(hasattr(ErrorCode, code) for code in found)
