# SPDX-License-Identifier: Apache-2.0
"""Where vision_msgs is installed objects are published in its terms too, and nothing is without."""

import os

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_support import HEIGHT, SECOND, WIDTH, box, box_mask, mask, running, to_ns
from std_msgs.msg import Header
from test_depth import other_mask
from test_tf import at

from pixelrefer.msg import TrackedObject
from pixelrefer_ros import optional
from pixelrefer_ros.objects import Entry, Sight
from pixelrefer_ros.vision_outputs import ANY_ANGLE, VisionOutputs, detections_3d

TOPICS = ('detections', 'detections_3d', 'label_info')
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def kinds():
    return pytest.importorskip('vision_msgs.msg')


def named(robot, topic: str) -> str:
    return f'{robot.NAME}/{topic}'


def of(messages: list, stamp_ns: int):
    return next((m for m in messages if to_ns(m.header.stamp) == stamp_ns), None)


def listening(robot, kind: type, topic: str) -> list:
    found = robot.collect(kind, topic)
    robot.until(lambda: robot.node.count_publishers(named(robot, topic)), f'a publisher of {topic}')
    return found


def test_objects_are_detections_under_the_header_of_their_image(robot, kinds):
    flat = listening(robot, kinds.Detection2DArray, 'detections')
    solid = listening(robot, kinds.Detection3DArray, 'detections_3d')
    metres = np.full((HEIGHT, WIDTH), 4.0)
    metres[box_mask()] = 2.0
    robot.send_info()
    first = robot.clock.tick()
    robot.track(first)
    robot.add(mask('red'), mask('other', other_mask()), stamp_ns=first)

    def seen():
        stamp = robot.clock.tick()
        robot.send_depth(stamp, metres)
        array = robot.track(stamp)
        return of(flat, stamp) and of(solid, stamp) and (
            array, of(flat, stamp), of(solid, stamp))

    array, flat_one, solid_one = robot.until(seen, 'detections of one frame')
    tracked = {one.id: one for one in array.objects}
    assert {d.id for d in flat_one.detections} == {i for i, one in tracked.items() if one.area}
    for detection in flat_one.detections:
        one = tracked[detection.id]
        assert detection.header == flat_one.header == array.header
        assert (detection.bbox.size_x, detection.bbox.size_y) == (one.box.width, one.box.height)
        assert detection.bbox.center.position.x == one.box.x + one.box.width / 2
        assert detection.bbox.center.position.y == one.box.y + one.box.height / 2
        result, = detection.results
        assert result.hypothesis.class_id == one.id
        assert result.hypothesis.score == pytest.approx(one.score)
    red = next(d for d in solid_one.detections if d.id == 'red')
    assert red.header.stamp == array.header.stamp
    assert red.header.frame_id == solid_one.header.frame_id == tracked['red'].position_frame
    assert red.results[0].pose.pose.position == tracked['red'].position
    assert red.bbox.size == tracked['red'].size
    covariance = red.results[0].pose.covariance.reshape(6, 6)
    np.testing.assert_array_equal(
        covariance[:3, :3].ravel(), tracked['red'].position_covariance)
    assert np.diag(covariance)[3:] == pytest.approx([ANY_ANGLE] * 3)


def test_whoever_comes_late_is_told_which_object_each_label_is(robot, kinds):
    stamp = robot.clock.tick()
    robot.track(stamp)
    robot.add(box('red'), mask('other', other_mask()), stamp_ns=stamp)
    robot.track(robot.clock.tick())
    found: list = []
    robot.node.create_subscription(kinds.LabelInfo, named(robot, 'label_info'), found.append,
                                   LATCHED)
    wanted = {(one.index, one.id) for one in robot.list().objects}
    assert len(wanted) == 2
    told = robot.until(lambda: next((m for m in found if labels(m) == wanted), None), 'labels')
    assert to_ns(told.header.stamp) > stamp
    before = len(found)
    robot.track(robot.clock.tick())
    robot.remove('other')
    robot.track(robot.clock.tick())
    robot.until(lambda: labels(found[-1]) == {p for p in wanted if p[1] == 'red'}, 'fewer labels')
    assert len(found) == before + 1  # and none where nothing changed


def labels(message) -> set[tuple[int, str]]:
    return {(one.class_id, one.class_name) for one in message.class_map}


def test_only_objects_with_a_position_are_detections_in_3d(kinds):
    header = Header(frame_id='optical')
    placed = at(1, 2, 3, 'map', SECOND)
    entries = [Entry('there', 1, 1, Sight(TrackedObject.TRACKED, 0.5, position=placed)),
               Entry('nowhere', 2, 2, Sight(TrackedObject.TRACKED, 0.5))]
    array = detections_3d(kinds, header, entries)
    assert [d.id for d in array.detections] == ['there']
    assert array.header.frame_id == 'map'
    center = array.detections[0].bbox.center.position
    assert (center.x, center.y, center.z) == (1.0, 2.0, 3.0)


@pytest.fixture
def without_vision_msgs(tmp_path, monkeypatch):
    """No vision_msgs in processes that are started: the first of that name on the path fails."""
    (tmp_path / 'vision_msgs.py').write_text("raise ImportError('not on this machine')\n")
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(
        [str(tmp_path), os.environ.get('PYTHONPATH', '')]))


def test_without_vision_msgs_nothing_of_it_is_published_and_the_node_says_so(
        without_vision_msgs, tmp_path):
    with running(tmp_path / 'node.log', {'diagnostics_period': 0.1}, standin=0.0) as robot:
        assert robot.track(robot.clock.tick()).objects == []
        assert not any(robot.node.count_publishers(named(robot, topic)) for topic in TOPICS)
        said = robot.values()['not_installed']
        assert '~/detections, ~/detections_3d and ~/label_info with vision_msgs' in said
        assert optional.line_for('vision_msgs') in said and said in robot.process.output
        assert robot.process.output.count('with vision_msgs (') == 1


def test_the_package_alone_decides(monkeypatch):
    monkeypatch.setattr(optional, 'load', lambda module: None)
    assert VisionOutputs(None, None, 'camera').messages(Header(), []) == []
