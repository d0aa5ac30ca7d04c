# SPDX-License-Identifier: Apache-2.0
"""A video file becomes a camera topic; a file that is no video is named."""

import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from demo_support import WATCHDOG_S, stamp_ns, until

rclpy = pytest.importorskip('rclpy')
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

SIZE, COUNT = (64, 48), 12


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A red film that is blue from the middle on."""
    path = tmp_path / 'film.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 25.0, SIZE)
    for k in range(COUNT):
        picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        picture[..., 2 if k < COUNT // 2 else 0] = 255
        writer.write(picture)
    writer.release()
    return path


def test_every_frame_is_decoded_each_time_round(video):
    from pixelrefer_model.video import VideoFile
    with VideoFile(video, (32, 24)) as film:
        for _ in range(2):
            frames = list(film.frames())
            assert len(frames) == COUNT
            assert {f.bgr.shape for f in frames} == {(24, 32, 3)}
            assert np.allclose(np.diff([f.at_s for f in frames]), 0.04)
            assert frames[0].bgr[12, 16].argmax() == 2 and frames[-1].bgr[12, 16].argmax() == 0


def test_it_is_seen_by_a_sensor_data_subscriber_raw_and_compressed(ros, start, video):
    raw, jpeg = [], []
    ros.create_subscription(Image, '/eye', raw.append, qos_profile_sensor_data)
    ros.create_subscription(
        CompressedImage, '/eye/compressed', jpeg.append, qos_profile_sensor_data)
    player = start('pixelrefer_ros.video', video, '--topic', '/eye', '--loop', '--rate', 0.5)
    until(lambda: len(raw) > 3 * COUNT and len(jpeg) > 3 * COUNT, 'frames of three rounds')
    player.send_signal(signal.SIGTERM)
    assert player.wait(WATCHDOG_S) == 0
    first = raw[0]
    assert (first.width, first.height, first.encoding, first.step) == (64, 48, 'rgb8', 192)
    assert len(first.data) == 64 * 48 * 3
    colours = {int(np.frombuffer(m.data, np.uint8)[:3].argmax()) for m in raw}
    assert colours == {0, 2}, 'red and blue, in the order of rgb8'
    stamps = [stamp_ns(m) for m in raw]
    assert stamps == sorted(set(stamps)), 'time only goes forward, also when it loops'
    decoded = cv2.imdecode(np.frombuffer(jpeg[0].data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (48, 64, 3)


@pytest.mark.parametrize('content', [None, b'', b'no video at all' * 50])
def test_a_file_that_cannot_be_played_is_named(start, tmp_path, content):
    path = tmp_path / 'broken.mp4'
    if content is not None:
        path.write_bytes(content)
    player = start('pixelrefer_ros.video', path)
    _, err = player.communicate(timeout=WATCHDOG_S)
    assert player.returncode == 2
    assert str(path) in err and 'Traceback' not in err
