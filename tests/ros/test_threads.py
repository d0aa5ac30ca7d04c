# SPDX-License-Identifier: Apache-2.0
"""Who waits for whom, and what happens to those who wait; with a stand-in for the models."""

import os
import sys
from pathlib import Path

import pytest
from builtin_interfaces.msg import Duration
from ros_support import SECOND, click, to_ns
from standin_node import ENDLESS

from pixelrefer.msg import ErrorCode, Event, TrackedObject
from pixelrefer.srv import AddObjects, Ask
from pixelrefer_ros import conversions
from pixelrefer_ros.worker import ANSWERING, OBSERVING

SOON = Duration(nanosec=200_000_000)


def select(robot, *ids: str) -> int:
    """Objects on a new frame; returns its stamp."""
    stamp = robot.clock.tick()
    robot.track(stamp)
    assert robot.add(*(click(15, 15, i) for i in ids), stamp_ns=stamp).error_code == ErrorCode.OK
    return stamp


def asking(robot, question: str, *ids: str, **fields):
    return robot.call_async(Ask, 'ask', Ask.Request(question=question, ids=list(ids), **fields))


def reply_of(robot, future):
    return robot.until(lambda: future.done() and future.result(), 'a reply')


def answering(robot, number: int) -> None:
    """Wait until so many questions are with the language worker."""
    robot.until(lambda: robot.values().get('questions_waiting') == str(number), 'a busy worker')


def test_an_object_can_be_asked_about_as_soon_as_it_is_added(quick):
    stamp = select(quick, 'cup')
    response = quick.ask('What is it?', 'cup')
    assert response.error_code == ErrorCode.OK
    assert [to_ns(s) for s in response.answer.stamps] == [stamp]


def test_tracking_goes_on_while_a_question_is_answered(quick):
    select(quick, 'cup')
    asked = asking(quick, ENDLESS, 'cup')
    answering(quick, 1)
    for _ in range(3):
        assert [o.id for o in quick.track(quick.clock.tick()).objects] == ['cup']
    assert not asked.done()
    quick.reset()
    assert reply_of(quick, asked).error_code == ErrorCode.CANCELLED


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux has a nice value of each thread')
def test_observing_yields_the_cpu_to_tracking_and_answering_to_both(quick):
    process = quick.process.process.pid
    own = os.getpriority(os.PRIO_PROCESS, process)
    threads = [os.getpriority(os.PRIO_PROCESS, int(task.name)) - own
               for task in Path(f'/proc/{process}/task').iterdir()]
    assert 0 < OBSERVING < ANSWERING
    assert threads.count(OBSERVING) == threads.count(ANSWERING) == 1
    assert threads.count(0) == len(threads) - 2


def test_a_reset_answers_what_is_pending_and_publishes_nothing_of_before(quick):
    select(quick, 'cup')
    epoch, answers = quick.list().epoch, len(quick.answers)
    pending = [asking(quick, ENDLESS, 'cup') for _ in range(2)]
    answering(quick, 2)
    response = quick.reset()
    assert response.epoch == epoch + 1 and response.ids == ['cup']
    assert [reply_of(quick, one).error_code for one in pending] == [ErrorCode.CANCELLED] * 2
    listed = quick.list()
    assert [(o.id, o.state) for o in listed.objects] == [('cup', TrackedObject.LOST)]
    assert to_ns(listed.header.stamp) == 0
    assert quick.track(quick.clock.tick()).epoch == epoch + 1
    assert len(quick.answers) == answers
    epochs = [m.epoch for m in quick.objects]
    assert epochs == sorted(epochs)


def test_beyond_the_queue_a_question_is_refused(quick):
    select(quick, 'cup')
    # Observed by now, so that the next question is taken out of the queue at once.
    assert quick.ask('What is it?', 'cup').error_code == ErrorCode.OK
    pending = [asking(quick, ENDLESS, 'cup')]
    answering(quick, 1)
    pending += [asking(quick, ENDLESS, 'cup') for _ in range(3)]
    answering(quick, 4)
    refused = quick.ask('What is it?', 'cup')
    assert refused.error_code == ErrorCode.BUSY and '3 are allowed' in refused.error_msg
    quick.reset()
    assert [reply_of(quick, one).error_code for one in pending] == [ErrorCode.CANCELLED] * 4


def test_a_deadline_ends_the_question_and_those_behind_it(quick):
    select(quick, 'cup')
    first = asking(quick, ENDLESS, 'cup', deadline=SOON)
    second = asking(quick, ENDLESS, 'cup', deadline=SOON)
    for future in (first, second):
        response = reply_of(quick, future)
        assert response.error_code == ErrorCode.DEADLINE_EXCEEDED
        assert response.answer.text == ''
    assert quick.ask('What is it?', 'cup').error_code == ErrorCode.OK


def test_a_request_of_many_takes_turns_with_the_others(quick):
    select(quick, *(f'cup{k}' for k in range(8)))
    before = len(quick.answers)
    many = quick.call_async(*describing())
    one = asking(quick, 'What is it?', 'cup0')
    assert reply_of(quick, one).error_code == ErrorCode.OK
    answers = reply_of(quick, many).answers
    assert [a.object_ids for a in answers] == [[f'cup{k}'] for k in range(8)]
    quick.until(lambda: len(quick.answers) == before + 9, 'nine answers')
    order = [a.question for a in quick.answers[before:]]
    assert 'What is it?' in order[:4]


def describing():
    from pixelrefer.srv import Describe
    return Describe, 'describe', Describe.Request()


def test_a_prompt_waits_for_a_frame_that_is_about_to_come(quick):
    stamp = select(quick, 'cup')
    coming = stamp + SECOND
    added = quick.call_async(AddObjects, 'add_objects', AddObjects.Request(
        prompts=[click(15, 15, 'tray')], stamp=conversions.time_message(coming)))
    quick.until(lambda: quick.values().get('prompts_waiting') == '1', 'a prompt that waits')
    assert not added.done()
    quick.clock.now = coming
    quick.send(coming)
    response = reply_of(quick, added)
    assert response.error_code == ErrorCode.OK and to_ns(response.stamp_used) == coming


def test_the_same_request_corrects_or_replaces_under_one_index(quick):
    stamp = select(quick, 'cup')
    index = quick.list().objects[0].index
    for on_existing in (AddObjects.Request.CORRECT, AddObjects.Request.REPLACE):
        result = quick.add(click(15, 15, 'cup'), stamp_ns=stamp, on_existing=on_existing)
        assert result.error_code == ErrorCode.OK
        assert result.results[0].object.index == index


def test_an_index_is_not_given_out_again_within_an_epoch(quick):
    select(quick, 'a', 'b')
    assert quick.remove('a').removed == ['a']
    stamp = quick.clock.tick()
    quick.track(stamp)
    quick.add(click(15, 15, 'c'), click(15, 15), stamp_ns=stamp)
    assert [(o.id, o.index) for o in quick.list().objects] == [
        ('b', 2), ('c', 3), ('object_1', 4)]


def test_a_frame_that_steps_back_a_little_is_dropped_and_counted(quick):
    stamp = select(quick, 'cup')
    epoch, before = quick.list().epoch, int(quick.values()['frames_out_of_order'])
    for number, late in enumerate((stamp - SECOND // 10, stamp), 1):
        quick.send(late)
        quick.until(lambda: int(quick.values()['frames_out_of_order']) == before + number, 'a drop')
    listed = quick.list()
    assert (listed.epoch, to_ns(listed.header.stamp)) == (epoch, stamp)


def test_a_jump_in_time_starts_an_epoch_and_keeps_the_ids(quick):
    for jump in (-100 * SECOND, 500 * SECOND):
        select(quick, f'cup{abs(jump)}')
        epoch, events = quick.list().epoch, len(quick.events)
        quick.clock.now += jump
        array = quick.track(quick.clock.tick())
        assert array.epoch == epoch + 1
        assert {o.state for o in array.objects} == {TrackedObject.LOST}
        began = quick.until(lambda: [
            e for e in quick.events[events:] if e.kind == Event.NEW_EPOCH], 'an event')
        assert [e.epoch for e in began] == [epoch + 1] and 'stamps' in began[0].error_msg
    assert len(quick.list().objects) == 2


def test_a_prompt_of_before_a_reset_is_cancelled(quick):
    stamp = select(quick, 'cup')
    added = quick.call_async(AddObjects, 'add_objects', AddObjects.Request(
        prompts=[click(15, 15, 'tray')], stamp=conversions.time_message(stamp + SECOND)))
    quick.until(lambda: quick.values().get('prompts_waiting') == '1', 'a prompt that waits')
    quick.reset()
    quick.track(quick.clock.tick())
    assert reply_of(quick, added).error_code == ErrorCode.CANCELLED
    assert [o.id for o in quick.list().objects] == ['cup']
