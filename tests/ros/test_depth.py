# SPDX-License-Identifier: Apache-2.0
"""Objects have a place in 3D where depth and calibration fit the image, and a reason elsewhere."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from ros_support import HEIGHT, SECOND, WIDTH, box_mask, mask, running, to_ns
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pixelrefer.msg import ErrorCode, TimeWindow, TrackedObject
from pixelrefer.srv import Measure
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.geometry import Placed
from pixelrefer_ros import conversions
from pixelrefer_ros import depth as depth_module
from pixelrefer_ros.depth import KEPT, Depth, depth_from
from pixelrefer_ros.measuring import measured
from pixelrefer_ros.objects import Position, Sight

#: A thing of ten centimetres, a metre away.
PLACED = Placed(np.array([0.0, 0.0, 1.0]), np.eye(3) * 1e-6, np.full(3, 0.1), np.full(3, 1e-3), 1e-3,
                100, 100, np.array([0.0, 0.0, 1.0]))
MASK = np.zeros((60, 80), bool)
MASK[20:40, 30:60] = True


def message(values: np.ndarray, encoding: str, *, stamp_ns: int = SECOND, padding: int = 0,
            bigendian: bool = False) -> Image:
    kind = values.dtype.newbyteorder('>' if bigendian else '<')
    rows = [row.astype(kind).tobytes() + b'\7' * padding for row in values]
    made = Image(height=values.shape[0], width=values.shape[1], encoding=encoding,
                 step=len(rows[0]), is_bigendian=bigendian, data=b''.join(rows))
    made.header = conversions.header_message(stamp_ns, 'optical')
    return made


def info(width: int = 80, height: int = 60, focal: float = 100.0) -> CameraInfo:
    return CameraInfo(width=width, height=height,
                      k=[focal, 0.0, 40.0, 0.0, focal, 30.0, 0.0, 0.0, 1.0])


def sight(stamp_ns: int = SECOND) -> Sight:
    return Sight(TrackedObject.TRACKED, box=(30, 20, 30, 20), area=600, mask=MASK,
                 stamp_ns=stamp_ns)


@pytest.fixture
def rejected() -> list[PixelReferError]:
    return []


@pytest.fixture
def depth(rejected) -> Depth:
    return Depth(20_000_000, lambda header, error: rejected.append(error))


@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize('bigendian', [False, True])
@pytest.mark.parametrize('encoding, kind, scale', [
    ('32FC1', np.float32, 1.0), ('16UC1', np.uint16, 1000.0), ('mono16', np.uint16, 1000.0)])
def test_depth_of_every_encoding_gives_the_same_place(
        depth, encoding, kind, scale, bigendian, padding):
    values = (np.where(MASK, 2.0, 5.0) * scale).astype(kind)
    depth.info(info())
    depth.image(message(values, encoding, bigendian=bigendian, padding=padding))
    found = depth.placed(sight())
    assert found.position_error == '' and found.position.frame_id == 'optical'
    np.testing.assert_allclose(found.position.placed.position,
                               [4.5 * 2 / 100, -0.5 * 2 / 100, 2.0], atol=1e-6)


def test_what_is_missing_is_said_in_words(depth):
    assert 'topic `depth`' in depth.placed(sight()).position_error
    depth.image(message(np.full((60, 80), 2.0, np.float32), '32FC1'))
    assert 'topic `camera_info`' in depth.placed(sight()).position_error
    depth.info(info())
    assert depth.placed(sight()).position is not None
    late = depth.placed(sight(SECOND + 50_000_000))
    assert late.position is None and 'depth_slop' in late.position_error
    assert '0.050 s before' in late.position_error
    assert 'not seen' in depth.placed(replace(sight(), mask=None)).position_error
    depth.clear()
    assert 'topic `depth`' in depth.placed(sight()).position_error


@pytest.mark.parametrize('size, camera', [((30, 40), (80, 60)), ((60, 80), (40, 30))])
def test_depth_or_calibration_of_another_size_is_named_with_all_sizes(depth, size, camera):
    depth.info(info(*camera))
    depth.image(message(np.full(size, 2.0, np.float32), '32FC1'))
    error = depth.placed(sight()).position_error
    assert '80x60' in error and '40x30' in error


def test_messages_that_cannot_be_used_are_rejected_and_change_nothing(depth, rejected):
    depth.info(info())
    depth.image(message(np.full((60, 80), 2.0, np.float32), '32FC1'))
    whole = depth.placed(sight()).position
    bad = message(np.full((60, 80), 2.0, np.float32), '32FC1')
    bad.data = bytes(bad.data)[:-9]
    for wrong in (bad, message(np.zeros((60, 80), np.uint8), 'rgb8')):
        depth.image(wrong)
    depth.info(info(focal=0.0))
    assert [error.code for error in rejected] == ['BAD_IMAGE', 'BAD_ENCODING', 'BAD_IMAGE']
    np.testing.assert_array_equal(
        depth.placed(sight()).position.placed.position, whole.placed.position)


def test_why_the_newest_depth_or_calibration_could_not_be_used_is_the_reason(depth, rejected):
    depth.image(message(np.zeros((60, 80), np.uint8), 'rgb8'))
    assert depth.placed(sight()).position_error == rejected[-1].message
    depth.image(message(np.full((60, 80), 2.0, np.float32), '32FC1'))
    for _ in range(3):
        depth.info(info(focal=0.0))
    assert 'focal lengths of 0' in depth.placed(sight()).position_error
    assert len(rejected) == 2, 'said once, not with every image'
    depth.info(info())
    assert depth.placed(sight()).position_error == ''
    depth.info(info(focal=0.0))
    assert len(rejected) == 3 and depth.placed(sight()).position is not None


def test_a_frame_that_waited_finds_its_own_depth(depth):
    """In lockstep up to 16 frames wait, and live a large model may take a second or two."""
    depth.info(info())
    for number in range(60):
        depth.image(message(np.full((60, 80), 1.0 + number, np.float32), '32FC1',
                            stamp_ns=SECOND + number * 33_000_000))
    placed = depth.placed(sight(SECOND)).position.placed
    assert placed.position[2] == pytest.approx(1.0)


def test_large_depth_images_are_bounded_by_their_bytes(depth, monkeypatch):
    monkeypatch.setattr(depth_module, 'KEPT_BYTES', 5 * 60 * 80 * 4)
    depth.info(info())
    for number in range(20):
        depth.image(message(np.full((60, 80), 2.0, np.float32), '32FC1',
                            stamp_ns=SECOND + number * 100_000_000))
    assert len(depth._images) == 5


def test_objects_of_two_cameras_are_not_of_one_view_though_stamps_and_frames_are_alike():
    one, other = (Position('optical', SECOND, PLACED, camera=name) for name in ('front', 'wrist'))
    with pytest.raises(PixelReferError) as caught:
        measured(one, other, SECOND)
    assert caught.value.code == 'NO_POSITION'
    assert measured(one, replace(one, placed=replace(PLACED, position=np.array([1.0, 0.0, 1.0]))),
                    0).distance == pytest.approx(1.0)


def test_few_depth_images_are_kept(depth):
    depth.info(info())
    for number in range(3 * KEPT):
        depth.image(message(np.full((60, 80), 2.0, np.float32), '32FC1',
                            stamp_ns=SECOND + number * 100_000_000))
    assert len(depth._images) == KEPT
    assert depth.placed(sight(SECOND + (3 * KEPT - 1) * 100_000_000)).position is not None


def test_depth_is_not_changed_by_who_sent_it():
    values = np.full((60, 80), 2.0, np.float32)
    sent = message(values, '32FC1')
    made = depth_from(sent)
    sent.data[:4] = sent.data[4:8][::-1]
    assert (made.values == 2.0).all()


def other_mask() -> np.ndarray:
    found = np.zeros((HEIGHT, WIDTH), bool)
    found[90:150, 200:260] = True
    return found


def test_over_the_wire_objects_carry_their_place_and_two_are_measured(robot):
    metres = np.full((HEIGHT, WIDTH), 4.0)
    metres[box_mask()], metres[other_mask()] = 2.0, 1.0
    robot.send_info()
    robot.until(lambda: robot.node.count_subscribers('/depth'), 'a subscription to depth')
    stamp = robot.clock.tick()
    robot.send_depth(stamp, metres)
    robot.track(stamp)
    added = robot.add(mask('red'), mask('other', other_mask()), stamp_ns=stamp)
    red, other = (result.object for result in added.results)
    assert red.position_error == other.position_error == ''
    assert red.position_frame == 'camera_optical_frame'
    assert red.position.z == pytest.approx(2.0, abs=0.01)
    assert red.position.x == pytest.approx((89.5 - 160) * 2 / 300, abs=0.02)
    assert other.size.x == pytest.approx(60 * 1 / 300, abs=0.03)
    found = robot.call(Measure, 'measure', Measure.Request(first='red', second='other'))
    assert found.error_code == ErrorCode.OK, found.error_msg
    assert to_ns(found.stamp) == stamp and found.frame_id == 'camera_optical_frame'
    assert found.distance == pytest.approx(np.linalg.norm(
        [red.position.x - other.position.x, red.position.y - other.position.y, 1.0]), abs=0.02)
    assert {'left', 'behind', 'farther', 'wider'} <= set(found.relations)
    assert len(found.relations) == len(found.differences) == len(found.difference_deviations)
    published = robot.track(robot.clock.tick())
    assert all('depth_slop' in one.position_error for one in published.objects if one.area)


def test_what_cannot_be_measured_says_which_object_and_why(robot):
    stamp = robot.clock.tick()
    robot.track(stamp)
    robot.add(mask('red'), stamp_ns=stamp)
    found = robot.call(Measure, 'measure', Measure.Request(first='red', second='fork'))
    assert found.error_code == ErrorCode.UNKNOWN_ID
    robot.add(mask('other', other_mask()), stamp_ns=stamp)
    found = robot.call(Measure, 'measure', Measure.Request(first='red', second='other'))
    assert found.error_code == ErrorCode.NO_POSITION and "'red': " in found.error_msg
    found = robot.call(Measure, 'measure', Measure.Request(first='red', second='red'))
    assert found.error_code == ErrorCode.DUPLICATE_ID


def test_the_model_is_told_what_depth_says_where_the_parameter_asks_for_it(robot):
    metres = np.full((HEIGHT, WIDTH), 4.0)
    metres[box_mask()], metres[other_mask()] = 2.0, 1.0
    robot.send_info()
    robot.until(lambda: robot.node.count_subscribers('/depth'), 'a subscription to depth')
    stamp = robot.clock.tick()
    robot.send_depth(stamp, metres)
    robot.track(stamp)
    robot.add(mask('red'), mask('other', other_mask()), stamp_ns=stamp)
    question = 'Is <object:red> nearer than <object:other>?'
    assert robot.ask(question).answer.facts == ''
    assert robot.set_parameters(facts_in_prompt=True)[0].successful
    try:
        told = robot.ask(question).answer
        assert told.error_code == ErrorCode.OK
        assert told.facts.startswith('<object:red> is about 0.') and told.facts.count('.') > 3
        assert 'm from <object:other>: to the left of it' in told.facts
        assert 'behind it' in told.facts and 'farther away' in told.facts
        # Facts are of now: a question about the past is not told them.
        assert robot.ask(question, window=TimeWindow(seconds=5.0)).answer.facts == ''
    finally:
        robot.set_parameters(facts_in_prompt=False)


def reasons_of(robot, metres: np.ndarray | None) -> str:
    """Why the object of a new frame has no place, or nothing."""
    stamp = robot.clock.tick()
    if metres is not None:
        robot.send_depth(stamp, metres)
    return robot.track(stamp).objects[0].position_error


def until_it_says(robot, metres: np.ndarray | None, *words: str) -> None:
    """Wait for a reason: depth and calibration come on topics of their own, in no order."""
    robot.until(lambda: all(word in reasons_of(robot, metres) for word in words), str(words))


def test_over_the_wire_what_does_not_fit_the_image_is_named_until_it_does(robot):
    whole = np.full((HEIGHT, WIDTH), 2.0)
    robot.send_info()
    robot.until(lambda: robot.node.count_subscribers('/depth'), 'a subscription to depth')
    stamp = robot.clock.tick()
    robot.track(stamp)
    robot.add(mask('red'), stamp_ns=stamp)
    robot.until(lambda: reasons_of(robot, whole) == '', 'a place')

    robot.send_info(size=(WIDTH // 2, HEIGHT // 2))
    until_it_says(robot, whole, f'the calibration of {WIDTH // 2}x{HEIGHT // 2}',
                  f'the image is {WIDTH}x{HEIGHT}')
    robot.send_info()
    until_it_says(robot, whole[::2, ::2], f'the depth image {WIDTH // 2}x{HEIGHT // 2}')
    robot.until(lambda: reasons_of(robot, whole) == '', 'a place again')

    events = len(robot.events)
    for _ in range(3):
        robot.send_info(focal=0.0)
    rejected = robot.until(lambda: [
        e for e in robot.events[events:] if e.kind == e.FRAME_REJECTED], 'an event')
    assert 'focal lengths of 0' in rejected[0].error_msg
    assert rejected[0].error_code == ErrorCode.BAD_IMAGE
    robot.until(lambda: reasons_of(robot, whole) == '', 'the calibration of before')
    assert len([e for e in robot.events[events:] if e.kind == e.FRAME_REJECTED]) == 1

    stamp = robot.clock.tick()
    robot._depth.publish(message(np.zeros((HEIGHT, WIDTH), np.uint8), 'rgb8', stamp_ns=stamp))
    until_it_says(robot, None, "depth of encoding 'rgb8'", '32FC1')
    robot.until(lambda: reasons_of(robot, whole) == '', 'a place in the end')
    robot.send_info()


def test_over_the_wire_compressed_depth_gives_a_place_too(tmp_path):
    metres = np.where(box_mask(), 2.0, 4.0)
    with running(tmp_path / 'node.log', {'depth_transport': 'compressed'}) as robot:
        camera = robot.node.create_publisher(CompressedImage, 'depth/compressedDepth', 10)
        robot.until(camera.get_subscription_count, 'a subscription to compressed depth')
        robot.send_info()
        stamp = robot.clock.tick()
        robot.track(stamp)
        robot.add(mask('red'), stamp_ns=stamp)

        def placed() -> float:
            stamp = robot.clock.tick()
            png = cv2.imencode('.png', (metres * 1000).astype(np.uint16))[1].tobytes()
            camera.publish(CompressedImage(
                header=conversions.header_message(stamp, 'optical'),
                format='16UC1; compressedDepth png', data=bytes(12) + png))
            return robot.track(stamp).objects[0].position.z

        assert robot.until(placed, 'a place') == pytest.approx(2.0, abs=0.01)
