# SPDX-License-Identifier: Apache-2.0
"""Images as the networks were trained on them, held against transformers where it can run."""

import json

import numpy as np
import pytest
from detection_support import GROUNDING_IMAGES, OWL_IMAGES, noise
from transformers import GroundingDinoImageProcessor

from pixelrefer_model.detection.preparing import PaddedSquare, ShortestEdge, read_preparation
from pixelrefer_model.errors import PixelReferError

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


@pytest.mark.parametrize('height, width', [
    (48, 64), (64, 48), (240, 320), (100, 100), (64, 64), (60, 300), (301, 59), (721, 1283)])
def test_grounding_dino_sees_what_transformers_shows_it(tmp_path, height, width):
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(GROUNDING_IMAGES))
    image = noise(height, width)
    own = read_preparation(tmp_path).pixels(image)
    theirs = GroundingDinoImageProcessor(size=GROUNDING_IMAGES['size'])(
        images=image, return_tensors='np', do_pad=False)['pixel_values'][0]
    assert own.dtype == np.float32 and own.shape == theirs.shape
    assert np.abs(own - theirs).max() < 1e-5


def test_released_grounding_dino_sizes():
    edge = ShortestEdge(800, 1333, ZERO, ONE)
    assert [edge.size(*size) for size in ((480, 640), (720, 1280), (1080, 1920), (640, 640))] == [
        (800, 1066), (750, 1333), (750, 1333), (800, 800)]
    assert edge.extent(480, 640) == (480, 640)


def test_owlv2_sees_the_image_in_the_upper_left_of_a_black_square():
    square = PaddedSquare(64, 64, ZERO, ONE)
    made = square.pixels(np.full((16, 32, 3), 255, np.uint8))
    assert made.shape == (3, 64, 64)
    # Enlarged, bilinear: white above, black below, and nothing else but at the edge.
    assert (made[:, :31] == 1).all() and (made[:, 33:] == 0).all()
    assert square.extent(16, 32) == (32, 32)


def test_owlv2_enlarges_between_pixel_middles_and_blurs_where_it_shrinks():
    ramp = np.repeat(np.arange(4, dtype=np.uint8)[None, :, None] * 50, 4, 0).repeat(3, 2)
    row = PaddedSquare(8, 8, ZERO, ONE).pixels(ramp)[0, 0] * 255
    assert row == pytest.approx([0, 12.5, 37.5, 62.5, 87.5, 112.5, 137.5, 150], abs=1e-3)
    # To a quarter: sigma is 1.5 pixels, and each pixel lies between two middles of the four.
    line = np.zeros((64, 64, 3), np.uint8)
    line[:, 30:34] = 255
    made = PaddedSquare(16, 16, ZERO, ONE).pixels(line)[0, 8]
    offsets = np.arange(64) - 30
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 1.5) ** 2)
    blurred = np.convolve(((offsets >= 0) & (offsets < 4)).astype(float), kernel / kernel.sum(),
                          'same')
    wanted = (blurred[1::4] + blurred[2::4]) / 2
    assert made == pytest.approx(wanted, abs=1e-4)


def test_mean_and_deviation_are_those_of_the_file(tmp_path):
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(OWL_IMAGES))
    made = read_preparation(tmp_path).pixels(np.full((64, 64, 3), 255, np.uint8))
    wanted = (1 - np.array(OWL_IMAGES['image_mean'])) / OWL_IMAGES['image_std']
    assert made[:, 5, 5] == pytest.approx(wanted, abs=1e-5)


def test_a_file_as_newer_versions_write_it_is_read(tmp_path):
    (tmp_path / 'processor_config.json').write_text(json.dumps({'image_processor': OWL_IMAGES}))
    assert read_preparation(tmp_path) == PaddedSquare(
        64, 64, tuple(OWL_IMAGES['image_mean']), tuple(OWL_IMAGES['image_std']))


@pytest.mark.parametrize('text', [None, 'no json', '[]', '{"size": {"height": 3}}'])
def test_a_file_that_does_not_say_it_is_named(tmp_path, text):
    if text is not None:
        (tmp_path / 'preprocessor_config.json').write_text(text)
    with pytest.raises(PixelReferError) as caught:
        read_preparation(tmp_path)
    assert caught.value.code == 'CHECKPOINT'
    assert 'preprocessor_config.json' in caught.value.message
