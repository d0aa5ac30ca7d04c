# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer replay BAG`: finds the inputs in a bag, plays them into a node of its own, records, and
leaves nothing behind."""

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from ros_support import ROOT, WATCHDOG, Client, image_message, to_ns
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pixelrefer_ros.bag_topics import find_inputs
from pixelrefer_ros.compressed_depth import HEADER
from pixelrefer_ros.demo.processes import own_domain
from pixelrefer_ros.replay import ReplayError, open_bag

BAG = ROOT / 'pixelrefer_ros' / 'demo' / 'bag'
IMAGE = '/camera/image_raw/compressed'
SECOND = 10**9


def depth_image() -> Image:
    return Image(height=2, width=2, encoding='16UC1', step=4, data=bytes(8))


def colour() -> Image:
    return image_message(SECOND, np.zeros((2, 2, 3), np.uint8))


def jpeg(format_: str = 'rgb8; jpeg compressed bgr8') -> CompressedImage:
    return CompressedImage(format=format_)


def packed_depth() -> CompressedImage:
    png = cv2.imencode('.png', np.ones((16, 16), np.uint16))[1].tobytes()
    return CompressedImage(format='16UC1; compressedDepth png', data=bytes(HEADER.size) + png)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a bag of one message for each topic."""
    def make(name: str = 'made', **messages: object) -> Path:
        path, store = tmp_path / name, get_typestore(Stores.ROS2_JAZZY)
        with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            for topic, message in messages.items():
                kind = f'sensor_msgs/msg/{type(message).__name__}'
                connection = writer.add_connection(
                    '/' + topic.replace('__', '/'), kind, typestore=store)
                writer.write(connection, SECOND, serialize_message(message))
        return path
    return make


def inputs_of(bag: Path, **named: str) -> tuple[str, str, str, str]:
    with open_bag(bag) as reader:
        found = find_inputs(reader, **named, without='/pixelrefer')
    return found.image, found.transport, found.depth, found.camera_info


def test_inputs_are_told_apart_by_type_and_encoding(write):
    bag = write(eye__a=colour(), eye__b=depth_image(), eye__c=CameraInfo())
    assert inputs_of(bag) == ('/eye/a', 'raw', '/eye/b', '/eye/c')


def test_the_raw_image_is_preferred_to_its_own_jpeg_and_png_of_depth_is_none(write):
    bag = write(eye__rgb=colour(), eye__rgb__compressed=jpeg(),
                depth__compressed=jpeg('16UC1; png compressed '))
    assert inputs_of(bag) == ('/eye/rgb', 'raw', '', '')


def test_compressed_depth_is_found_and_raw_depth_preferred_to_it(write):
    bag = write(eye=colour(), d__compressedDepth=packed_depth())
    with open_bag(bag) as reader:
        found = find_inputs(reader, without='/pixelrefer')
    assert (found.depth, found.depth_transport) == ('/d/compressedDepth', 'compressed')
    assert 'depth/compressedDepth:=/d/compressedDepth' in found.remappings
    both = write('both', eye=colour(), d=depth_image(), d__compressedDepth=packed_depth())
    assert inputs_of(both) == ('/eye', 'raw', '/d', '')
    assert inputs_of(both, depth='/d/compressedDepth')[2] == '/d/compressedDepth'


def test_compressed_depth_that_the_node_cannot_decode_is_left_out_with_the_reason(write):
    bag = write(eye=colour(), d__compressedDepth=jpeg('16UC1; compressedDepth rvl'))
    with open_bag(bag) as reader:
        found = find_inputs(reader, without='/pixelrefer')
    assert found.depth == '' and 'rvl' in found.depth_trouble
    with pytest.raises(ReplayError, match='/d/compressedDepth: .*rvl'):
        inputs_of(bag, depth='/d/compressedDepth')


def test_the_calibration_beside_the_image_is_taken_and_several_depths_are_left_out(write):
    bag = write(a__image=jpeg(), a__camera_info=CameraInfo(), b__camera_info=CameraInfo(),
                c__depth=depth_image(), d__depth=depth_image())
    assert inputs_of(bag) == ('/a/image', 'compressed', '', '/a/camera_info')


def test_what_a_node_published_into_the_recording_is_no_input(write):
    bag = write(eye=colour(), pixelrefer__overlay__compressed=jpeg(),
                pixelrefer__label_image=depth_image())
    assert inputs_of(bag) == ('/eye', 'raw', '', '')


@pytest.mark.parametrize(('messages', 'named', 'told'), [
    ({'a': colour(), 'b': colour()}, {}, ['2 topics', '/a (', '/b (', '--image']),
    ({'d': depth_image()}, {}, ['no topics could be the image', '/d (']),
    ({'a': colour()}, {'image': '/nowhere'}, ['no topic /nowhere', '/a (']),
    ({'a': colour(), 'i': CameraInfo()}, {'image': '/i'}, ['/i is no image', '/a could be']),
    ({'a': colour(), 'i': CameraInfo()}, {'depth': '/i'}, ['/i is no depth', 'none could be'])])
def test_what_is_unclear_is_asked_for_by_name(write, messages, named, told):
    bag = write(**messages)
    with pytest.raises(ReplayError) as error:
        inputs_of(bag, **named)
    assert all(part in str(error.value) for part in told)


# --- with a node


class Replay:
    """A run of the command, with what it printed."""

    def __init__(self, domain: int, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'pixelrefer_model.cli', 'replay', *map(str, arguments)],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, 'ROS_DOMAIN_ID': str(domain), 'OMP_NUM_THREADS': '1',
                 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'})
        self.lines: list[str] = []
        self.watchdog = threading.Timer(WATCHDOG, self.process.kill)
        self.watchdog.start()

    def until(self, text: str) -> None:
        """Read on to a line with this text."""
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return
        raise AssertionError(f'waited in vain for {text!r}:\n' + ''.join(self.lines))

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for task in Path(f'/proc/{pid}/task').iterdir()
                for child in (task / 'children').read_text().split()]

    def end(self) -> int:
        self.lines += self.process.stdout
        return self.process.wait()


@contextmanager
def replaying(*arguments: object) -> Iterator[tuple[Replay, int]]:
    with own_domain() as domain:
        replay = Replay(domain, *arguments)
        try:
            yield replay, domain
        finally:
            replay.watchdog.cancel()
            if replay.process.poll() is None:
                replay.process.terminate()
                replay.end()


def test_a_bag_is_played_into_a_node_and_both_are_recorded(tmp_path):
    out = tmp_path / 'out.mcap'
    with replaying(BAG, '--rate', 4, '--clock', '--record', out,
                   '-p', 'max_objects:=3') as (replay, domain):
        replay.until('the node listens')
        with Client(domain) as client:
            clock = client.collect(Clock, '/clock')
            client.until(lambda: clock, 'the time of the bag')
        assert replay.end() == 0, ''.join(replay.lines)
    with AnyReader([BAG]) as played, AnyReader([out]) as recorded:
        counts = {connection.topic: connection.msgcount for connection in recorded.connections}
        assert {connection.topic: counts[connection.topic] for connection in played.connections} \
            == {connection.topic: connection.msgcount for connection in played.connections}
        stamps = {to_ns(played.deserialize(raw, connection.msgtype).header.stamp)
                  for connection, _, raw in played.messages() if connection.topic == IMAGE}
        objects = [recorded.deserialize(raw, connection.msgtype)
                   for connection, _, raw in recorded.messages()
                   if connection.topic == '/pixelrefer/objects']
    assert objects and {to_ns(message.header.stamp) for message in objects} <= stamps
    assert not any('/_' in topic for topic in counts)
    assert min(to_ns(tick.clock) for tick in clock) >= min(stamps), 'the bag tells its own time'


def test_the_node_listens_to_the_compressed_depth_of_a_bag(write):
    bag = write(eye=colour(), d__compressedDepth=packed_depth())
    with replaying(bag, '--keep') as (replay, domain):
        replay.until('depth: /d/compressedDepth (compressed)')
        replay.until('the bag is over')
        with Client(domain) as client:
            client.until(lambda: client.node.count_subscribers('/d/compressedDepth'),
                         'a subscription to the depth')


def test_ctrl_c_ends_the_node_and_completes_the_recording(tmp_path):
    out = tmp_path / 'folder'
    with replaying(BAG, '--rate', 4, '--loop', '--record', out) as (replay, _):
        replay.until('played 500 messages')
        node, = replay.children()
        replay.process.send_signal(signal.SIGINT)
        assert replay.end() == 0, ''.join(replay.lines)
        assert not Path(f'/proc/{node}').exists()
    with open_bag(out) as reader:
        assert reader.message_count > 500


def test_a_disk_that_refuses_the_recording_ends_it_with_the_reason_and_status_2(tmp_path):
    out = tmp_path / 'out.mcap'
    with replaying(BAG, '--rate', 4, '--loop', '--record', out) as (replay, _):
        replay.until('the node listens')
        resource.prlimit(replay.process.pid, resource.RLIMIT_FSIZE, (2**16, 2**16))
        assert replay.end() == 2, ''.join(replay.lines)
    assert f'{out}: cannot be written' in replay.lines[-1] and 'too large' in replay.lines[-1]
    assert not any('messages in' in line and 'recorded' in line or 'Traceback' in line
                   for line in replay.lines)


def test_a_node_that_ends_by_itself_ends_the_playing(tmp_path):
    with replaying(BAG, '--loop', '-p', 'device:=17') as (replay, _):
        assert replay.end() == 1
    assert 'the node ended by itself' in replay.lines[-1]


@pytest.mark.parametrize(('arguments', 'told'), [
    (['nowhere'], 'nowhere: no such bag'),
    ([BAG, '--rate', 0], 'a positive rate'),
    ([BAG, '-p', 'device=cuda'], 'NAME:=VALUE'),
    ([BAG, '--image', '/eye'], 'no topic /eye'),
    ([BAG, '--record', BAG], 'exists already')])
def test_what_is_wrong_is_one_line_and_status_2(arguments, told):
    with replaying(*arguments) as (replay, _):
        assert replay.end() == 2
    assert told in replay.lines[-1] and 'Traceback' not in ''.join(replay.lines)
