# SPDX-License-Identifier: Apache-2.0
"""Several cameras in one node: topics, objects and time of each, one copy of the models."""

from collections.abc import Iterator

import pytest
from geometry_msgs.msg import PointStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_support import SECOND, Robot, box, image_message, picture, running, to_ns
from sensor_msgs.msg import Image

from pixelrefer.msg import ErrorCode, Event, Latency, TrackedObject, TrackedObjectArray
from pixelrefer.srv import ListObjects
from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import conversions
from pixelrefer_ros.cameras import Cameras, trouble_with_names

NAMES = ('front', 'wrist')


class Pair:
    """Two cameras of one node, and what it publishes of each."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        reliable = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        self._images = {name: robot.node.create_publisher(Image, f'{name}/image', reliable)
                        for name in NAMES}
        self.objects = {name: robot.collect(TrackedObjectArray, f'{name}/objects')
                        for name in NAMES}
        self.latencies: list[Latency] = robot.collect(Latency, 'debug/latency_ms')
        robot.until(lambda: all(p.get_subscription_count() for p in self._images.values()),
                    'subscriptions to both cameras')
        robot.until(lambda: all(robot.node.count_publishers(f'{robot.NAME}/{name}/objects')
                                for name in NAMES), 'publishers of both cameras')

    def send(self, name: str, stamp_ns: int) -> None:
        message = image_message(stamp_ns, picture())
        message.header.frame_id = f'{name}_optical_frame'
        self._images[name].publish(message)

    def track(self, name: str, stamp_ns: int) -> TrackedObjectArray:
        """Send a frame of one camera and wait for its objects."""
        self.send(name, stamp_ns)
        return self.robot.until(lambda: next(
            (m for m in reversed(self.objects[name]) if to_ns(m.header.stamp) == stamp_ns), None),
            f'objects of {name}')


@pytest.fixture(scope='module')
def node(tmp_path_factory) -> Iterator[Pair]:
    log = tmp_path_factory.mktemp('cameras') / 'node.log'
    with running(log, {'cameras': '[front, wrist]', 'diagnostics_period': 0.1,
                       'abstain_under_px': 0}, standin=0.0, watched=False) as robot:
        yield Pair(robot)


@pytest.fixture
def pair(node: Pair) -> Pair:
    node.robot.reset(remove_objects=True)
    return node


def test_objects_of_one_name_in_two_cameras_are_two_objects(pair):
    robot, stamp = pair.robot, pair.robot.clock.tick()
    for name in NAMES:
        pair.track(name, stamp)
        reply = robot.add(box('mug'), camera=name, stamp_ns=stamp)
        assert (reply.error_code, reply.results[0].id) == (ErrorCode.OK, f'{name}:mug')
    stamp = robot.clock.tick()
    seen = {name: pair.track(name, stamp) for name in NAMES}
    for name, array in seen.items():
        assert (array.camera, array.header.frame_id) == (name, f'{name}_optical_frame')
        assert [(o.id, o.camera) for o in array.objects] == [(f'{name}:mug', name)]
    assert len({array.objects[0].index for array in seen.values()}) == 2
    # One question may be about objects of both.
    answer = robot.ask('Are <object:front:mug> and <object:wrist:mug> alike?')
    assert answer.error_code == ErrorCode.OK
    assert answer.answer.object_ids == ['front:mug', 'wrist:mug']


def test_a_camera_is_named_by_the_request_or_by_its_ids(pair):
    robot, stamp = pair.robot, pair.robot.clock.tick()
    for name in NAMES:
        pair.track(name, stamp)
    unnamed = robot.add(box('mug'), stamp_ns=stamp)
    assert unnamed.error_code == ErrorCode.UNKNOWN_CAMERA
    assert "'front', 'wrist' are allowed" in unnamed.error_msg
    assert robot.add(box('mug'), camera='rear', stamp_ns=stamp).error_code == \
        ErrorCode.UNKNOWN_CAMERA
    assert robot.add(box('wrist:mug'), stamp_ns=stamp).results[0].object.camera == 'wrist'
    other = robot.add(box('wrist:cup'), camera='front', stamp_ns=stamp)
    assert other.results[0].error_code == ErrorCode.BAD_ID
    assert robot.add(box(), camera='front', stamp_ns=stamp).results[0].id == 'front:object_1'
    listed = robot.call(ListObjects, 'list_objects', ListObjects.Request(camera='front'))
    assert [o.id for o in listed.objects] == ['front:object_1']
    assert {o.id for o in robot.list().objects} == {'front:object_1', 'wrist:mug'}


def test_frames_of_one_camera_leave_the_objects_of_the_other_alone(pair):
    robot, stamp = pair.robot, pair.robot.clock.tick()
    for name in NAMES:
        pair.track(name, stamp)
    robot.add(box('mug'), camera='wrist', stamp_ns=stamp)
    before = robot.list().objects[0]
    for _ in range(3):
        assert pair.track('front', robot.clock.tick()).objects == []
    assert robot.list().objects[0] == before
    assert before.state == TrackedObject.TRACKED


def test_a_click_selects_on_the_camera_whose_image_was_clicked(pair):
    robot, stamp = pair.robot, pair.robot.clock.tick()
    clicks = robot.node.create_publisher(PointStamped, f'{robot.NAME}/wrist/click', 10)
    robot.until(clicks.get_subscription_count, 'a subscription to clicks')
    for name in NAMES:
        pair.track(name, stamp)
    point = PointStamped(header=conversions.header_message(stamp, ''))
    point.point.x, point.point.y = 90.0, 110.0
    clicks.publish(point)
    added = robot.until(lambda: next(
        (e for e in robot.events if e.kind == Event.OBJECT_ADDED and to_ns(e.header.stamp) == stamp),
        None), 'an object')
    assert (added.camera, added.object_id) == ('wrist', 'wrist:object_1')


def test_a_click_corrects_an_object_of_its_own_camera_and_selects_elsewhere(pair):
    robot, stamp = pair.robot, pair.robot.clock.tick()
    for name in NAMES:
        pair.track(name, stamp)
    robot.add(box('front:mug'), stamp_ns=stamp)
    robot.set_parameters(click_corrects='front:mug')
    try:
        clicks = robot.node.create_publisher(PointStamped, f'{robot.NAME}/wrist/click', 10)
        robot.until(clicks.get_subscription_count, 'a subscription to clicks')
        point = PointStamped(header=conversions.header_message(stamp, ''))
        point.point.x, point.point.y = 90.0, 110.0
        clicks.publish(point)
        robot.until(lambda: any(e.kind == Event.OBJECT_ADDED and e.camera == 'wrist'
                                and to_ns(e.header.stamp) == stamp for e in robot.events),
                    'an object of the wrist')
    finally:
        robot.set_parameters(click_corrects='')


def test_a_loop_of_both_cameras_begins_one_epoch(pair):
    robot = pair.robot
    start = robot.clock.tick(100 * SECOND)
    for step in range(3):
        for name in NAMES:
            pair.track(name, start + step * SECOND // 10)
    epoch = robot.list().epoch
    pair.track('front', start - 30 * SECOND)
    # A straggler from before, of the camera whose loop is not seen yet.
    pair.send('wrist', start + 3 * SECOND // 10)
    for step in range(1, 3):
        for name in NAMES:
            pair.track(name, start - 30 * SECOND + step * SECOND // 10)
    assert robot.list().epoch == epoch + 1
    assert not any(to_ns(m.header.stamp) == start + 3 * SECOND // 10
                   for m in pair.objects['wrist'])
    robot.clock.tick(100 * SECOND)


def test_how_late_each_topic_is_can_be_read_off_the_wire_and_in_diagnostics(pair):
    robot, stamp = pair.robot, pair.robot.clock.tick()
    topics = [f'{robot.NAME}/{name}/objects' for name in NAMES]
    for name in NAMES:
        pair.track(name, stamp)
    for topic, name in zip(topics, NAMES):
        late = robot.until(lambda: next(
            (m for m in pair.latencies if m.topic == topic and to_ns(m.header.stamp) == stamp),
            None), f'the latency of {topic}')
        assert late.header.frame_id == f'{name}_optical_frame'
        assert late.latency_ms > 0.0
        # These stamps are those of 1970: their age is what the clock says.
        assert late.age_ms > 1e9
    values = robot.values()
    assert all(float(values[f'{topic} latency_ms']) > 0.0 for topic in topics)


@pytest.mark.parametrize(('names', 'said'), [
    ([], '0 of them'), (['a'] * 17, '17 of them'), (['front', 'front'], 'twice'),
    (['front', ''], "''"), (['front/left'], "'front/left'"), (['_front'], "'_front'"),
    (['a__b'], "'a__b'"), (['7'], "'7'"), (['front', 'wrist_2'], '')])
def test_names_of_cameras_are_parts_of_topics_and_of_ids(names, said):
    trouble = trouble_with_names(names)
    assert (said in trouble) if said else trouble == ''


def test_two_cameras_of_one_name_are_refused(pair):
    results = pair.robot.set_parameters(cameras=['front', 'front'])
    assert not results[0].successful and 'twice' in results[0].reason
    with pytest.raises(PixelReferError):
        Cameras(NAMES).choose('', ['front:mug', 'wrist:mug'])
