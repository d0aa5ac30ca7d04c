# SPDX-License-Identifier: Apache-2.0
"""A worker that fails says so: a warning at first, an error when it does not stop; and it goes on.
With a stand-in for the models."""

from lifecycle_msgs.msg import Transition
from ros_support import click, running, to_ns
from standin_node import PANIC, UNSEEN, UNTRACKABLE
from test_threads import select

from pixelrefer.msg import ErrorCode, Event
from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import worker as worker_module
from pixelrefer_ros.diagnostics import ERROR, OK, WARN
from pixelrefer_ros.failures import BROKEN, Failures
from pixelrefer_ros.worker import Worker


def fault(words: str) -> PixelReferError:
    return PixelReferError('INTERNAL', words)


def test_a_failure_is_a_warning_and_many_in_a_row_are_an_error():
    failures = Failures()
    assert failures.verdict('tracking') == (OK, 'tracking')
    for number in range(1, BROKEN + 1):
        failures.failed(fault(f'number {number}'), 'tracking')
        level, said = failures.verdict('tracking')
        assert level == (ERROR if number == BROKEN else WARN) and f'number {number}' in said
    assert f'{BROKEN} times in a row' in said and 'deactivate and activate' in said
    failures.succeeded('tracking')
    assert failures.verdict('tracking') == (OK, 'tracking')


def test_what_one_kind_of_work_does_well_does_not_hide_that_another_fails():
    failures = Failures()
    for _ in range(BROKEN):
        failures.failed(fault('dark'), 'tracking of rear')
        failures.succeeded('tracking of front')
    level, said = failures.verdict('tracking')
    assert level == ERROR and said.startswith('tracking of rear failed')


class Faulty(Worker):
    """Raises what is no Exception, and closes itself after so many times."""

    def __init__(self, times: int) -> None:
        super().__init__('faulty', 1)
        self.left = times

    def next_work(self):
        self.left -= 1
        self.closed = self.left < 0
        return self._fail

    def _fail(self):
        raise SystemExit('no more')

    def give_up(self):
        return


def test_a_worker_outlives_also_what_is_no_exception_and_tells_of_it(monkeypatch):
    monkeypatch.setattr(worker_module, 'PAUSE', 0.0)
    faulty = Faulty(BROKEN)
    # In this thread: a worker that dies raises it here.
    faulty._run()
    level, said = faulty.failures.verdict('well')
    assert level == ERROR and 'the worker failed' in said and 'SystemExit: no more' in said


def comes(robot, part: str, level: bytes, words: str) -> str:
    """Wait until a part of the node is at a level, with these words; returns its message."""
    robot.until(lambda: robot.diagnostics and robot.status(part)[0] == level
                and words in robot.status(part)[1], f'{part} at {level} with {words!r}')
    return robot.status(part)[1]


def test_a_tracker_that_fails_on_every_frame_is_an_error_until_it_tracks_again(quick):
    select(quick, 'cup', UNTRACKABLE)
    events = len(quick.events)
    for number in range(1, BROKEN + 1):
        quick.send(quick.clock.tick())
        quick.until(lambda: sum(e.kind == Event.FAULT for e in quick.events[events:]) == number,
                    'a fault')
        comes(quick, 'tracker', ERROR if number == BROKEN else WARN, 'the lens fell off')
    assert 'Traceback' in quick.process.output
    assert quick.remove(UNTRACKABLE).error_code == ErrorCode.OK
    assert [o.id for o in quick.track(quick.clock.tick()).objects] == ['cup']
    comes(quick, 'tracker', OK, 'object')


def test_an_encoder_that_fails_on_every_keyframe_is_an_error_until_it_encodes_again(quick):
    select(quick, UNSEEN)
    comes(quick, 'encoder', WARN, 'the light went out')
    for _ in range(BROKEN - 1):
        failed = len([e for e in quick.events if e.kind == Event.FAULT])
        quick.track(quick.clock.tick(1_000_000_000))
        quick.until(lambda: len([e for e in quick.events if e.kind == Event.FAULT]) > failed,
                    'a fault')
    comes(quick, 'encoder', ERROR, f'encoding failed {BROKEN} times in a row')
    quick.remove(UNSEEN)
    select(quick, 'cup')
    comes(quick, 'encoder', OK, 'held')


def test_a_language_model_that_panics_answers_everybody_and_is_an_error_until_it_answers(quick):
    select(quick, 'cup')
    for _ in range(BROKEN):
        response = quick.ask(PANIC, 'cup')
        assert response.error_code == ErrorCode.INTERNAL
        assert 'Panic: the words ran out' in response.error_msg
    comes(quick, 'language', ERROR, 'the words ran out')
    assert quick.ask('What is it?', 'cup').error_code == ErrorCode.OK
    comes(quick, 'language', OK, 'no questions wait')


def test_a_node_with_a_worker_that_failed_is_well_once_it_is_activated_again(tmp_path):
    with running(tmp_path / 'node.log', {'diagnostics_period': 0.1}, standin=0.0) as robot:
        select(robot, UNTRACKABLE)
        robot.send(robot.clock.tick())
        comes(robot, 'tracker', WARN, 'the lens fell off')
        assert robot.remove(UNTRACKABLE).error_code == ErrorCode.OK
        assert robot.change(Transition.TRANSITION_DEACTIVATE)
        assert robot.change(Transition.TRANSITION_ACTIVATE)
        comes(robot, 'tracker', OK, 'object')
        robot.watched()
        stamp = robot.clock.tick()
        assert to_ns(robot.track(stamp).header.stamp) == stamp
        assert robot.add(click(15, 15, 'cup'), stamp_ns=stamp).error_code == ErrorCode.OK
