# SPDX-License-Identifier: Apache-2.0
"""The end of the node: whoever waits is answered first; with a stand-in for the models."""

import signal

import pytest
from ros_support import SECOND, click, running
from standin_node import ENDLESS

from pixelrefer.msg import ErrorCode
from pixelrefer.srv import AddObjects, Ask
from pixelrefer_ros import conversions


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_answers_everything_that_waits_and_ends_cleanly(tmp_path, number):
    parameters = {'stamp_wait': 10.0, 'diagnostics_period': 0.1}
    with running(tmp_path / 'node.log', parameters, standin=0.0) as robot:
        stamp = robot.clock.tick()
        robot.track(stamp)
        assert robot.add(click(15, 15, 'cup'), stamp_ns=stamp).error_code == ErrorCode.OK
        pending = [robot.call_async(Ask, 'ask', Ask.Request(question=ENDLESS, ids=['cup']))
                   for _ in range(3)]
        pending.append(robot.call_async(AddObjects, 'add_objects', AddObjects.Request(
            prompts=[click(15, 15)], stamp=conversions.time_message(stamp + 5 * SECOND))))

        def everybody_waits() -> bool:
            values = robot.values()
            return (values.get('questions_waiting'), values.get('prompts_waiting')) == ('3', '1')

        robot.until(everybody_waits, 'requests that wait')
        robot.process.signal(number)
        assert robot.process.end() == 0, robot.process.output
        replies = [robot.until(lambda: future.done() and future.result(), 'a reply', ended=True)
                   for future in pending]
        assert [reply.error_code for reply in replies] == [ErrorCode.SHUTTING_DOWN] * 4
        assert 'Traceback' not in robot.process.output


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_breaks_off_the_loading_of_models(tmp_path, number):
    with running(tmp_path / 'node.log', {'diagnostics_period': 0.1}, active=False) as robot:
        robot.until(lambda: any(
            status.message == 'loading the models' for array in robot.diagnostics
            for status in array.status), 'a node that loads')
        robot.process.signal(number)
        assert robot.process.end() == 0, robot.process.output
        assert 'stopped while starting' in robot.process.output
        assert 'configured' not in robot.process.output
