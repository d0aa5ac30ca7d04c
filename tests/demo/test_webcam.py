# SPDX-License-Identifier: Apache-2.0
"""A camera without a driver becomes a camera topic. The camera here is one of the network, a server
of this test: there is no USB camera on a machine that runs tests."""

import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from demo_support import WATCHDOG_S, stamp_ns, until

rclpy = pytest.importorskip('rclpy')
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

WIDTH, HEIGHT, PERIOD_S = 64, 48, 0.02


class Camera:
    """A network camera that sends JPEGs in one endless reply, each brighter than the last."""

    def __init__(self) -> None:
        self.unplugged = threading.Event()
        self.sent = 0
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=frame')
                self.end_headers()
                try:
                    while not camera.unplugged.wait(PERIOD_S):
                        picture = np.full((HEIGHT, WIDTH, 3), camera.sent % 256, np.uint8)
                        picture[..., 2] = 255
                        data = cv2.imencode('.jpg', picture)[1].tobytes()
                        self.wfile.write(
                            b'--frame\r\nContent-Type: image/jpeg\r\nContent-Length: '
                            + str(len(data)).encode() + b'\r\n\r\n' + data + b'\r\n')
                        camera.sent += 1
                except OSError:
                    pass    # nobody looks any more

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_port}/'
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.unplugged.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def camera() -> Iterator[Camera]:
    made = Camera()
    yield made
    made.close()


def test_it_is_seen_raw_and_compressed_with_stamps_that_go_forward(ros, start, camera):
    raw, jpeg = [], []
    ros.create_subscription(Image, '/eye', raw.append, qos_profile_sensor_data)
    ros.create_subscription(
        CompressedImage, '/eye/compressed', jpeg.append, qos_profile_sensor_data)
    webcam = start('pixelrefer_ros.webcam', camera.url, '--topic', '/eye', '--frame-id', 'eye')
    until(lambda: len(raw) > 5 and len(jpeg) > 5, 'images')
    webcam.send_signal(signal.SIGINT)
    out, err = webcam.communicate(timeout=WATCHDOG_S)
    assert webcam.returncode == 0, err
    assert '64x48 on /eye and /eye/compressed' in out
    first = raw[0]
    assert (first.width, first.height, first.encoding) == (WIDTH, HEIGHT, 'rgb8')
    assert first.data[0] > 200, 'red comes first in rgb8'
    assert first.header.frame_id == jpeg[0].header.frame_id == 'eye'
    stamps = [stamp_ns(message) for message in raw]
    assert stamps == sorted(set(stamps))


def test_it_is_scaled_to_the_size_that_was_asked_for(ros, start, camera):
    raw = []
    ros.create_subscription(Image, '/eye', raw.append, qos_profile_sensor_data)
    webcam = start('pixelrefer_ros.webcam', camera.url, '--topic', '/eye', '--size', '32x24')
    until(lambda: raw, 'an image')
    webcam.send_signal(signal.SIGTERM)
    out, _ = webcam.communicate(timeout=WATCHDOG_S)
    assert (raw[0].width, raw[0].height) == (32, 24) and 'scaled from 64x48' in out


def test_a_slow_reader_has_the_newest_frame_and_no_queue(camera):
    from builtin_interfaces.msg import Time
    from pixelrefer_ros.webcam import Webcam
    stamps = iter(range(1, 10**6))
    with Webcam(camera.url, None, None, lambda: Time(nanosec=next(stamps))) as webcam:
        until(lambda: webcam.taken >= 5, 'five frames that nobody took')
        with webcam._news:
            taken, newest = webcam.taken, webcam._newest
        assert webcam.replaced == taken - 1
        assert newest.stamp.nanosec == taken, 'the stamp of the last one'


def test_frames_beyond_the_rate_are_left_out(camera):
    from builtin_interfaces.msg import Time
    from pixelrefer_ros.webcam import Webcam
    grabbed = []
    with Webcam(camera.url, None, 0.1, lambda: grabbed.append(0) or Time()) as webcam:
        until(lambda: len(grabbed) >= 5, 'five frames of the camera')
        assert webcam.taken == 1


def test_a_camera_that_is_unplugged_ends_it_with_a_word(start, camera):
    webcam = start('pixelrefer_ros.webcam', camera.url)
    assert webcam.stdout.readline()
    until(lambda: camera.sent > 3, 'frames')
    camera.unplugged.set()
    _, err = webcam.communicate(timeout=WATCHDOG_S)
    assert webcam.returncode == 1
    assert f'{camera.url} gives no more images' in err and 'Traceback' not in err


def test_a_frame_that_cannot_be_scaled_ends_it_with_the_reason(camera):
    from builtin_interfaces.msg import Time
    from pixelrefer_ros.webcam import Webcam, WebcamError
    with Webcam(camera.url, (0, 0), None, Time) as webcam:
        webcam._thread.join(WATCHDOG_S)
        with pytest.raises(WebcamError, match='no more images, after 0: .*resize'):
            webcam.newest()


@pytest.mark.parametrize(('device', 'told'), [
    ('/dev/video977', 'there is no /dev/video977'), ('977', 'there is no /dev/video977'),
    ('http://127.0.0.1:9/', 'gives no image'), (__file__, 'gives no image')])
def test_a_camera_that_is_not_there_is_named(start, device, told):
    webcam = start('pixelrefer_ros.webcam', device)
    _, err = webcam.communicate(timeout=WATCHDOG_S)
    assert webcam.returncode == 2
    assert told in err and 'Traceback' not in err
