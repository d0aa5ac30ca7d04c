# SPDX-License-Identifier: Apache-2.0
"""Rules of picture files: what they are is told by their content, and times only go forward."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.video import VideoFile, is_image, read_image, read_mask

OFFLINE = Path(__file__).parents[1] / 'docs' / 'offline'


def test_an_image_and_a_video_are_told_apart_by_their_content(tmp_path):
    for name, image in (('table.jpg', True), ('table.mp4', False)):
        disguised = tmp_path / f'{name}.dat'
        disguised.write_bytes((OFFLINE / name).read_bytes())
        assert is_image(disguised) is image


class Clock:
    """A capture that plays three frames at the times it is given."""

    def __init__(self, times_ms: list[float]) -> None:
        self._coming, self._now = list(times_ms), 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        if not self._coming:
            return False, None
        self._now = self._coming.pop(0)
        return True, np.zeros((24, 32, 3), np.uint8)

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_POS_MSEC: self._now, cv2.CAP_PROP_FPS: 10.0}.get(what, 0.0)

    def release(self) -> None:
        pass


@pytest.mark.parametrize('own_ms, told_s', [
    ([0, 50, 210], [0, 0.05, 0.21]),            # a camera that did not keep its rate
    ([0, 0, 0], [0, 0.1, 0.2]),                 # a file that has no times
    ([0, 300, 100], [0, 0.3, 0.4]),             # times that go back
    ([float('nan')] * 3, [0, 0.1, 0.2]),
])
def test_times_are_the_files_own_as_long_as_they_go_forward(
        monkeypatch, tmp_path, own_ms, told_s):
    (tmp_path / 'film').touch()
    monkeypatch.setattr(cv2, 'VideoCapture', lambda path: Clock(own_ms))
    with VideoFile(tmp_path / 'film') as video:
        assert [frame.at_s for frame in video.frames()] == pytest.approx(told_s)


@pytest.mark.parametrize('values', [
    np.eye(20, 30, dtype=np.uint8), np.eye(20, 30, dtype=np.uint16),
    np.dstack([np.zeros((20, 30, 2), np.uint8), np.eye(20, 30, dtype=np.uint8) * 9]),
    np.dstack([np.eye(20, 30, dtype=np.uint8)] * 3 + [np.full((20, 30), 255, np.uint8)]),
])
def test_of_a_mask_file_every_pixel_counts_that_is_not_black(tmp_path, values):
    cv2.imwrite(str(tmp_path / 'mask.png'), values)
    assert np.array_equal(read_mask(tmp_path / 'mask.png'), np.eye(20, 30, dtype=bool))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / 'text').write_text('no picture')
    for read in (read_image, read_mask, VideoFile):
        for name in ('text', 'nowhere'):
            with pytest.raises(PixelReferError) as error:
                read(tmp_path / name)
            assert error.value.code == 'BAD_IMAGE' and str(tmp_path / name) in error.value.message
