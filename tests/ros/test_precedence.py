# SPDX-License-Identifier: Apache-2.0
"""Tracking comes first: a token waits for the frame in work, but not for ever and not for the next."""

import threading
import time
from types import SimpleNamespace

from ros_support import WATCHDOG
from test_workers import Bench

from pixelrefer.msg import TrackedObject
from pixelrefer_ros.objects import Sight
from pixelrefer_ros.precedence import Precedence
from pixelrefer_ros.questions import AnswerRequest, LanguageWorker, Query
from pixelrefer_ros.tracking_worker import TrackingWorker


def waiting(precedence: Precedence) -> tuple[threading.Thread, threading.Event]:
    """Somebody who gives way, and whether he goes on."""
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (precedence.give_way(), ended.set()))
    thread.start()
    return thread, ended


def test_who_gives_way_waits_for_the_work_that_is_under_way_and_for_no_other():
    precedence = Precedence(2 * WATCHDOG)     # of no help here
    precedence.give_way()   # nothing is under way
    with precedence:
        thread, ended = waiting(precedence)
        assert not ended.wait(0.2)
    assert ended.wait(WATCHDOG)
    thread.join()
    with precedence:
        thread, ended = waiting(precedence)
        assert not ended.wait(0.2)
        # The next begins at once, before anybody could see that nothing was under way.
        precedence.__exit__()
        precedence.__enter__()
        assert ended.wait(WATCHDOG)
    thread.join()


def test_who_gives_way_goes_on_after_a_while():
    precedence = Precedence(0.05)
    with precedence:
        thread, ended = waiting(precedence)
        assert ended.wait(WATCHDOG)
    thread.join()


def test_the_tracking_worker_comes_first_while_it_works_and_not_while_it_rests():
    precedence, bench, held = Precedence(0.0), Bench(), []
    worker = TrackingWorker(1, precedence)
    worker.serve(bench.tracker)
    bench.engine.tracker.step = lambda frame: held.append(precedence._under_way) or []
    bench.come(1)
    assert precedence._under_way is None
    worker.next_work()()
    assert held == [1] and precedence._under_way is None


def test_a_batch_gives_way_once_for_each_token():
    bench, ways, answers = Bench(), [], []
    bench.table.put('cup', Sight(TrackedObject.TRACKED), 0)
    bench.engine.memory.observe([SimpleNamespace(object_id='cup', stamp_ns=1)])
    language = LanguageWorker(
        bench.engine, bench.table, bench.encoder, bench.counters, lambda answer, arrived: True,
        model='', queue=4, batch=4, alone=False, threads=1, give_way=lambda: ways.append(1))
    now = time.monotonic()
    for _ in range(3):
        language.ask(AnswerRequest(
            [Query(['cup'], 'What?', lambda: bench.engine.prepare('What?', ['cup'], None))], 0, '',
            now, now + 1e6, bench.encoder.ticket(), answers.extend))
    language.next_work()()
    assert [answer.tokens for answer in answers] == [3, 3, 3]
    assert len(ways) == 3
