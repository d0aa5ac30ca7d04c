# SPDX-License-Identifier: Apache-2.0
"""The other ends of the wire in benchmarks/node.py, each a process of its own.

    python -m benchmarks.peers camera TOPIC FRAMES HZ      publishes 1280x720 rgb8, then ends
    python -m benchmarks.peers plain TOPIC SERVICE FILE    does nothing with images, answers SERVICE
    python -m benchmarks.peers listener TOPIC              does nothing with images

`plain` is the baseline. It writes to FILE, when it is ended, how late each image was in its
callback: milliseconds from the stamp that the camera gave it at publishing.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from lifecycle_msgs.srv import GetState
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

WIDTH, HEIGHT = 1280, 720
#: As the node subscribes: what comes while a callback runs waits.
DEPTH = 10
BEST_EFFORT = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
#: A camera driver's; a reader may be best effort.
RELIABLE = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)


def late_ms(message: Image) -> float:
    """Milliseconds since the stamp of an image."""
    stamp = message.header.stamp
    return (time.time_ns() - stamp.sec * 1_000_000_000 - stamp.nanosec) / 1e6


def camera(node: Node, topic: str, frames: int, rate_hz: float) -> None:
    """Publish noise, stamped just before, once somebody listens; like a sensor, one that is held up
    goes on at its rate, and does not make up for what it missed by several at once."""
    publisher = node.create_publisher(Image, topic, RELIABLE)
    pixels = np.random.default_rng(0).integers(0, 255, HEIGHT * WIDTH * 3, np.uint8)
    message = Image(height=HEIGHT, width=WIDTH, encoding='rgb8', step=3 * WIDTH,
                    data=pixels.tobytes())
    message.header.frame_id = 'camera_optical_frame'
    while not publisher.get_subscription_count():
        time.sleep(0.02)
    due = time.monotonic()
    for _ in range(frames):
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + 1 / rate_hz, time.monotonic())
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
    publisher.wait_for_all_acked(Duration(seconds=5))
    time.sleep(0.2)


def plain(node: Node, topic: str, service: str, file: Path) -> None:
    """The plain subscriber, and a plain service."""
    late: list[float] = []
    node.create_subscription(Image, topic, lambda m: late.append(late_ms(m)), BEST_EFFORT)
    node.create_service(GetState, service, lambda request, response: response)
    spin(node)
    file.write_text(json.dumps(late), encoding='utf-8')


def listener(node: Node, topic: str) -> None:
    """Somebody who wants the images of a topic."""
    node.create_subscription(Image, topic, lambda message: None, RELIABLE)
    spin(node)


def spin(node: Node) -> None:
    """Serve until SIGINT."""
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        return


def main(role: str, *args: str) -> None:
    """Be one of them."""
    rclpy.init()
    node = rclpy.create_node(role)
    if role == 'camera':
        camera(node, args[0], int(args[1]), float(args[2]))
    elif role == 'plain':
        plain(node, args[0], args[1], Path(args[2]))
    else:
        listener(node, args[0])
    rclpy.try_shutdown()


if __name__ == '__main__':
    main(*sys.argv[1:])
