# SPDX-License-Identifier: Apache-2.0
"""From an image to masks and answers, with the packaged models: stamps, labels, overlay."""

import cv2
import numpy as np
import pytest
from ros_support import HEIGHT, SECOND, WIDTH, Clock, box, click, mask, picture, running, to_ns
from sensor_msgs.msg import CompressedImage, Image

from pixelrefer.msg import ErrorCode, TimeWindow, TrackedObject
from pixelrefer_ros import conversions


def labels_of(message: Image) -> np.ndarray:
    """uint16 [H, W]."""
    assert message.encoding == '16UC1' and message.step == 2 * message.width
    return np.frombuffer(message.data, '<u2').reshape(message.height, message.width)


def test_the_stamp_of_the_image_is_on_everything_that_comes_of_it(robot):
    labels = robot.collect(Image, 'label_image')
    overlays = robot.collect(CompressedImage, 'overlay/compressed')
    stamp = robot.clock.tick()
    robot.track(stamp)
    assert robot.add(mask('cup'), stamp_ns=stamp).error_code == ErrorCode.OK
    asked = robot.ask('What is it?', 'cup').answer
    assert [to_ns(s) for s in asked.stamps] == [stamp] == [to_ns(asked.header.stamp)]
    assert asked.header.frame_id == 'camera_optical_frame'
    for _ in range(2):
        stamp = robot.clock.tick(123_456_789)
        array = robot.track(stamp)
        assert array.header.frame_id == 'camera_optical_frame'
        assert (array.width, array.height) == (WIDTH, HEIGHT)
    for found in (labels, overlays):
        message = robot.until(
            lambda: found and to_ns(found[-1].header.stamp) == stamp and found[-1], 'an image')
        assert message.header == array.header
    drawn = cv2.imdecode(np.frombuffer(overlays[-1].data, np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (HEIGHT, WIDTH, 3)


def test_the_label_image_holds_every_mask_under_its_index(robot):
    labels = robot.collect(Image, 'label_image')
    stamp = robot.clock.tick()
    robot.track(stamp)
    robot.add(mask('cup'), click(220, 120, 'disc'), stamp_ns=stamp)
    array = robot.track(robot.clock.tick())
    image = robot.until(lambda: next(
        (m for m in labels if m.header == array.header), None), 'the label image')
    pixels = labels_of(image)
    assert set(np.unique(pixels)) <= {0} | {o.index for o in array.objects}
    for tracked in array.objects:
        if not tracked.mask.counts:
            assert not (pixels == tracked.index).any() and tracked.area == 0
            continue
        own = conversions.mask_from(tracked.mask)
        assert tracked.area == own.sum()
        rows, columns = np.nonzero(own)
        found = tracked.box
        assert (found.x, found.y) == (columns.min(), rows.min())
        assert (found.width, found.height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert not ((pixels == tracked.index) & ~own).any()


def test_a_window_answers_from_several_moments(robot):
    stamps = []
    for _ in range(6):
        stamps.append(robot.clock.tick(SECOND // 2))
        robot.track(stamps[-1])
        if len(stamps) > 1:
            assert robot.add(mask('cup'), stamp_ns=stamps[-1], on_existing=2 if len(
                stamps) == 2 else 1).error_code == ErrorCode.OK
            robot.describe('cup')
    window = TimeWindow(start=conversions.time_message(stamps[2]),
                        end=conversions.time_message(stamps[4]))
    answer = robot.ask('Where does it move?', 'cup', window=window).answer
    assert [to_ns(s) for s in answer.stamps] == stamps[2:5]
    whole = robot.ask('Where does it move?', 'cup', window=TimeWindow(seconds=60.0)).answer
    assert [to_ns(s) for s in whole.stamps][0] == stamps[1] and len(whole.stamps) == 4
    assert whole.left_out == 1


def test_every_answer_is_published_as_it_was_given(robot):
    stamp = robot.clock.tick()
    robot.track(stamp)
    robot.add(mask('cup'), box('tray'), stamp_ns=stamp)
    before = len(robot.answers)
    asked = robot.ask('Is <object:cup> left of <object:tray>?', 'cup', 'tray').answer
    described = robot.describe().answers
    assert [a.object_ids for a in described] == [['cup'], ['tray']]
    published = robot.until(
        lambda: len(robot.answers) == before + 3 and robot.answers[before:], 'three answers')
    assert published == [asked, *described]


def test_where_there_is_no_object_none_can_be_described_or_asked_about(robot):
    robot.track(robot.clock.tick())
    for response in (robot.describe(), robot.ask('What is it?')):
        assert response.error_code == ErrorCode.NO_OBSERVATION and ';' in response.error_msg


def test_after_a_reset_no_answer_rests_on_what_was_before(robot):
    stamp = robot.clock.tick()
    robot.track(stamp)
    robot.add(mask('cup'), stamp_ns=stamp)
    assert robot.ask('What is it?', 'cup').error_code == ErrorCode.OK
    assert robot.reset().ids == ['cup']
    response = robot.ask('What is it?', 'cup')
    assert response.error_code == ErrorCode.NO_OBSERVATION and response.answer.text == ''
    stamp = robot.clock.tick()
    robot.track(stamp)
    again = robot.add(mask('cup'), stamp_ns=stamp, on_existing=2)
    assert again.results[0].object.state == TrackedObject.TRACKED
    assert [to_ns(s) for s in robot.ask('What is it?', 'cup').answer.stamps] == [stamp]


@pytest.fixture(scope='module')
def lockstep(tmp_path_factory: pytest.TempPathFactory):
    """A node in lockstep."""
    log = tmp_path_factory.mktemp('lockstep') / 'node.log'
    parameters = {'lockstep': True, 'keyframe_interval': 0.2, 'max_tokens': 8,
                  'publish_masks': True}
    with running(log, parameters) as robot:
        yield robot


def test_in_lockstep_the_same_frames_give_the_same_masks_and_answers(lockstep):
    runs = []
    for start in (1000, 5000):
        lockstep.reset(remove_objects=True)
        # Under the same id an object would go on with what is remembered of it.
        lockstep.forget()
        clock = Clock(start * SECOND)
        stamps = [clock.tick() for _ in range(6)]
        lockstep.track(stamps[0])
        lockstep.add(mask('cup'), click(220, 120, 'disc'), use_newest=True)
        # All at once: none may be dropped, and they are taken in order.
        for number, stamp in enumerate(stamps[1:]):
            lockstep.send(stamp, picture(3 * number))
        lockstep.objects_of(stamps[-1])
        found = [m for m in lockstep.objects if to_ns(m.header.stamp) in stamps]
        assert [to_ns(m.header.stamp) for m in found] == stamps
        answers = lockstep.describe(window=TimeWindow(seconds=100.0)).answers
        runs.append((
            [[(o.id, o.index, o.state, o.score, o.mask) for o in m.objects] for m in found],
            [(a.text, a.confidence, [to_ns(s) - start * SECOND for s in a.stamps])
             for a in answers]))
    assert runs[0] == runs[1]
