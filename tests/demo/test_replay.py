# SPDX-License-Identifier: Apache-2.0
"""The bag player gives out what was recorded: every message, its bytes, its stamps, its pace."""

import signal
from pathlib import Path

import numpy as np
import pytest
from demo_support import WATCHDOG_S, stamp_ns, until
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

rclpy = pytest.importorskip('rclpy')
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402

START_NS, STEP_NS, COUNT = 1_700_000_000_000_000_000, 20_000_000, 8


@pytest.fixture(params=[StoragePlugin.MCAP, StoragePlugin.SQLITE3], ids=['mcap', 'sqlite3'])
def bag(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Images and camera infos in turn, STEP_NS apart."""
    store = get_typestore(Stores.ROS2_JAZZY)
    kinds = store.types
    path = tmp_path / 'bag'
    with Writer(path, version=9, storage_plugin=request.param) as writer:
        image = writer.add_connection('/cam/image', 'sensor_msgs/msg/Image', typestore=store)
        info = writer.add_connection('/cam/info', 'sensor_msgs/msg/CameraInfo', typestore=store)
        for k in range(COUNT):
            ns = START_NS + k * STEP_NS
            header = kinds['std_msgs/msg/Header'](
                stamp=kinds['builtin_interfaces/msg/Time'](*divmod(ns, 10**9)), frame_id='cam')
            picture = kinds['sensor_msgs/msg/Image'](
                header=header, height=2, width=3, encoding='mono8', is_bigendian=0, step=3,
                data=np.full(6, k, np.uint8))
            writer.write(image, ns, store.serialize_cdr(picture, image.msgtype))
            roi = kinds['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
            camera = kinds['sensor_msgs/msg/CameraInfo'](
                header, 2, 3, 'plumb_bob', np.zeros(5), np.zeros(9), np.zeros(9), np.zeros(12),
                0, 0, roi)
            writer.write(info, ns + 1, store.serialize_cdr(camera, info.msgtype))
    return path


def test_every_message_comes_in_order_with_its_recorded_stamp_and_bytes(ros, start, bag):
    seen = []
    ros.create_subscription(Image, '/seen', seen.append, 50)
    ros.create_subscription(CameraInfo, '/cam/info', seen.append, 50)
    player = start('pixelrefer_ros.replay', bag, '--remap', '/cam/image:=/seen', '--wait-for', 2)
    until(lambda: len(seen) == 2 * COUNT, 'the whole bag')
    assert player.wait(WATCHDOG_S) == 0
    images = [m for m in seen if isinstance(m, Image)]
    assert [stamp_ns(m) for m in images] == [START_NS + k * STEP_NS for k in range(COUNT)]
    assert [bytes(m.data) for m in images] == [bytes([k]) * 6 for k in range(COUNT)]
    assert len(seen) - len(images) == COUNT


def test_a_bag_is_never_played_faster_than_its_rate_allows(ros, bag):
    from pixelrefer_ros.replay import Player, open_bag
    recorded = ((COUNT - 1) * STEP_NS + 1) / 1e9
    with open_bag(bag) as reader:
        played = Player(ros, reader, rate=2.0).play()
    assert played.messages == 2 * COUNT
    assert played.seconds >= recorded / 2


def test_it_loops_as_often_as_told_and_tells_the_time_of_the_bag(ros, start, bag):
    images, ticks = [], []
    ros.create_subscription(Image, '/cam/image', images.append, 50)
    ros.create_subscription(Clock, '/clock', ticks.append, 500)
    player = start('pixelrefer_ros.replay', bag, '--loop', 3, '--clock', '--wait-for', 1)
    assert player.wait(WATCHDOG_S) == 0
    until(lambda: len(images) == 3 * COUNT, 'three times the images')
    told = [t.clock.sec * 10**9 + t.clock.nanosec for t in ticks]
    assert told and START_NS <= min(told) and max(told) <= START_NS + COUNT * STEP_NS


def test_a_signal_ends_it_at_once_and_well(start, bag):
    player = start('pixelrefer_ros.replay', bag, '--loop', 0)
    assert player.stdout.readline().startswith('played')
    player.send_signal(signal.SIGINT)
    assert player.wait(WATCHDOG_S) == 0


@pytest.mark.parametrize('spoil', ['missing', 'no_metadata', 'truncated'])
def test_a_bag_that_cannot_be_read_is_named(start, bag, spoil):
    if spoil == 'missing':
        bag = bag.with_name('nothing_here')
    elif spoil == 'no_metadata':
        (bag / 'metadata.yaml').unlink()
    else:
        data = next(p for p in bag.iterdir() if p.suffix in ('.mcap', '.db3'))
        data.write_bytes(data.read_bytes()[:100])
    player = start('pixelrefer_ros.replay', bag)
    _, err = player.communicate(timeout=WATCHDOG_S)
    assert player.returncode == 2
    assert str(bag) in err and 'Traceback' not in err
