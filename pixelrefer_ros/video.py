# SPDX-License-Identifier: Apache-2.0
"""Plays any video file as a camera: sensor_msgs/Image, and JPEG beside it.

    python -m pixelrefer_ros.video FILE --topic /camera/image_raw --loop

As a camera driver with image_transport does, it publishes `TOPIC` (rgb8) and `TOPIC/compressed`
(JPEG), each only while someone listens. The publishers are reliable, which matches reliable and
best-effort (sensor data) subscribers alike. Stamps are the wall clock at which a frame is shown.
"""

import argparse
import signal
import sys
import threading
import time
from array import array
from pathlib import Path

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.video import VideoFile
from pixelrefer_ros.transport import trouble_with

JPEG_QUALITY = 90
MOST_SKIPPED = 3

CAMERA_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE)


class Camera:
    """The two publishers of a camera topic."""

    def __init__(self, node: Node, topic: str, frame_id: str) -> None:
        self._node = node
        self._frame_id = frame_id
        self._raw = node.create_publisher(Image, topic, CAMERA_QOS)
        self._jpeg = node.create_publisher(CompressedImage, f'{topic}/compressed', CAMERA_QOS)

    @property
    def listeners(self) -> tuple[int, int]:
        """Subscribers of the raw and of the compressed topic."""
        return self._raw.get_subscription_count(), self._jpeg.get_subscription_count()

    def show(self, bgr: np.ndarray, stamp: Time | None = None) -> None:
        """Publish a frame, uint8 [H, W, 3] BGR, to whoever listens; without a stamp, it is now."""
        stamp = self._node.get_clock().now().to_msg() if stamp is None else stamp
        raw, jpeg = self.listeners
        if raw:
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            message = Image(height=rgb.shape[0], width=rgb.shape[1], encoding='rgb8',
                            is_bigendian=0, step=rgb.shape[1] * 3)
            message.header.stamp, message.header.frame_id = stamp, self._frame_id
            # An array is taken over whole; an ndarray would be checked byte by byte.
            message.data = array('B', rgb.tobytes())
            self._raw.publish(message)
        if jpeg:
            _, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            message = CompressedImage(format='rgb8; jpeg compressed bgr8')
            message.header.stamp, message.header.frame_id = stamp, self._frame_id
            message.data = array('B', data.tobytes())
            self._jpeg.publish(message)


def play(video: VideoFile, camera: Camera, rate: float, stopped: threading.Event) -> int:
    """Show every frame at its time, `rate` times as fast as the file says; the number shown.

    A frame whose time is over before it is decoded is skipped, as a camera would, but never more
    than MOST_SKIPPED in a row: a slow decoder makes the film slow, not invisible."""
    started, shown, skipped = time.monotonic(), 0, 0
    for frame in video.frames():
        due = started + frame.at_s / rate
        late = time.monotonic() - due
        if late > 1 / (video.fps * rate) and skipped < MOST_SKIPPED:
            skipped += 1
            continue
        if stopped.wait(max(0.0, -late)):
            break
        camera.show(frame.bgr)
        shown, skipped = shown + 1, 0
    return shown


def size(text: str) -> tuple[int, int]:
    """Width and height, typed as 640x480."""
    width, _, height = text.partition('x')
    if not (width.isdigit() and height.isdigit() and int(width) >= 16 <= int(height)):
        raise argparse.ArgumentTypeError(f'{text}: WIDTHxHEIGHT, each at least 16, is allowed')
    return int(width), int(height)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='video', description='Play a video file as a camera topic.')
    parser.add_argument('file', type=Path)
    parser.add_argument('--topic', default='/camera/image_raw',
                        help='rgb8 here, JPEG on TOPIC/compressed (default: %(default)s)')
    parser.add_argument('--rate', type=float, default=1.0, help='2 plays twice as fast')
    parser.add_argument('--size', type=size, metavar='WxH',
                        help='scale every frame, for example 640x480')
    parser.add_argument('--frame-id', default='camera_optical')
    parser.add_argument('--loop', action='store_true', help='again and again, until Ctrl-C')
    args = parser.parse_args(argv)
    if not args.rate > 0:
        parser.error(f'--rate {args.rate:g}: a positive rate is allowed')
    return args


def main(argv: list[str] | None = None) -> int:
    """Play a file; 0 when it was played (or ended by a signal), 2 when it cannot be."""
    args = parse(argv)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        video = VideoFile(args.file, args.size)
    except PixelReferError as error:
        print(f'video: {error.message}', file=sys.stderr)
        return 2
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('video')
    try:
        with video:
            camera = Camera(node, args.topic, args.frame_id)
            width, height = video.size
            print(f'{args.file.name}: {width}x{height} at {video.fps * args.rate:.3g} Hz on '
                  f'{args.topic} and {args.topic}/compressed', flush=True)
            trouble = trouble_with(3 * width * height)
            if trouble:
                print(f'note: {trouble}; or give a smaller --size', flush=True)
            shown = play(video, camera, args.rate, stopped)
            while args.loop and not stopped.is_set():
                shown += play(video, camera, args.rate, stopped)
            print(f'{shown} frames shown')
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
