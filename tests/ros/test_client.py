# SPDX-License-Identifier: Apache-2.0
"""The Python client: typed calls, their twins that do not wait, errors as exceptions, streams."""

import subprocess
import sys
import time
from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest
from ros_support import ROOT, Robot, box_mask, picture
from standin_node import ENDLESS

from pixelrefer.action import AskStream
from pixelrefer.msg import Answer, ErrorCode, RememberedObject, TrackedObject
from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import conversions
from pixelrefer_ros.client import PixelReferClient
from pixelrefer_ros.client_stream import AnswerStream


@pytest.fixture
def client(robot: Robot, monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', str(robot.domain))
    with PixelReferClient() as made:
        yield made


@pytest.fixture
def quick_client(quick: Robot, monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', str(quick.domain))
    quick.track(quick.clock.tick())
    with PixelReferClient() as made:
        made.add('cup', click=(15, 15))
        yield made


def test_an_object_is_added_listed_described_asked_about_and_removed(robot, client):
    robot.track(robot.clock.tick(), picture())
    added = client.add('red', box=(60, 80, 120, 150))
    assert isinstance(added, TrackedObject) and (added.id, added.box.width > 0) == ('red', True)
    assert [one.id for one in client.objects()] == ['red']
    answer = client.ask('What colour is <object:red>?', max_tokens=8)
    assert answer.text and answer.object_ids == ['red']
    (described,) = client.describe('red', detail='phrase')
    assert described.error_code == ErrorCode.OK and described.text
    assert client.remove('red') == ['red'] and client.objects() == []


@pytest.mark.parametrize('how', [
    {'click': (90, 110)}, {'points': [(90, 110), (5, 5)], 'labels': [1, 0]},
    {'box': (60, 80, 120, 150)}, {'scribble': [(80, 100), (100, 120)]}, {'mask': box_mask()}])
def test_every_kind_of_prompt_selects(robot, client, how):
    robot.track(robot.clock.tick(), picture())
    assert client.add(**how).id == 'object_1'


def test_what_is_remembered_is_found_joined_split_and_forgotten(robot, client):
    stamps = [robot.clock.tick(2_000_000_000) for _ in range(3)]
    robot.track(stamps[0], picture())
    client.add('red', box=(60, 80, 120, 150))
    text = client.describe('red', detail='phrase')[0].text
    assert client.remove('red') == ['red']
    hit, = client.find(text)
    assert isinstance(hit, RememberedObject) and (hit.id, hit.text) == ('red', text)
    robot.track(stamps[1], picture())
    client.add('again', box=(60, 80, 120, 150))
    client.describe('again')
    assert [one.id for one in client.find(like='red', most=1)] == ['again']
    assert [one.id for one in client.find(window=1.0)] == ['again']
    assert client.find(near=('map', (0, 0, 0), 1.0)) == []
    assert client.merge('red', 'again') == 1
    assert [one.id for one in client.objects()] == ['red']
    assert client.split('red', conversions.time_message(stamps[1]), 'other') == 'other'
    assert {one.id for one in client.find()} == {'red', 'other'}
    assert client.forget('red') == 1 and [one.id for one in client.find()] == ['other']
    assert client.forget() == 1 and client.find() == []


def test_a_prompt_names_the_image_that_was_seen(robot, client):
    stamps = [robot.clock.tick() for _ in range(2)]
    for stamp in stamps:
        robot.track(stamp, picture())
    assert client.add('red', mask=box_mask(), stamp=conversions.time_message(stamps[0])).id == 'red'
    with pytest.raises(PixelReferError) as error:
        client.add('other', click=(90, 110), stamp=conversions.time_message(stamps[0] - 5))
    assert error.value.code == 'STAMP_TOO_OLD'


def test_what_the_node_refuses_is_raised_with_its_code_and_its_words(robot, client):
    robot.track(robot.clock.tick(), picture())
    for call, code in ((lambda: client.ask('What is <object:fork>?'), 'UNKNOWN_OBJECT_REFERENCE'),
                       (lambda: client.add(click=(900, 5)), 'OUT_OF_IMAGE'),
                       (lambda: client.add(click=(9, 9), box=(1, 1, 5, 5), mask=box_mask()),
                        'BAD_POINTS'),
                       (lambda: client.add(click=(9, 9), on_existing='merge'), 'BAD_ON_EXISTING'),
                       (lambda: client.remove('fork'), 'UNKNOWN_ID'),
                       (lambda: client.measure('a', 'b'), 'UNKNOWN_ID'),
                       (lambda: client.describe(), 'NO_OBSERVATION'),
                       (lambda: list(client.stream('What is <object:fork>?')),
                        'UNKNOWN_OBJECT_REFERENCE')):
        with pytest.raises(PixelReferError) as error:
            call()
        assert error.value.code == code and error.value.message


def test_calls_that_do_not_wait_are_answered_all_the_same(quick_client):
    futures = [quick_client.ask_async('What is it?', 'cup') for _ in range(2)]
    assert [future.result(60).text for future in futures] == ['word word word'] * 2


def test_a_stream_tells_the_answer_in_pieces(quick_client):
    stream = quick_client.stream('What is it?', 'cup')
    assert ''.join(stream).strip() == 'word word word' == stream.answer.text


def test_a_result_that_overtakes_the_last_feedback_brings_the_rest_of_the_text():
    actions = SimpleNamespace(send_goal_async=lambda *_, **__: Future())
    stream = AnswerStream(actions, AskStream.Goal(), 5.0)
    stream._news.put(AskStream.Feedback(text=' word '))
    stream._news.put(AskStream.Result(answer=Answer(text='word word word')))
    assert ''.join(stream).strip() == 'word word word' == stream.answer.text


def test_no_reply_is_taken_before_its_request_is_noted(quick_client, monkeypatch):
    """rclpy's action client notes a request after it has sent it: here that takes long."""
    actions = quick_client._actions
    send = actions._client_handle.send_goal_request

    class Slow:
        def __getattr__(self, name):
            return getattr(handle, name)

        def send_goal_request(self, request):
            number = send(request)
            time.sleep(0.5)     # the reply is there by now
            return number

    handle = actions._client_handle
    monkeypatch.setattr(actions, '_client_handle', Slow())
    assert ''.join(quick_client.stream('What is it?', 'cup')).strip() == 'word word word'


def test_leaving_a_stream_cancels_it(quick, quick_client):
    for number, _ in enumerate(quick_client.stream(ENDLESS, 'cup')):
        if number == 2:
            break
    quick.until(lambda: quick.values().get('questions_waiting') == '0', 'an idle worker')
    stream = quick_client.stream(ENDLESS, 'cup')
    next(iter(stream))
    stream.cancel()
    with pytest.raises(PixelReferError) as error:
        list(stream)
    assert error.value.code == 'CANCELLED'


def test_a_client_may_wait_until_the_node_is_ready_or_hears_why_it_is_not(robot, client):
    robot.reset(remove_objects=True)
    robot.until(lambda: any('no usable image' in status.message for status in
                            robot.diagnostics[-1].status), 'a silent camera')
    with pytest.raises(TimeoutError, match='no image has come yet: no usable image'):
        client.wait_ready(5.0)
    robot.track(robot.clock.tick())
    client.wait_ready()
    client.name = '/nobody'
    client.timeout = 0.2
    client._clients.clear()
    with pytest.raises(TimeoutError, match='no service /nobody/list_objects'):
        client.wait_ready(0.5)


def test_without_a_node_a_call_ends_and_says_what_was_missing(monkeypatch, robot):
    monkeypatch.setenv('ROS_DOMAIN_ID', str(robot.domain))
    with PixelReferClient(name='/nobody', timeout=0.2) as client:
        with pytest.raises(TimeoutError, match='/nobody/list_objects'):
            client.objects()
        with pytest.raises(TimeoutError, match='/nobody/ask_stream'):
            client.stream('What?')


def test_a_node_of_the_caller_is_used_and_left_to_him(robot):
    with PixelReferClient(robot.node) as client:
        assert client.objects() == []
    assert robot.list().error_code == ErrorCode.OK
    assert np.isfinite(robot.node.get_clock().now().nanoseconds)


def test_the_client_needs_no_pytorch():
    code = ("import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
            'import pixelrefer_ros.client')
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


def test_a_selection_tells_on_which_image_it_was(robot, client):
    from pixelrefer_ros import conversions
    stamps = [robot.clock.tick() for _ in range(2)]
    for stamp in stamps:
        robot.track(stamp, picture())
    reply = client.select('red', click=(90, 110), stamp=conversions.time_message(stamps[0]))
    assert conversions.nanoseconds(reply.stamp_used) == stamps[0]
    assert client.select(click=(90, 110)).results[0].id == 'object_1'


def test_closing_ends_every_call_that_waits(quick, quick_client):
    asked = quick_client.ask_async(ENDLESS, 'cup')
    stream = iter(quick_client.stream(ENDLESS, 'cup'))
    next(stream)
    quick_client.close()
    for wait in (lambda: asked.result(60), lambda: list(stream)):
        with pytest.raises(PixelReferError) as error:
            wait()
        assert error.value.code == 'SHUTTING_DOWN'


def test_a_call_that_was_given_up_is_forgotten(quick_client):
    quick_client.timeout = 0.5
    with pytest.raises(TimeoutError):
        quick_client.ask(ENDLESS, 'cup', deadline=5.0)
    assert not quick_client._pending
    assert not quick_client._clients['ask']._pending_requests


def test_a_callback_that_fails_is_logged_and_later_calls_are_answered(robot, client, capfd):
    def fail() -> None:
        raise RuntimeError('cannot use Destroyable because destruction was requested')

    failed = client.node.executor.create_task(fail)
    robot.until(failed.done, 'the failure')
    assert client.objects() == []
    assert 'cannot use Destroyable' in capfd.readouterr().err


def test_nothing_is_destroyed_while_the_client_waits_on_it(robot, client, monkeypatch):
    client.objects()
    alive = []
    for owner, name in ((client.node, 'destroy_client'), (client._actions, 'destroy')):
        def destroy(*one, real=getattr(owner, name)) -> None:
            alive.append(client._thread.is_alive())
            real(*one)
        monkeypatch.setattr(owner, name, destroy)
    client.close()
    assert alive and not any(alive)
