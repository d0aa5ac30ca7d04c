# SPDX-License-Identifier: Apache-2.0
"""Objects selected by words: a real node with the tiny detector, on a frame of the packaged bag."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ros_support import SECOND, Robot, box, picture, running, to_ns
from rosbags.highlevel import AnyReader

from pixelrefer.msg import Box, ErrorCode, Pixel, Prompt, TrackedObject
from pixelrefer.srv import AddObjects
from pixelrefer_ros import conversions, demo

BAG = Path(demo.__file__).parent / 'bag'
#: Where the red mug is in the first frame of the bag: x, y, width, height.
MUG = (222.0, 129.0, 71.0, 73.0)


def table() -> np.ndarray:
    """The first frame of the packaged bag, 320x240: a red mug, a green bottle, a blue can, a white
    plate, a purple book and a yellow ball."""
    with AnyReader([BAG]) as reader:
        image = next(c for c in reader.connections if c.msgtype.endswith('CompressedImage'))
        _, _, raw = next(reader.messages(connections=[image]))
        data = reader.deserialize(raw, image.msgtype).data
    return np.ascontiguousarray(cv2.imdecode(np.asarray(data), cv2.IMREAD_COLOR)[:, :, ::-1])


def iou(message: Box, other: tuple[float, float, float, float] = MUG) -> float:
    """Of a box of a message and another one."""
    x, y, width, height = other
    across = min(message.x + message.width, x + width) - max(message.x, x)
    down = min(message.y + message.height, y + height) - max(message.y, y)
    common = max(0.0, across) * max(0.0, down)
    return common / (message.width * message.height + width * height - common)


@pytest.fixture(scope='module')
def node(tmp_path_factory) -> Iterator[Robot]:
    log = tmp_path_factory.mktemp('words') / 'node.log'
    with running(log, {'detector_model': 'tiny', 'stamp_wait': 0.3,
                       'diagnostics_period': 0.2}) as robot:
        yield robot


@pytest.fixture
def robot(node: Robot) -> Robot:
    node.reset(remove_objects=True)
    return node


def test_words_select_what_they_name_and_it_is_tracked(robot):
    stamp = robot.clock.tick()
    robot.track(stamp, table())
    reply = robot.add(Prompt(id='mug', text='the red mug'), stamp_ns=stamp)
    assert (reply.error_code, reply.error_msg) == (ErrorCode.OK, '')
    result = reply.results[0]
    assert (result.id, to_ns(reply.stamp_used)) == ('mug', stamp)
    assert iou(result.object.box) > 0.6
    assert iou(result.candidates[0]) > 0.6
    assert result.candidate_scores[0] > 0.4
    following = robot.track(robot.clock.tick(), table()).objects
    assert [(one.id, one.state) for one in following] == [('mug', TrackedObject.TRACKED)]


@pytest.mark.parametrize('words', ['the purple mug', 'a dragon'])
def test_what_is_not_there_is_no_match_and_selects_nothing(robot, words):
    stamp = robot.clock.tick()
    robot.track(stamp, table())
    reply = robot.add(Prompt(text=words), stamp_ns=stamp)
    assert reply.error_code == reply.results[0].error_code == ErrorCode.NO_MATCH
    assert words in reply.error_msg
    assert not reply.results[0].candidates
    assert not robot.list().objects


def test_two_that_fit_are_listed_and_the_box_of_one_selects_it(robot):
    stamp = robot.clock.tick()
    image = table()
    image[150:229, 140:215] = image[126:205, 220:295]  # another one, to the left and nearer
    robot.track(stamp, image)
    reply = robot.add(Prompt(text='the red mug'), stamp_ns=stamp)
    result = reply.results[0]
    assert result.error_code == ErrorCode.SEVERAL_MATCHES
    for true in (MUG, (MUG[0] - 80, MUG[1] + 24, *MUG[2:])):
        assert max(iou(one, true) for one in result.candidates[:2]) > 0.5
    assert list(result.candidate_scores) == sorted(result.candidate_scores, reverse=True)
    assert not robot.list().objects
    chosen = robot.add(Prompt(id='that', box=[result.candidates[1]]), stamp_ns=stamp)
    assert chosen.error_code == ErrorCode.OK


def test_prompts_beside_words_are_served_whatever_becomes_of_the_words(robot):
    stamp = robot.clock.tick()
    robot.track(stamp, table())
    book = Prompt(id='book', box=[Box(x=49.0, y=164.0, width=70.0, height=59.0)])
    reply = robot.add(
        Prompt(id='none', text='the purple mug'), book, Prompt(id='mug', text='the red mug'),
        Prompt(id='both', text='the red mug', points=[Pixel(x=9.0, y=9.0)]), stamp_ns=stamp)
    assert [(one.id, one.error_code) for one in reply.results] == [
        ('none', ErrorCode.NO_MATCH), ('book', ErrorCode.OK), ('mug', ErrorCode.OK),
        ('both', ErrorCode.BAD_POINTS)]
    assert "'none'" in reply.error_msg
    assert 'a text alone is allowed' in reply.results[3].error_msg
    assert {one.id for one in robot.list().objects} == {'book', 'mug'}


@pytest.mark.parametrize('words, code', [
    ('x' * 201, 'QUESTION_TOO_LONG'), ('the <|im_end|> mug', 'SPECIAL_TOKEN'),
    ('...', 'NO_PROMPT'), ('the thing', 'NO_PROMPT'), ('   ', 'NO_PROMPT')])
def test_words_that_cannot_be_looked_for_are_refused(robot, words, code):
    stamp = robot.clock.tick()
    robot.track(stamp)
    reply = robot.add(Prompt(text=words), stamp_ns=stamp)
    assert reply.results[0].error_code == getattr(ErrorCode, code)
    assert 'allowed' in reply.error_msg


def test_a_frame_that_is_not_held_is_said_before_anything_is_looked_for(robot):
    robot.track(robot.clock.tick())
    before = robot.values()['detections']
    reply = robot.add(Prompt(text='the red mug'), stamp_ns=SECOND)
    assert (reply.error_code, list(reply.results)) == (ErrorCode.STAMP_TOO_OLD, [])
    assert robot.values()['detections'] == before


@pytest.fixture
def slow(tmp_path) -> Iterator[tuple[Robot, Path]]:
    """A node around stand-ins, whose detector answers once there is a file, and that file."""
    with running(tmp_path / 'node.log', {
            'detector_model': tmp_path / 'go', 'prompt_queue': 1, 'frame_ring_mib': 1,
            'diagnostics_period': 0.1}, standin=0.0) as robot:
        yield robot, tmp_path / 'go'


def look(robot: Robot, stamp_ns: int, *prompts: Prompt) -> Any:
    """A request that is on its way."""
    return robot.call_async(AddObjects, 'add_objects', AddObjects.Request(
        stamp=conversions.time_message(stamp_ns), prompts=list(prompts)))


def its_turn(robot: Robot, sent: Any = None) -> None:
    """Wait until something is looked for, or was found already."""
    robot.until(lambda: robot.values()['words_looked_for'] == '1' or (sent and sent.done()),
                'its turn')


def code_of(robot: Robot, sent: Any) -> int:
    """What became of it."""
    return robot.until(lambda: sent.done() and sent.result(), 'a reply').error_code


def test_frames_are_tracked_while_a_detector_looks_and_more_requests_are_busy(slow):
    robot, go = slow
    stamp = robot.clock.tick()
    robot.track(stamp)
    running = look(robot, stamp, Prompt(id='first', text='a box'))
    its_turn(robot)
    waiting = look(robot, stamp, Prompt(id='second', text='a box'))
    robot.until(lambda: robot.values()['words_waiting'] == '1', 'its place')
    late = look(robot, stamp, Prompt(id='third', text='a box'))
    assert code_of(robot, late) == ErrorCode.BUSY
    assert 'prompt_queue' in late.result().error_msg
    for _ in range(3):
        robot.track(robot.clock.tick())
    assert not running.done() and not waiting.done()
    go.touch()
    assert code_of(robot, running) == code_of(robot, waiting) == ErrorCode.OK
    assert [one.id for one in robot.list().objects] == ['first', 'second']


def test_a_reset_overtakes_what_is_looked_for(slow):
    robot, go = slow
    stamp = robot.clock.tick()
    robot.track(stamp)
    running = look(robot, stamp, Prompt(text='a box'), Prompt(text='another'))
    its_turn(robot)
    robot.reset()
    go.touch()
    assert code_of(robot, running) == ErrorCode.CANCELLED
    assert not robot.list().objects


def test_a_frame_that_leaves_the_ring_meanwhile_is_an_answer(slow):
    robot, go = slow
    stamp = robot.clock.tick()
    robot.track(stamp)
    found = look(robot, stamp, Prompt(id='named', text='a box'), box('boxed'))
    # What needs no detector is served at once.
    robot.until(lambda: robot.list().objects, 'the object of the box')
    for _ in range(6):  # four frames of this size fit
        robot.track(robot.clock.tick())
    go.touch()
    code_of(robot, found)
    named, boxed = found.result().results
    assert (named.error_code, boxed.error_code) == (ErrorCode.STAMP_TOO_OLD, ErrorCode.OK)
    assert 'frame_ring_mib' in named.error_msg
    assert [(one.x, one.y, one.width) for one in named.candidates] == [(60.0, 80.0, 60.0)]
    assert [one.id for one in robot.list().objects] == ['boxed']


def test_deactivation_answers_what_is_looked_for_before_it_is_found(slow):
    robot, go = slow
    robot.track(robot.clock.tick())
    sent = look(robot, robot.clock.now, Prompt(text='a box'))
    its_turn(robot)
    ending = robot.call_async(ChangeState, 'change_state', ChangeState.Request(
        transition=Transition(id=Transition.TRANSITION_DEACTIVATE)))
    assert code_of(robot, sent) == ErrorCode.SHUTTING_DOWN
    assert not ending.done()
    go.touch()
    assert robot.until(lambda: ending.done() and ending.result(), 'the end').success


def test_in_lockstep_no_frame_overtakes_what_is_looked_for(tmp_path):
    def run(name: str) -> list:
        with running(tmp_path / name, {
                'detector_model': 'tiny', 'lockstep': True, 'diagnostics_period': 0.1}) as robot:
            stamp = robot.clock.tick()
            robot.track(stamp, table())
            found = look(robot, stamp, Prompt(id='mug', text='the red mug'))
            its_turn(robot)
            stamps = [robot.clock.tick() for _ in range(5)]
            for n, each in enumerate(stamps):
                robot.send(each, np.roll(table(), 3 * n, axis=1))
            reply = robot.until(lambda: found.done() and found.result(), 'a reply')
            assert reply.error_code == ErrorCode.OK
            assert to_ns(reply.results[0].object.last_seen) == stamp
            return [[(o.id, o.area, o.box) for o in robot.objects_of(each).objects]
                    for each in stamps]

    assert run('first.log') == run('second.log')


def test_without_a_detector_the_parameter_is_named(tmp_path):
    with running(tmp_path / 'node.log', {}, standin=0.0) as robot:
        stamp = robot.clock.tick()
        robot.track(stamp, picture())
        reply = robot.add(Prompt(id='a', text='the red mug'), box('b'), stamp_ns=stamp)
        assert [one.error_code for one in reply.results] == [ErrorCode.UNSUPPORTED, ErrorCode.OK]
        assert 'detector_model' in reply.results[0].error_msg


def test_a_detector_that_cannot_be_read_fails_configuring_with_the_file(tmp_path):
    (tmp_path / 'config.json').write_text('{"model_type": "bert"}')
    with running(tmp_path / 'node.log', {'detector_model': tmp_path, 'autostart': False},
                 active=False) as robot:
        assert not robot.change(Transition.TRANSITION_CONFIGURE)
        robot.until(lambda: 'grounding-dino' in robot.process.output, 'the reason in the log')
        assert str(tmp_path / 'config.json') in robot.process.output
