# SPDX-License-Identifier: Apache-2.0
"""Recording goes on beside everything else, and what it cannot write is counted."""

import threading
from pathlib import Path

import pytest
from memory_support import SECOND, sighting

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import Span, recorder
from pixelrefer_model.memory.forgetting import forget
from pixelrefer_model.memory.recorder import Recorder
from pixelrefer_model.memory.store import MemoryStore

ALL = Span(0, 1 << 60)


@pytest.fixture
def store(tmp_path: Path):
    with MemoryStore.open(tmp_path) as store:
        yield store


def seconds(store: MemoryStore) -> list[int]:
    return [m.stamp_ns // SECOND for m in store.moments('mug', ALL)]


def test_all_that_was_left_is_written_before_the_end(store):
    with Recorder(store) as recording:
        for n in range(50):
            recording.put([sighting(n)])
    assert seconds(store) == list(range(50)) and recording.written == 50


def test_what_there_is_no_room_for_is_dropped_and_counted_and_nobody_waits(store, monkeypatch):
    go, begun, write = threading.Event(), threading.Event(), store.write

    def slow(records):
        begun.set()
        go.wait()
        write(records)

    monkeypatch.setattr(store, 'write', slow)
    with Recorder(store, most_waiting=3) as recording:
        recording.put([sighting(0)])
        begun.wait()
        for n in range(1, 9):
            recording.put([sighting(n)])
        assert recording.dropped == 5
        go.set()
    assert seconds(store) == [0, 1, 2, 3]


def test_a_disk_that_refuses_stops_recording_with_a_reason_until_it_takes_more(store, monkeypatch):
    monkeypatch.setattr(recorder, 'REST_S', 1e6)
    append = store.segments.append

    def full(data):
        raise OSError(28, 'No space left on device')

    with Recorder(store) as recording:
        recording.put([sighting(0)])
        recording.flush()
        store.segments.append = full
        recording.put([sighting(1)])
        recording.flush()
        assert 'No space left on device' in recording.problem
        assert (recording.written, recording.dropped) == (1, 1)
        recording.put([sighting(2)])
        assert recording.dropped == 2
        store.segments.append, recording._rest_until = append, 0.0
        recording.put([sighting(3)])
        recording.flush()
        assert recording.problem == ''
    assert seconds(store) == [0, 3]


def test_what_is_written_and_cannot_be_trimmed_is_written_all_the_same(store, monkeypatch):
    def refused(*_):
        raise PixelReferError('MEMORY', 'no room to trim in')

    monkeypatch.setattr(recorder, 'trim', refused)
    with Recorder(store) as recording:
        recording.put([sighting(0)])
        recording.flush()
        assert (recording.written, recording.dropped) == (1, 0)
        assert 'no room to trim in' in recording.problem
    assert seconds(store) == [0]


def test_what_others_want_done_is_done_by_the_writing_thread_after_what_waits(store):
    with Recorder(store) as recording:
        recording.put([sighting(0), sighting(1)])
        who = recording.call(lambda _: threading.current_thread().name)
        assert who == 'recorder' and seconds(store) == [0, 1]
        assert recording.call(lambda store: forget(store, ['mug'])) == 2
        with pytest.raises(PixelReferError):
            recording.call(lambda _: (_ for _ in ()).throw(PixelReferError('MEMORY', 'no')))
        recording.put([sighting(2)])
    assert seconds(store) == [2]
    with pytest.raises(PixelReferError) as caught:
        recording.call(lambda _: None)
    assert caught.value.code == 'SHUTTING_DOWN'
