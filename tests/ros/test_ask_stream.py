# SPDX-License-Identifier: Apache-2.0
"""~/ask_stream: an answer as it is made, its end by cancel, deadline or a client that is gone."""

import pytest
from action_msgs.msg import GoalStatus
from ros_support import Client, Goal, box, to_ns
from standin_node import ENDLESS
from test_threads import SOON, asking, reply_of, select

from pixelrefer.msg import ErrorCode


def test_the_text_comes_in_pieces_and_is_that_of_the_answer(robot):
    stamp = robot.clock.tick()
    robot.track(stamp)
    robot.add(box('it'), stamp_ns=stamp)
    asked = robot.ask('What colour is it?', 'it', max_tokens=12)
    assert asked.error_code == ErrorCode.OK, asked.error_msg
    with Goal(robot, 'What colour is it?', 'it', max_tokens=12) as goal:
        result = goal.result()
        assert goal.status == GoalStatus.STATUS_SUCCEEDED
        assert (result.error_code, result.error_msg) == (ErrorCode.OK, '')
        robot.until(lambda: goal.feedback[-1].tokens == result.answer.tokens, 'all feedback')
    assert result.answer.text == asked.answer.text
    assert ''.join(told.text for told in goal.feedback).strip() == result.answer.text
    assert [told.tokens for told in goal.feedback] == list(range(1, result.answer.tokens + 1))
    assert [to_ns(one) for one in result.answer.stamps] == [stamp]


def test_a_cancel_ends_one_goal_and_no_other_of_its_batch(quick):
    select(quick, 'cup')
    with Goal(quick, ENDLESS, 'cup') as first, Goal(quick, ENDLESS, 'cup') as second:
        first.told(2)
        first.cancel()
        assert first.result().error_code == ErrorCode.CANCELLED
        assert first.status == GoalStatus.STATUS_CANCELED
        second.told(second.feedback[-1].tokens + 3 if second.feedback else 3)
        second.cancel()
        assert second.result().error_code == ErrorCode.CANCELLED


def test_goals_that_wait_together_are_answered_together(quick):
    select(quick, 'cup')
    with Goal(quick, ENDLESS, 'cup') as first:
        first.told(1)
        with Goal(quick, ENDLESS, 'cup') as one, Goal(quick, ENDLESS, 'cup') as other:
            quick.until(lambda: quick.values().get('questions_waiting') == '3', 'both to wait')
            assert not one.feedback and not other.feedback
            first.cancel()
            one.told(2)
            other.told(2)
            for goal in (one, other):
                goal.cancel()


def test_beyond_its_places_a_goal_is_busy_and_the_others_go_on(quick):
    select(quick, 'cup')
    goals = [Goal(quick, ENDLESS, 'cup') for _ in range(3)]
    with Goal(quick, 'What is it?', 'cup') as refused:
        result = refused.result()
        assert refused.status == GoalStatus.STATUS_ABORTED
        assert result.error_code == ErrorCode.BUSY and 'stream_goals' in result.error_msg
    assert quick.list().error_code == ErrorCode.OK, 'other requests are served meanwhile'
    for goal in goals:
        with goal:
            goal.cancel()
    with Goal(quick, 'What is it?', 'cup') as goal:
        assert goal.result().answer.text == 'word word word'


def test_a_deadline_aborts_a_goal_and_says_so(quick):
    select(quick, 'cup')
    with Goal(quick, ENDLESS, 'cup', deadline=SOON) as goal:
        assert goal.result().error_code == ErrorCode.DEADLINE_EXCEEDED
        assert goal.status == GoalStatus.STATUS_ABORTED


def test_a_reset_aborts_a_goal_and_says_so(quick):
    select(quick, 'cup')
    with Goal(quick, ENDLESS, 'cup') as goal:
        goal.told(1)
        quick.reset()
        result = goal.result()
        assert result.error_code == ErrorCode.CANCELLED and 'epoch' in result.error_msg
        assert goal.status == GoalStatus.STATUS_ABORTED


@pytest.mark.parametrize('question, ids, code', [
    ('', ['cup'], ErrorCode.EMPTY_QUESTION), ('What?', ['fork'], ErrorCode.UNKNOWN_ID),
    ('Is <object:fork> red?', [], ErrorCode.UNKNOWN_OBJECT_REFERENCE)])
def test_what_is_wrong_with_a_goal_aborts_it_with_the_reason(robot, question, ids, code):
    stamp = robot.clock.tick()
    robot.track(stamp)
    robot.add(box('cup'), stamp_ns=stamp)
    with Goal(robot, question, *ids) as goal:
        assert goal.result().error_code == code and goal.result().error_msg
        assert goal.status == GoalStatus.STATUS_ABORTED


def test_goals_of_a_client_that_is_gone_end_by_their_deadline_and_free_their_places(quick):
    select(quick, 'cup')
    with Client(quick.domain) as other:
        goals = [Goal(other, ENDLESS, 'cup', deadline=SOON) for _ in range(3)]
        assert all(goal.handle.accepted for goal in goals)
    quick.until(lambda: quick.values().get('questions_waiting') == '0', 'an idle worker')
    with Goal(quick, 'What is it?', 'cup') as goal:
        assert goal.result().error_code == ErrorCode.OK


def test_services_and_goals_share_a_batch(quick):
    select(quick, 'cup')
    with Goal(quick, ENDLESS, 'cup') as first:
        first.told(1)
        asked = asking(quick, 'What is it?', 'cup')
        with Goal(quick, ENDLESS, 'cup') as second:
            quick.until(lambda: quick.values().get('questions_waiting') == '3', 'both to wait')
            first.cancel()
            assert reply_of(quick, asked).error_code == ErrorCode.OK
            assert not second._result.done()
            second.cancel()
