# SPDX-License-Identifier: Apache-2.0
"""Publishes a camera that has no ROS driver: USB cameras (V4L2), and network cameras by their URL.

    python -m pixelrefer_ros.webcam /dev/video0 --size 640x480 --rate 15 --topic /camera/image_raw

The topics are those of pixelrefer_ros.video: `TOPIC` (rgb8) and `TOPIC/compressed` (JPEG). A frame
is stamped when the driver hands it over, before it is decoded. The newest frame only: what comes
while one is being published is replaced and counted.
"""

import argparse
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.signals import SignalHandlerOptions

from pixelrefer_ros.shutdown import Stop, stop_on_signals
from pixelrefer_ros.transport import trouble_with
from pixelrefer_ros.video import Camera, size

#: Longest that a network camera is waited for: at the start, and for its next image.
NETWORK_TIMEOUT_MS = 5000
#: Seconds between two looks at whether to stop.
PATIENCE_S = 0.2
#: Of the time between two images: a camera that is this much early is not too fast.
EARLY = 0.25


class WebcamError(Exception):
    """A camera that gives no images; the message names it and says why."""


@dataclass(frozen=True)
class Taken:
    """A frame, uint8 [H, W, 3] BGR, and when it was taken."""

    bgr: np.ndarray
    stamp: Time


class Webcam:
    """Takes frames in a thread of its own and keeps the newest. A context manager.

    device: a number or path (V4L2), or a URL. size, rate: asked of the camera; frames of another
    size are scaled and those above the rate are left out. now: gives the stamps.

    Raises WebcamError where it gives no image.
    """

    def __init__(self, device: str, size: tuple[int, int] | None, rate: float | None,
                 now: Callable[[], Time]) -> None:
        self._name = f'/dev/video{device}' if device.isdigit() else device
        self._size, self._rate, self._now = size, rate, now
        self._capture = _open(self._name)
        for key, value in ((cv2.CAP_PROP_FRAME_WIDTH, size and size[0]),
                           (cv2.CAP_PROP_FRAME_HEIGHT, size and size[1]),
                           (cv2.CAP_PROP_FPS, rate), (cv2.CAP_PROP_BUFFERSIZE, 1)):
            if value:
                self._capture.set(key, value)   # what it cannot do it leaves as it was
        found, first = self._capture.read()
        if not found:
            self._capture.release()
            raise WebcamError(f'{self._name} gives no image; {_cameras()}')
        #: Width and height as the camera gives them.
        self.own_size = first.shape[1], first.shape[0]
        self.taken = self.replaced = 0
        self._news = threading.Condition()
        self._newest: Taken | None = None
        #: Why no more frames will come; empty while they may.
        self._gone = ''
        self._closed = False
        self._thread = threading.Thread(target=self._run, name='webcam')

    def __enter__(self) -> 'Webcam':
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._thread.join()
        self._capture.release()

    def newest(self) -> Taken | None:
        """The newest frame that was not given before, or None where none came for a moment.

        Raises WebcamError when the camera gives no more.
        """
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or bool(self._gone), PATIENCE_S)
            newest, self._newest = self._newest, None
            if newest is None and self._gone:
                raise WebcamError(
                    f'{self._name} gives no more images, after {self.taken}: {self._gone}')
            return newest

    def _run(self) -> None:
        reason = 'it was unplugged or ended'
        try:
            self._take()
        except Exception as error:  # edge of the thread: who waits for a frame is told
            reason = ' '.join(str(error).split()) or type(error).__name__
        finally:
            with self._news:
                self._gone = reason
                self._news.notify_all()

    def _take(self) -> None:
        due = -math.inf
        while not self._closed and self._capture.grab():
            stamp, at = self._now(), time.monotonic()
            if self._rate is not None:
                if at < due - EARLY / self._rate:
                    continue
                # Kept in step with the rate, unless the camera is behind by more than a frame.
                due = (due if due > at - 1 / self._rate else at) + 1 / self._rate
            found, bgr = self._capture.retrieve()
            if not found:
                break
            if self._size is not None and (bgr.shape[1], bgr.shape[0]) != self._size:
                bgr = cv2.resize(bgr, self._size, interpolation=cv2.INTER_AREA)
            with self._news:
                self.taken += 1
                self.replaced += self._newest is not None
                self._newest = Taken(bgr, stamp)
                self._news.notify_all()


def _open(name: str) -> cv2.VideoCapture:
    if '://' in name:
        return cv2.VideoCapture(name, cv2.CAP_FFMPEG, [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS])
    if not Path(name).exists():
        raise WebcamError(f'there is no {name}; {_cameras()}')
    if not os.access(name, os.R_OK | os.W_OK):
        raise WebcamError(f'{name} may not be opened by this user; members of the group video may')
    return cv2.VideoCapture(name, cv2.CAP_V4L2)


def _cameras() -> str:
    """What may be given instead."""
    found = sorted(str(path) for path in Path('/dev').glob('video*'))
    return ('here are ' + ', '.join(found) if found else 'no camera is connected here '
            '(/dev/video*)') + '; the URL of a network camera is allowed too'


def show(webcam: Webcam, camera: Camera, stop: Stop) -> int:
    """Publish frames until `stop` is set; the number published. Raises WebcamError when the camera
    gives no more."""
    shown = 0
    while not stop.is_set():
        taken = webcam.newest()
        if taken is not None:
            camera.show(taken.bgr, taken.stamp)
            shown += 1
    return shown


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='webcam', description='Publish a camera that has no ROS driver.')
    parser.add_argument('device', nargs='?', default='0', help='number or path of a USB camera, or '
                        'URL of a network camera (default: %(default)s, /dev/video0)')
    parser.add_argument('--topic', default='/camera/image_raw',
                        help='rgb8 here, JPEG on TOPIC/compressed (default: %(default)s)')
    parser.add_argument('--size', type=size, metavar='WxH', help='ask the camera for this, for '
                        'example 640x480; scaled to it where the camera cannot')
    parser.add_argument('--rate', type=float, metavar='HZ', help='ask the camera for this; frames '
                        'beyond it are left out')
    parser.add_argument('--frame-id', default='camera_optical')
    args = parser.parse_args(argv)
    if args.rate is not None and not args.rate > 0:
        parser.error(f'--rate {args.rate:g}: a positive rate is allowed')
    return args


def main(argv: list[str] | None = None) -> int:
    """Publish a camera; 0 when ended by a signal, 1 when it gives no more images, 2 when there is
    none."""
    args = parse(argv)
    # Of a camera that is not there it would say in its own way what is said here.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('webcam')
    begun = False
    try:
        with stop_on_signals() as stop, Webcam(
                args.device, args.size, args.rate, lambda: node.get_clock().now().to_msg()
                ) as webcam:
            begun = True
            width, height = args.size or webcam.own_size
            own = '' if args.size in (None, webcam.own_size) else \
                ' (scaled from {}x{})'.format(*webcam.own_size)
            print(f'{args.device}: {width}x{height}{own} on {args.topic} and '
                  f'{args.topic}/compressed', flush=True)
            trouble = trouble_with(3 * width * height)
            if trouble:
                print(f'note: {trouble}; or give a smaller --size', flush=True)
            shown = show(webcam, Camera(node, args.topic, args.frame_id), stop)
            print(f'{shown} frames shown, {webcam.replaced} replaced by newer ones')
    except WebcamError as error:
        print(f'webcam: {error}', file=sys.stderr)
        return 1 if begun else 2
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
