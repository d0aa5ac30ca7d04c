# SPDX-License-Identifier: Apache-2.0
"""The end of the node: whoever waits is answered first; with a stand-in for the models."""

import signal
import subprocess
import sys

import pytest
from ros_support import SECOND, WATCHDOG, click, running
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


def test_a_start_broken_off_inside_exec_is_no_death_by_a_signal():
    """dataclasses `exec` a string for each class: CPython would kill the process at its end."""
    code = """
import os
import signal

from pixelrefer_ros.shutdown import StartBrokenOff, stop_on_signals

with stop_on_signals() as stop:
    stop.starting = True
    try:
        exec('os.kill(os.getpid(), signal.SIGINT)\\nwhile True: pass')
    except StartBrokenOff:
        print('broken off')
"""
    ended = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                           timeout=WATCHDOG)
    assert (ended.stdout, ended.returncode) == ('broken off\n', 0), ended.stderr
