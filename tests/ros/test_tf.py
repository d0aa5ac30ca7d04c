# SPDX-License-Identifier: Apache-2.0
"""With TF positions are given in another frame, at the stamp of their depth image or not at all."""

import os
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from lifecycle_msgs.msg import Transition
from ros_support import HEIGHT, SECOND, WIDTH, Robot, box_mask, mask, running, to_ns

from pixelrefer.msg import ErrorCode, TrackedObject
from pixelrefer.srv import Measure
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.geometry import Placed
from pixelrefer_ros import conversions, optional, target_frame
from pixelrefer_ros.depth import Depth
from pixelrefer_ros.measuring import measured
from pixelrefer_ros.objects import Position, Sight
from test_depth import MASK, info, message, other_mask, sight

#: The optical frame of a camera that looks along x of a frame with z up.
LOOKS_ALONG_X = (-0.5, 0.5, -0.5, 0.5)


def transform(parent: str, child: str, stamp_ns: int, shift=(0.0, 0.0, 0.0),
              turn=LOOKS_ALONG_X) -> TransformStamped:
    made = TransformStamped(header=conversions.header_message(stamp_ns, parent),
                            child_frame_id=child)
    for name, value in zip('xyz', shift):
        setattr(made.transform.translation, name, float(value))
    for name, value in zip('xyzw', turn):
        setattr(made.transform.rotation, name, value)
    return made


@pytest.fixture
def tf2_ros():
    return pytest.importorskip('tf2_ros')


@pytest.fixture(scope='module')
def mapped_node(tmp_path_factory) -> Iterator[Robot]:
    """A node whose positions are wanted in `map`."""
    pytest.importorskip('tf2_ros')
    log = tmp_path_factory.mktemp('mapped') / 'node.log'
    with running(log, {'target_frame': 'map'}) as robot:
        robot.send_info()
        robot.until(lambda: robot.node.count_subscribers('/tf'), 'a subscription to /tf')
        yield robot


@pytest.fixture
def mapped(mapped_node: Robot) -> Robot:
    mapped_node.reset(remove_objects=True)
    return mapped_node


def see(robot: Robot, stamp_ns: int) -> TrackedObject:
    """One frame with depth: the red box at 2 m, something else at 1 m, a wall at 4 m."""
    metres = np.full((HEIGHT, WIDTH), 4.0)
    metres[box_mask()], metres[other_mask()] = 2.0, 1.0
    robot.send_info()
    robot.send_depth(stamp_ns, metres)
    robot.track(stamp_ns)
    added = robot.add(mask('red'), mask('other', other_mask()), stamp_ns=stamp_ns, on_existing=2)
    return added.results[0].object


def test_over_the_wire_positions_are_in_the_frame_at_the_stamp_of_the_image(mapped, tf2_ros):
    """The camera drives along x of the map; what counts is where it was then, not where it is."""
    sender = tf2_ros.TransformBroadcaster(mapped.node)
    mapped.until(sender.pub_tf.get_subscription_count, 'a listener to /tf')
    stamps = [mapped.clock.tick() for _ in range(3)]
    for metres, stamp in enumerate(stamps):
        sender.sendTransform(transform('map', 'camera_optical_frame', stamp, (10.0 + metres, 0, 1)))
    # TF and images come by different ways: once one position is there, the transforms are.
    mapped.until(lambda: see(mapped, stamps[1]).position_error == '', 'a position')
    red = see(mapped, stamps[1])
    assert red.position_frame == 'map' and red.position_error == ''
    assert red.position.x == pytest.approx(11.0 + 2.0, abs=0.01)
    assert red.position.y == pytest.approx(-(89.5 - 160) * 2 / 300, abs=0.02)
    assert red.position.z == pytest.approx(1.0 - (114.5 - 120) * 2 / 300, abs=0.02)
    assert red.size.z == pytest.approx(70 * 2 / 300, abs=0.03) and red.size.x < 0.01
    listed = {one.id: one for one in mapped.list().objects}
    assert listed['red'].position == red.position
    found = mapped.call(Measure, 'measure', Measure.Request(first='red', second='other'))
    assert (found.error_code, found.frame_id) == (ErrorCode.OK, 'map')
    assert to_ns(found.stamp) == stamps[1]
    assert {'left', 'behind', 'farther'} <= set(found.relations)
    assert found.first_size.z == pytest.approx(red.size.z)


def test_where_tf_has_nothing_there_is_no_position_and_tracking_goes_on(mapped):
    mapped.reset(remove_objects=True)
    stamp = mapped.clock.tick(1000 * SECOND)
    red = see(mapped, stamp)
    assert red.state == TrackedObject.TRACKED and red.area > 0
    assert red.position_frame == '' and red.position.x == 0.0
    assert "from 'camera_optical_frame' to 'map'" in red.position_error
    assert f'{stamp / 1e9:.3f} s' in red.position_error
    found = mapped.call(Measure, 'measure', Measure.Request(first='red', second='other'))
    assert found.error_code == ErrorCode.NO_POSITION and "'map'" in found.error_msg
    assert mapped.track(mapped.clock.tick()).objects[0].state == TrackedObject.TRACKED


@pytest.fixture
def target(tf2_ros) -> target_frame.TargetFrame:
    """The frame `map` without a node: what comes from TF is put in by the test."""
    made = target_frame.TargetFrame(SimpleNamespace(), 'map')
    made._tf2_ros, made._buffer = tf2_ros, tf2_ros.Buffer()
    return made


def placed_by(target: target_frame.TargetFrame | None, stamp_ns: int = SECOND) -> Sight:
    depth = Depth(20_000_000, lambda header, error: None, target)
    depth.info(info())
    depth.image(message(np.full(MASK.shape, 2.0, np.float32), '32FC1', stamp_ns=stamp_ns))
    return depth.placed(sight(stamp_ns))


def test_a_transform_that_is_late_is_named_with_the_times(target):
    target._buffer.set_transform(transform('map', 'optical', SECOND), 'test')
    assert placed_by(target).position.frame_id == 'map'
    late = placed_by(target, 2 * SECOND)
    assert late.position is None
    assert 'at 2.000 s' in late.position_error and 'extrapolation' in late.position_error
    target._buffer.set_transform(transform('map', 'optical', 2 * SECOND), 'test')
    assert placed_by(target, 2 * SECOND).position is not None


def test_after_a_jump_of_time_tf_begins_anew(target):
    target._buffer.set_transform(transform('map', 'optical', 100 * SECOND), 'test')
    target.clear()
    target._buffer.set_transform(transform('map', 'optical', SECOND), 'test')
    assert placed_by(target).position is not None
    assert placed_by(target, 100 * SECOND).position is None


def test_a_fixed_transform_holds_at_every_stamp_and_turns_the_error_too(target):
    target._buffer.set_transform_static(transform('map', 'optical', 0, (0.0, 0.0, 1.0)), 'test')
    seen, found = placed_by(None).position, placed_by(target).position
    x, y, z = seen.placed.position
    np.testing.assert_allclose(found.placed.position, [z, -x, 1 - y], atol=1e-9)
    np.testing.assert_allclose(np.diag(found.placed.covariance),
                               np.diag(seen.placed.covariance)[[2, 0, 1]], atol=1e-12)
    np.testing.assert_array_equal(found.seen.placed.position, seen.placed.position)


def test_the_frame_of_the_depth_image_needs_no_tf():
    own = target_frame.TargetFrame(SimpleNamespace(), 'optical')
    assert placed_by(own).position.frame_id == 'optical'


def at(x: float, y: float, z: float, frame: str, stamp_ns: int, seen: Position | None = None):
    point = np.array([x, y, z], float)
    return Position(frame, stamp_ns, Placed(point, np.eye(3) * 1e-6, np.full(3, 0.1),
                                            np.full(3, 1e-3), 1e-3, 500, 600, point), seen)


def test_objects_of_two_cameras_are_measured_in_one_frame_at_about_one_time():
    front = at(2, 0, 1.5, 'map', SECOND, at(0, 0, 2, 'front', SECOND))
    wrist = at(2, 0.4, 1.2, 'map', SECOND + 30_000_000, at(0, 0, 1, 'wrist', SECOND + 30_000_000))
    found = measured(front, wrist, 50_000_000)
    assert found.distance == pytest.approx(0.5) and set(found.relations) == {'above'}
    for slop, other in ((10_000_000, wrist), (50_000_000, at(0, 0, 1, 'wrist', SECOND)),
                        (50_000_000, at(2, 0, 1, 'map', SECOND))):
        with pytest.raises(PixelReferError, match='measure_slop') as error:
            measured(front, other, slop)
        assert error.value.code == 'NO_POSITION'


def test_of_one_camera_what_it_sees_is_told_in_the_frame_too():
    one = at(2, 0, 1.5, 'map', SECOND, at(-0.2, 0, 2, 'front', SECOND))
    other = at(2, -0.3, 1.5, 'map', SECOND, at(0.1, 0, 2, 'front', SECOND))
    assert 'left' in measured(one, other, 0).relations
    assert 'left' in measured(one.seen, other.seen, 0).relations


@pytest.fixture
def without_tf2(tmp_path, monkeypatch):
    """No tf2_ros in processes that are started: the first of that name on the path fails."""
    (tmp_path / 'tf2_ros.py').write_text("raise ImportError('not on this machine')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(
        [str(tmp_path), os.environ.get('PYTHONPATH', '')]))


def test_without_tf2_a_node_that_is_to_use_it_says_what_to_install(without_tf2, tmp_path):
    parameters = {'autostart': False, 'target_frame': 'map', 'diagnostics_period': 0.1}
    with running(tmp_path / 'node.log', parameters, active=False, standin=0.0) as robot:
        assert not robot.change(Transition.TRANSITION_CONFIGURE)
        said = robot.until(lambda: next(
            (status.message for array in robot.diagnostics for status in array.status
             if status.name.endswith('node') and 'not configured' in status.message), ''), 'why')
        assert "target_frame 'map' needs tf2_ros" in said
        assert optional.line_for('tf2_ros') in said
        assert robot.state() == 'unconfigured'
        assert robot.set_parameters(target_frame='')[0].successful
        assert robot.change(Transition.TRANSITION_CONFIGURE)
        assert 'positions in a target_frame with tf2_ros' in robot.process.output
