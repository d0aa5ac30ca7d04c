# SPDX-License-Identifier: Apache-2.0
"""Rules of the workers, each piece of whose work is done here by hand, in the test's own thread."""

import time
from threading import Condition, Thread
from types import SimpleNamespace

import pytest
from ros_support import picture
from standin_node import TRACKED, UNCERTAIN, StandInEngine, StandInWatch

from pixelrefer.msg import ErrorCode, TrackedObject
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_model.prompt import Click
from pixelrefer_ros import models
from pixelrefer_ros import worker as worker_module
from pixelrefer_ros.cameras import Cameras
from pixelrefer_ros.counters import Counters
from pixelrefer_ros.diagnostics import ERROR
from pixelrefer_ros.encoding import EncodingWorker
from pixelrefer_ros.failures import Failures
from pixelrefer_ros.frame_ring import FrameRing
from pixelrefer_ros.frame_slot import FrameSlot
from pixelrefer_ros.objects import ObjectTable, Sight
from pixelrefer_ros.questions import AnswerRequest, LanguageWorker, Query
from pixelrefer_ros.selecting import AddRequest, Selection
from pixelrefer_ros.tracking import Tracking
from pixelrefer_ros.worker import Worker

TENTH = 100_000_000


def frame(number: int) -> Frame:
    return Frame(picture(size=(64, 48)), number * TENTH)


@pytest.fixture(autouse=True)
def standing_in(monkeypatch):
    """No model looks at what is tracked or told."""
    monkeypatch.setattr(models, 'watch', lambda epoch, fixed_frame: StandInWatch())


class Listener:
    """Takes what the tracking worker puts out."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def tracked(self, frame, epoch, entries, arrived):
        return True

    def state_changed(self, frame, epoch, before, after):
        return

    def added(self, frame, epoch, entry):
        return

    def fault(self, epoch, what, error):
        self.faults.append(error.code)


class Bench:
    """The tracking and the encoding worker around a stand-in for the models; no thread runs."""

    def __init__(self, ring: FrameRing | None = None) -> None:
        self.engine = StandInEngine(0.0)
        self.table = ObjectTable()
        self.ring = ring or FrameRing(1 << 30)
        self.counters = Counters()
        self.output = Listener()
        self.encoder = EncodingWorker(self.engine, self.table, self.counters,
                                      lambda *_: None, threads=1)
        self.tracker = Tracking(
            self.engine, Cameras(('camera',)), 'camera', self.table, self.ring, self.encoder,
            self.output, self.counters, condition=Condition(), make_slot=FrameSlot, queue=4,
            future_ns=5 * TENTH, lockstep=False, failures=Failures())
        self.replies: list = []

    def see(self, number: int) -> None:
        """A frame comes and is tracked."""
        self.come(number)
        self.work()

    def come(self, number: int) -> None:
        """A frame comes."""
        self.ring.put(frame(number))
        self.tracker.slot.put(self.ring.newest(), self.table.epoch)

    def drop(self) -> None:
        """The frame that waits for the tracker is superseded."""
        self.tracker.slot.take()

    def work(self) -> None:
        """All that there is to do for the tracking worker."""
        while (work := self.tracker.next_work()) is not None:
            work()

    def ask_for(self, *ids: str, number: int | None, on_existing: str = 'REJECT',
                expires: float = 1e12) -> None:
        """Queue a request to add objects."""
        self.tracker.add(AddRequest(
            [Selection(i, lambda width, height: Click.at(5, 5)) for i in ids],
            None if number is None else number * TENTH, on_existing, self.table.epoch, expires,
            done=lambda results, stamp_ns: self.replies.append(
                [r.error.code if r.error else 'OK' for r in results]),
            failed=lambda error: self.replies.append(error.code)))

    def add(self, *ids: str, number: int | None = None, on_existing: str = 'REJECT') -> object:
        """Add objects; returns the codes of the prompts, or that of the request."""
        self.ask_for(*ids, number=number, on_existing=on_existing)
        self.work()
        return self.replies[-1]

    def observed(self) -> dict[str, int]:
        """Encode what was handed in; the number of the frame on which each object was."""
        while (work := self.encoder.next_work()) is not None:
            work()
        return {i: o.stamp_ns // TENTH for i, o in self.engine.memory.newest.items()}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_prompt_that_is_caught_up_is_observed_on_the_frame_that_its_mask_shows(bench):
    bench.see(1)
    bench.see(2)
    # A frame that only a prompt used is the tracker's newest.
    bench.come(3)
    bench.drop()
    assert bench.add('cup', number=3) == ['OK']
    assert bench.observed() == {'cup': 3}
    assert bench.add('tray', number=1) == ['OK']
    assert bench.observed() == {'cup': 3, 'tray': 3}


def test_only_an_object_that_is_clearly_seen_is_observed_after_its_prompt(bench):
    bench.see(1)
    bench.engine.tracker.state = UNCERTAIN
    assert bench.add('cup', number=1) == ['OK']
    assert bench.table.get('cup').sight.mask is not None
    assert bench.observed() == {}


def test_where_the_encoder_falls_behind_keyframes_are_superseded_and_counted_and_no_frame_waits(
        bench):
    bench.see(1)
    bench.add('cup', number=1)
    assert bench.observed() == {'cup': 1}
    for number in range(2, 22):
        bench.see(number)
    # Due twice a second, of which the newest is encoded; every frame was tracked.
    assert bench.counters['superseded'] == 3 and bench.table.frame()[0] == 21 * TENTH
    assert bench.observed() == {'cup': 21}
    assert bench.counters['superseded'] == 3


def test_the_tracker_follows_a_new_epoch_also_without_objects(bench):
    bench.see(50)
    bench.table.begin_epoch()
    bench.ring.clear()
    bench.see(1)
    assert bench.output.faults == [] and bench.table.frame()[0] == TENTH
    assert bench.add('cup', number=1) == ['OK']


@pytest.mark.parametrize('on_existing', ['CORRECT', 'REPLACE'])
def test_an_object_that_is_removed_while_its_prompt_is_served_stays_removed(bench, on_existing):
    bench.see(1)
    bench.add('cup', number=1)
    tracker = bench.engine.tracker
    act = tracker.correct

    def meanwhile(*prompt):
        bench.table.remove(['cup'])
        return act(*prompt)

    tracker.correct = tracker.replace = meanwhile
    assert bench.add('cup', number=1, on_existing=on_existing) == ['UNKNOWN_ID']
    assert bench.table.entries() == []
    tracker.correct = tracker.replace = act
    # The tracker knows of it when the next prompt comes.
    assert bench.add('cup', number=1) == ['OK']


def test_an_id_that_is_removed_within_a_request_is_free_at_once(bench):
    bench.see(1)
    bench.add('cup', number=1)
    add = bench.engine.tracker.add

    def meanwhile(*prompt):
        bench.table.remove(['cup'])
        bench.engine.tracker.add = add
        return add(*prompt)

    bench.engine.tracker.add = meanwhile
    assert bench.add('tray', 'cup', number=1) == ['OK', 'OK']
    assert bench.engine.tracker.ids == ['tray', 'cup']


def test_a_request_to_add_is_answered_whatever_fails(bench):
    bench.see(1)
    bench.encoder.submit = lambda *_: 1 / 0
    assert bench.add('cup', number=1) == 'INTERNAL'
    assert bench.output.faults == ['INTERNAL']


def test_what_the_encoder_leaves_out_speaks_for_no_other_object(bench):
    bench.see(1)
    assert bench.add('cup', 'tray', number=1) == ['OK', 'OK']

    def observe(frame, tracks, epoch):
        # The first is left out, and of the second there is another mask meanwhile.
        bench.table.put('tray', Sight(TrackedObject.TRACKED), epoch)
        return [SimpleNamespace(object_id='tray', stamp_ns=frame.stamp_ns)]

    bench.engine.observe = observe
    assert bench.observed() == {}


class RingClearedMeanwhile(FrameRing):
    """A reset clears it right after it was looked at."""

    def find(self, stamp_ns, future_ns):
        found = super().find(stamp_ns, future_ns)
        self.clear()
        return found


def test_a_request_whose_time_is_up_is_answered_also_when_a_reset_comes_right_then():
    bench = Bench(RingClearedMeanwhile(1 << 30))
    bench.come(1)
    bench.ask_for('cup', number=2, expires=0.0)
    bench.work()
    assert bench.replies == ['NO_FRAME']


class Faulty(Worker):
    """Fails to find its first work, and then in the work that it finds."""

    def __init__(self) -> None:
        super().__init__('faulty', 1)
        self.looks = 0

    def next_work(self):
        self.looks += 1
        if self.looks == 1:
            return 1 / 0
        self.closed = self.looks == 3
        return lambda: 1 / 0

    def give_up(self):
        return []


def test_a_worker_outlives_a_fault_in_its_work_and_in_finding_it(monkeypatch):
    monkeypatch.setattr(worker_module, 'PAUSE', 0.0)
    faulty = Faulty()
    # In this thread: a worker that dies of a fault raises it here.
    faulty._run()
    assert faulty.looks == 3


def language_worker(bench: Bench, publish) -> LanguageWorker:
    return LanguageWorker(bench.engine, bench.table, bench.encoder, bench.counters, publish,
                          model='', queue=4, batch=4, alone=False, threads=1)


def test_a_question_is_answered_also_when_its_answer_cannot_be_published(bench):
    bench.table.put('cup', Sight(TrackedObject.TRACKED), 0)
    bench.engine.memory.observe([SimpleNamespace(object_id='cup', stamp_ns=1)])
    language = language_worker(bench, lambda answer, arrived: 1 / 0)
    answers = []
    now = time.monotonic()
    language.ask(AnswerRequest(
        [Query(['cup'], 'What?', lambda: bench.engine.prepare('What?', ['cup'], None))], 0, '',
        now, now + 1e6, bench.encoder.ticket(), answers.extend))
    language.next_work()()
    assert [answer.error_code for answer in answers] == [ErrorCode.INTERNAL]
    assert language.waiting == 0


def test_an_object_that_existed_and_is_gone_is_not_entered_again():
    table = ObjectTable()
    table.put('cup', Sight(TrackedObject.TRACKED), 0)
    assert table.put('cup', Sight(TrackedObject.TRACKED), 0, existed=True).index == 1
    table.remove(['cup'])
    with pytest.raises(PixelReferError) as caught:
        table.put('cup', Sight(TrackedObject.TRACKED), 0, existed=True)
    assert caught.value.code == 'UNKNOWN_ID' and table.entries() == []


class Waiting(Worker):
    """A worker that somebody waits for."""

    def __init__(self) -> None:
        super().__init__('waiting', 1)
        self.free: list[bool] = []

    def next_work(self):
        return None

    def give_up(self):
        return [self.answer]

    def answer(self):
        """Whoever holds a lock that a reply needs may be waiting for the condition."""
        other = Thread(target=lambda: self.free.append(self.condition.acquire(timeout=1.0)))
        other.start()
        other.join()


def test_who_waits_is_answered_when_the_queue_is_free_again():
    waiting = Waiting()
    waiting.close()
    assert waiting.free == [True]


@pytest.mark.parametrize('kind', ['tracked', 'state_changed'])
def test_a_fault_behind_the_step_is_told_and_counted_as_one_of_tracking(bench, kind, monkeypatch):
    bench.come(1)
    bench.work()
    bench.add('cup', number=1)
    monkeypatch.setattr(bench.output, kind, lambda *_: 1 / 0)
    bench.engine.tracker.state = UNCERTAIN if kind == 'state_changed' else TRACKED
    for number in range(2, 8):
        bench.see(number)
        bench.engine.tracker.state = (TRACKED if bench.engine.tracker.state is UNCERTAIN
                                      else UNCERTAIN)
    assert bench.output.faults == ['INTERNAL'] * 6 and bench.counters['failed'] == 6
    level, said = bench.tracker._failures.verdict('tracking')
    assert level == ERROR and '6 times in a row' in said
