# SPDX-License-Identifier: Apache-2.0
"""Messages of which any field may be anything: every request is answered with a code, no image ends
the node, and what was there stays. Drawn by chance, each with its number as seed."""

import random
import string

import numpy as np
import pytest
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import PointStamped
from ros_support import image_message, mask, to_ns
from sensor_msgs.msg import CameraInfo, Image

from pixelrefer.msg import Box, ErrorCode, Pixel, Prompt, Rle, TimeWindow
from pixelrefer.srv import AddObjects, Ask, Describe, ListObjects, Measure, RemoveObjects
from pixelrefer_ros.depth import ENCODINGS as DEPTHS
from pixelrefer_ros.images import ENCODINGS, PLANAR

CODES = {getattr(ErrorCode, name) for name in dir(ErrorCode) if name.isupper()}
MIB = 1 << 20
NUMBERS = [0.0, -0.0, 1.0, 160.0, 319.9, 320.0, -1.0, 1e-30, 1e30, -1e300, float('nan'),
           float('inf'), float('-inf')]
INTEGERS = [0, 1, 7, 8, 240, 320, 960, 65_535, 2**31 - 1, 2**31, 2**32 - 1]
TEXTS = ['', ' ', 'cup', 'What is <object:cup>?', '<object:', '<object1>', '<|im_end|>',
         '\u00e9\u4e2d', '\U0001f600' * 100, 'a b/c', '../..', '\n\t\r', '%s%n{}', 'x' * 65]


class Draw(random.Random):
    """Values of fields, the odd ones as often as the good ones."""

    def text(self) -> str:
        if self.random() < 0.05:
            return self.choice(string.printable) * (MIB // 4)
        return self.choice(TEXTS)

    def stamp(self) -> Time:
        return Time(sec=self.choice([0, -1, 5, 1000, 2**31 - 1, -2**31]),
                    nanosec=self.choice([0, 1, 999_999_999, 10**9, 2**32 - 1]))

    def duration(self) -> Duration:
        return Duration(sec=self.choice([0, 0, 2, -1, 2**31 - 1, -2**31]),
                        nanosec=self.choice([0, 1, 2**32 - 1]))

    def window(self) -> TimeWindow:
        if self.random() < 0.5:
            return TimeWindow()
        return TimeWindow(start=self.stamp(), end=self.stamp(), seconds=self.choice(NUMBERS))

    def pixel(self) -> Pixel:
        return Pixel(x=self.choice(NUMBERS), y=self.choice(NUMBERS))

    def prompt(self) -> Prompt:
        some = self.choice([0, 0, 1, 2, 70])
        return Prompt(
            id=self.text()[:200], text=self.choice(['', '', self.text()]),
            points=[self.pixel() for _ in range(some)],
            labels=[self.choice([0, 1, 2, 255]) for _ in range(self.choice([some, 0, 3]))],
            box=[Box(**{side: self.choice(NUMBERS) for side in ('x', 'y', 'width', 'height')})
                 for _ in range(self.choice([0, 0, 1, 2]))],
            scribble=[self.pixel() for _ in range(self.choice([0, 0, 2, 5000]))],
            mask=self.choice([Rle(), Rle(), Rle(
                height=self.choice(INTEGERS), width=self.choice(INTEGERS), counts=self.text())]))

    def image(self, encodings: list[str], stamp: Time) -> Image:
        """A good one of 64x48 pixels of any encoding, of which up to three fields are odd."""
        message = Image(width=64, height=48, encoding=self.choice(encodings),
                        is_bigendian=self.choice([0, 1]), data=bytes(64 * 48 * 8))
        message.header.stamp, message.header.frame_id = stamp, 'optical'
        for name, values in self.sample([
                ('width', [0, 8, 63, 320, 2**32 - 1]), ('height', [0, 8, 47, 2**31]),
                ('encoding', ['', 'rgb17', 'x' * 500]), ('step', [1, 64, 65, 512, 2**32 - 1]),
                ('is_bigendian', [7, 255]), ('data', [b'', b'a', bytes(64 * 48)]),
                ('stamp', None), ('stamp', None), ('frame_id', None)],
                self.choice([0, 1, 1, 2, 3])):
            if name == 'stamp':
                message.header.stamp = self.stamp()
            elif name == 'frame_id':
                message.header.frame_id = self.text()[:1000]
            else:
                setattr(message, name, self.choice(values))
        return message


@pytest.fixture
def scene(robot):
    """A node with one object, `cup`, that was observed."""
    robot.stamp = robot.clock.tick()
    robot.track(robot.stamp)
    assert robot.add(mask('cup'), stamp_ns=robot.stamp).error_code == ErrorCode.OK
    assert robot.describe('cup').error_code == ErrorCode.OK
    yield robot
    # Whatever came: the same process goes on.
    robot.reset(remove_objects=True)
    stamp = robot.clock.tick()
    robot.track(stamp)
    assert robot.add(mask('cup'), stamp_ns=stamp).error_code == ErrorCode.OK
    assert robot.ask('What is it?', 'cup').error_code == ErrorCode.OK


def state_of(robot) -> tuple:
    listed = robot.list()
    return listed.epoch, [(o.id, o.index, o.state, o.area) for o in listed.objects]


REQUESTS = {
    'add_objects': (AddObjects, lambda draw, robot: AddObjects.Request(
        camera=draw.choice(['', '', draw.text()]), stamp=draw.choice(
            [click_stamp(robot), draw.stamp()]), use_newest=draw.random() < 0.3,
        on_existing=draw.choice([0, 0, 1, 2, 3, 255]),
        prompts=[draw.prompt() for _ in range(draw.choice([0, 1, 1, 2, 40]))])),
    'ask': (Ask, lambda draw, robot: Ask.Request(
        question=draw.text(), ids=[draw.choice(['cup', draw.text()])
                                   for _ in range(draw.choice([0, 1, 1, 3]))],
        window=draw.window(), deadline=draw.duration(), max_frames=draw.choice(INTEGERS[:5]),
        max_tokens=draw.choice([0, 1, 2, 2**16, 2**32 - 1]) % 2**16)),
    'describe': (Describe, lambda draw, robot: Describe.Request(
        ids=[draw.choice(['cup', draw.text()]) for _ in range(draw.choice([0, 1, 3]))],
        detail=draw.choice(['', 'category', draw.text()]), window=draw.window(),
        deadline=draw.duration(), max_frames=draw.choice(INTEGERS[:5]))),
    'remove_objects': (RemoveObjects, lambda draw, robot: RemoveObjects.Request(
        ids=[draw.choice(['nobody', draw.text() + '!']) for _ in range(draw.choice([0, 1, 3]))])),
    'list_objects': (ListObjects, lambda draw, robot: ListObjects.Request(camera=draw.text())),
    'measure': (Measure, lambda draw, robot: Measure.Request(
        first=draw.choice(['cup', draw.text()]), second=draw.choice(['cup', draw.text()]))),
}


def click_stamp(robot) -> Time:
    return image_message(robot.stamp).header.stamp


@pytest.mark.parametrize('name', REQUESTS)
def test_any_request_is_answered_with_a_code_and_one_that_fails_changes_nothing(scene, name):
    kind, make = REQUESTS[name]
    codes = set()
    for seed in range(60):
        request, before = make(Draw(seed), scene), state_of(scene)
        response = scene.call(kind, name, request)
        codes.add(response.error_code)
        assert response.error_code in CODES - {ErrorCode.INTERNAL}, (seed, response.error_msg)
        assert bool(response.error_code) == bool(response.error_msg), seed
        assert len(response.error_msg) < 4000, seed
        if response.error_code and not any(
                not result.error_code for result in getattr(response, 'results', [])):
            assert state_of(scene) == before, (seed, response.error_msg)
        else:
            kept = [o.id for o in scene.list().objects]
            assert 'cup' in kept, seed
            scene.remove(*[i for i in kept if i != 'cup']) if len(kept) > 1 else None
    assert len(codes) > 1
    assert 'Traceback' not in scene.process.output[-200_000:]


def test_any_image_is_tracked_or_rejected(scene):
    before, published, sent = int(scene.values()['frames_seen']), len(scene.objects), set()
    for seed in range(150):
        message = Draw(seed).image([*ENCODINGS, *PLANAR], Time(sec=1000 + seed))
        sent.add((message.header.stamp.sec, message.header.stamp.nanosec))
        scene.send_message(message)
        # Best effort keeps ten.
        if seed % 10 == 9:
            scene.until(lambda: int(scene.values()['frames_seen']) - before == seed + 1, 'images')
    headers = [tracked.header for tracked in scene.objects[published:]]
    assert {(header.stamp.sec, header.stamp.nanosec) for header in headers} <= sent
    assert len(headers) > 10
    assert 'Traceback' not in scene.process.output


def test_any_depth_and_any_calibration_leaves_a_reason(scene):
    for seed in range(100):
        draw = Draw(seed)
        scene._depth.publish(draw.image(list(DEPTHS), click_stamp(scene)))
        scene._info.publish(CameraInfo(
            width=draw.choice(INTEGERS), height=draw.choice(INTEGERS),
            k=[draw.choice(NUMBERS) for _ in range(9)]))
    stamp = scene.clock.tick()
    tracked = scene.track(stamp).objects[0]
    assert tracked.position_error or np.isfinite(tracked.position.z)
    assert 'Traceback' not in scene.process.output
    scene.send_info()


def test_any_click_is_served_or_leaves_an_event(scene):
    clicks = scene.node.create_publisher(PointStamped, '/pixelrefer/click', 10)
    scene.until(clicks.get_subscription_count, 'a listener to clicks')
    for seed in range(30):
        draw = Draw(seed)
        message = PointStamped()
        message.header.stamp = draw.choice([click_stamp(scene), draw.stamp()])
        message.header.frame_id = draw.text()[:100]
        message.point.x, message.point.y = draw.choice(NUMBERS), draw.choice(NUMBERS)
        clicks.publish(message)
        scene.list()
    stamp = scene.clock.tick()
    assert to_ns(scene.track(stamp).header.stamp) == stamp
    assert 'cup' in [o.id for o in scene.list().objects]
    assert 'Traceback' not in scene.process.output
    scene.node.destroy_publisher(clicks)
