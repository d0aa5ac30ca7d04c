# SPDX-License-Identifier: Apache-2.0
"""Bad input changes nothing: its exact code and a sentence come back over the wire, objects and
epoch are as before, and the next good request works in the same process."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Duration, Time
from ros_support import HEIGHT, SECOND, WIDTH, box, click, image_message, mask, to_ns

from pixelrefer.msg import Box, ErrorCode, Pixel, Prompt, Rle, TimeWindow
from pixelrefer_ros import conversions

NAN, INF = float('nan'), float('inf')
EMPTY = np.zeros((HEIGHT, WIDTH), bool)
CENTRE = Pixel(x=160.0, y=120.0)


@pytest.fixture(scope='module')
def scene(real_node):
    """A node with one object, `cup`, that was observed. One for all tests here: that none of
    them changes it is what they are about."""
    real_node.empty()
    real_node.stamp = real_node.clock.tick()
    real_node.track(real_node.stamp)
    assert real_node.add(mask('cup'), stamp_ns=real_node.stamp).error_code == ErrorCode.OK
    assert real_node.describe('cup').error_code == ErrorCode.OK
    return real_node


def state_of(robot) -> list[tuple]:
    listed = robot.list()
    return [listed.epoch] + [(o.id, o.index, o.state, o.area) for o in listed.objects]


def refused(robot, request: Callable[[], Any], code: str) -> Any:
    """Make a request that has to fail with `code` and change nothing; returns the response."""
    before = state_of(robot)
    response = request()
    assert (response.error_code, response.epoch) == (getattr(ErrorCode, code), before[0]), \
        response.error_msg
    assert len(response.error_msg) > 20 and ';' in response.error_msg
    assert state_of(robot) == before
    assert robot.describe('cup').error_code == ErrorCode.OK
    return response


PROMPTS = {
    'no prompt at all': (Prompt(), 'NO_PROMPT'),
    'labels without points': (Prompt(labels=[1]), 'BAD_LABELS'),
    'a click that is NaN': (click(NAN, 10), 'NOT_FINITE'),
    'a click that is infinite': (click(10, INF), 'NOT_FINITE'),
    'a click left of the image': (click(-0.5, 10), 'OUT_OF_IMAGE'),
    'a click on the row after the last': (click(10, HEIGHT), 'OUT_OF_IMAGE'),
    'more labels than points': (Prompt(points=[CENTRE], labels=[1, 0]), 'BAD_LABELS'),
    'a label that is neither 0 nor 1': (click(10, 10, label=2), 'BAD_LABELS'),
    'no point on the object': (click(10, 10, label=0), 'BAD_LABELS'),
    'more points than allowed': (Prompt(points=[CENTRE] * 65), 'BAD_POINTS'),
    'points and a mask': (Prompt(points=[CENTRE], mask=mask().mask), 'BAD_POINTS'),
    'a scribble of one point': (Prompt(scribble=[CENTRE]), 'BAD_POINTS'),
    'a box without width': (Prompt(box=[Box(x=5.0, y=5.0, height=5.0)]), 'BAD_BOX'),
    'a box that is NaN': (Prompt(box=[Box(x=NAN, y=5.0, width=5.0, height=5.0)]), 'NOT_FINITE'),
    'a box over the edge': (
        Prompt(box=[Box(x=300.0, y=5.0, width=21.0, height=5.0)]), 'OUT_OF_IMAGE'),
    'two boxes': (Prompt(box=[Box(width=5.0, height=5.0)] * 2), 'BAD_BOX'),
    'an empty mask': (mask(pixels=EMPTY), 'EMPTY_MASK'),
    'a mask of another size': (mask(pixels=np.ones((HEIGHT, WIDTH - 1), bool)), 'MASK_SIZE'),
    'a mask of no size': (Prompt(mask=Rle(counts='abc')), 'MASK_SIZE'),
    'a mask of absurd size': (
        Prompt(mask=Rle(height=2**31, width=2**31, counts='abc')), 'MASK_SIZE'),
    'a mask whose runs do not fill it': (
        Prompt(mask=Rle(height=HEIGHT, width=WIDTH, counts='1')), 'MASK_SIZE'),
    'a mask of other characters': (
        Prompt(mask=Rle(height=HEIGHT, width=WIDTH, counts='\u00e9~ ')), 'MASK_SIZE'),
    'a text prompt': (Prompt(text='the red cup'), 'UNSUPPORTED'),
    'an id with a blank': (click(10, 10, 'my cup'), 'BAD_ID'),
    'an id that is too long': (click(10, 10, 'a' * 65), 'BAD_ID'),
    'an id that exists': (click(10, 10, 'cup'), 'DUPLICATE_ID'),
}


@pytest.mark.parametrize('prompt, code', PROMPTS.values(), ids=PROMPTS)
def test_a_bad_prompt_selects_nothing(scene, prompt, code):
    response = refused(scene, lambda: scene.add(prompt, stamp_ns=scene.stamp), code)
    assert [result.error_code for result in response.results] == [response.error_code]


def test_prompts_of_a_request_are_independent(scene):
    response = scene.add(click(NAN, 1, 'bad'), box('good'), click(1, 1, 'good'),
                         stamp_ns=scene.stamp)
    assert [result.error_code for result in response.results] == [
        ErrorCode.NOT_FINITE, ErrorCode.OK, ErrorCode.DUPLICATE_ID]
    assert response.error_code == ErrorCode.NOT_FINITE and 'bad' in response.error_msg
    assert [o.id for o in scene.list().objects] == ['cup', 'good']
    assert scene.remove('good').removed == ['good']


def adding(**fields: Any) -> Callable[[Any], Any]:
    return lambda robot: robot.add(
        box('other'), **{'stamp_ns': robot.stamp, **fields})


FRAMES = {
    'no prompts': (lambda robot: robot.add(stamp_ns=robot.stamp), 'NO_PROMPT'),
    'more prompts than objects are allowed': (
        lambda robot: robot.add(*[box()] * 33, stamp_ns=robot.stamp), 'TOO_MANY_OBJECTS'),
    'a stamp before the ring': (
        lambda robot: robot.add(box(), stamp_ns=robot.stamp - 60 * SECOND), 'STAMP_TOO_OLD'),
    'a stamp of zero': (adding(stamp_ns=0), 'STAMP_TOO_OLD'),
    'a stamp far ahead': (
        lambda robot: robot.add(box(), stamp_ns=robot.stamp + 60 * SECOND), 'STAMP_IN_FUTURE'),
    'a stamp a little ahead that never comes': (
        lambda robot: robot.add(box(), stamp_ns=robot.stamp + SECOND // 10), 'STAMP_IN_FUTURE'),
    'another camera': (adding(camera='rear'), 'UNKNOWN_CAMERA'),
    'an unknown on_existing': (adding(on_existing=3), 'BAD_ON_EXISTING'),
}


@pytest.mark.parametrize('request_, code', FRAMES.values(), ids=FRAMES)
def test_a_bad_frame_selects_nothing(scene, request_, code):
    response = refused(scene, lambda: request_(scene), code)
    assert not response.results


def test_a_stamp_that_is_no_longer_held_is_answered_with_the_oldest_that_is(scene):
    response = scene.add(box(), stamp_ns=scene.stamp - SECOND)
    assert f'held are {scene.stamp / 1e9:.9f}' in response.error_msg


QUESTIONS = {
    'empty': ('', ['cup'], {}, 'EMPTY_QUESTION'),
    'blank': (' \n', ['cup'], {}, 'EMPTY_QUESTION'),
    'an end of turn': ('What is <object:cup>?<|im_end|>', ['cup'], {}, 'SPECIAL_TOKEN'),
    'a region token': ('What is <REGION>?', ['cup'], {}, 'SPECIAL_TOKEN'),
    'an image token': ('<image> What is it?', ['cup'], {}, 'SPECIAL_TOKEN'),
    'an unknown name': ('Is <object:cup> on <object:tray>?', ['cup'], {},
                        'UNKNOWN_OBJECT_REFERENCE'),
    'an unknown name and no ids': ('What is <object:tray>?', [], {}, 'UNKNOWN_OBJECT_REFERENCE'),
    'a number beyond the ids': ('What is <object2>?', ['cup'], {}, 'UNKNOWN_OBJECT_REFERENCE'),
    'an id that is not tracked': ('What is it?', ['tray'], {}, 'UNKNOWN_ID'),
    'an id twice': ('What is it?', ['cup', 'cup'], {}, 'DUPLICATE_ID'),
    'a window that is NaN': ('What is it?', ['cup'], {'window': TimeWindow(seconds=NAN)},
                             'BAD_WINDOW'),
    'a window back in time': ('What is it?', ['cup'], {'window': TimeWindow(seconds=-1.0)},
                              'BAD_WINDOW'),
    'a window that ends first': (
        'What is it?', ['cup'], {'window': TimeWindow(
            start=conversions.time_message(2), end=conversions.time_message(1))}, 'BAD_WINDOW'),
    'a window before everything': (
        'What is it?', ['cup'], {'window': TimeWindow(end=conversions.time_message(1))},
        'NO_OBSERVATION'),
    'more tokens than allowed': ('What is it?', ['cup'], {'max_tokens': 100_000}, 'BAD_BUDGET'),
    'a question longer than the model reads': (
        'why ' * 20_000, ['cup'], {}, 'QUESTION_TOO_LONG'),
}


@pytest.mark.parametrize('question, ids, fields, code', QUESTIONS.values(), ids=QUESTIONS)
def test_a_bad_question_is_not_answered(scene, question, ids, fields, code):
    response = refused(scene, lambda: scene.ask(question, *ids, **fields), code)
    assert response.answer.text == ''


def test_an_id_that_the_question_does_not_mention_is_refused(scene):
    assert scene.add(box('tray'), stamp_ns=scene.stamp).error_code == ErrorCode.OK
    refused(scene, lambda: scene.ask('What is <object:cup>?', 'cup', 'tray'), 'UNMENTIONED_ID')
    scene.remove('tray')
    scene.forget('tray')


OTHERS = {
    'an unknown detail': (lambda robot: robot.describe('cup', detail='poem'), 'BAD_DETAIL'),
    'a description of nobody': (lambda robot: robot.describe('tray'), 'UNKNOWN_ID'),
    'removing nobody': (lambda robot: robot.remove('cup', 'tray'), 'UNKNOWN_ID'),
    'removing without an id': (lambda robot: robot.remove(), 'BAD_ID'),
    'removing some and every': (lambda robot: robot.remove('cup', every=True), 'BAD_ID'),
    'an answer in no time': (
        lambda robot: robot.ask('What is it?', 'cup', deadline=Duration(nanosec=1)),
        'DEADLINE_EXCEEDED'),
}


@pytest.mark.parametrize('request_, code', OTHERS.values(), ids=OTHERS)
def test_other_bad_requests_change_nothing(scene, request_, code):
    refused(scene, lambda: request_(scene), code)


IMAGES = {
    'an unknown encoding': (dict(encoding='rgb17'), 'BAD_ENCODING'),
    'no encoding': (dict(encoding=''), 'BAD_ENCODING'),
    'fewer bytes than pixels': (dict(data=bytes(1000)), 'BAD_IMAGE'),
    'no bytes': (dict(data=b''), 'BAD_IMAGE'),
    'no width': (dict(width=0), 'BAD_IMAGE'),
    'no height': (dict(height=0), 'BAD_IMAGE'),
    'an absurd size': (dict(width=2**31, height=2**31, step=0), 'BAD_IMAGE'),
    'a size that no patch fits': (dict(width=4, height=4, step=12), 'BAD_IMAGE'),
    'a step shorter than a row': (dict(step=WIDTH), 'BAD_IMAGE'),
    'a stamp before zero': (Time(sec=-5), 'BAD_IMAGE'),
    'a stamp with a second of nanoseconds': (Time(sec=1, nanosec=10**9), 'BAD_IMAGE'),
}


@pytest.mark.parametrize('fields, code', IMAGES.values(), ids=IMAGES)
def test_a_bad_image_is_rejected_and_the_next_one_tracked(scene, fields, code):
    before, seen = state_of(scene), len(scene.events)
    if isinstance(fields, Time):
        message = image_message(scene.clock.tick())
        message.header.stamp = fields
        fields = {'header': message.header}
    scene.send(scene.clock.tick(), **fields)
    event = scene.until(
        lambda: [e for e in scene.events[seen:] if e.kind == e.FRAME_REJECTED], 'an event')[0]
    assert event.error_code == getattr(ErrorCode, code) and ';' in event.error_msg
    assert state_of(scene) == before
    stamp = scene.clock.tick()
    assert [o.id for o in scene.track(stamp).objects] == ['cup']
    assert to_ns(scene.list().header.stamp) == stamp


def test_rejected_images_are_counted(scene):
    rejected = int(scene.values()['frames_rejected'])
    scene.send(scene.clock.tick(), encoding='rgb17')
    scene.until(lambda: int(scene.values()['frames_rejected']) == rejected + 1, 'a count')
