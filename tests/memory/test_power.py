# SPDX-License-Identifier: Apache-2.0
"""What a power cut may undo: the order in which things reach the disk. A power cut keeps what was
synchronised and any of the rest."""

import os
from pathlib import Path

import pytest
from memory_support import sighting

from pixelrefer_model.memory import segments
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.trimming import empty


@pytest.fixture
def store(tmp_path: Path):
    with MemoryStore.open(tmp_path, segment_bytes=150) as store:
        yield store


@pytest.fixture
def order(store, monkeypatch):
    """What happens, in order: tokens appended to a file, synchronised, rows committed, files
    dropped."""
    done: list[tuple] = []
    append, drop = store.segments.append, store.segments.drop

    def appended(data):
        place = append(data)
        done.append(('append', place.segment))
        return place

    def fsync(descriptor: int) -> None:
        number = os.fstat(descriptor).st_ino
        done.append(('sync', next(path.stem for path in store.folder.rglob('*')
                                  if path.stat().st_ino == number)))
        real(descriptor)

    def said(statement: str) -> None:
        if statement == 'COMMIT' or 'synchronous' in statement:
            done.append((statement,))

    real = os.fsync
    monkeypatch.setattr(segments.os, 'fsync', fsync)
    monkeypatch.setattr(store.segments, 'append', appended)
    monkeypatch.setattr(store.segments, 'drop', lambda number, **how: (
        done.append(('drop', number)), drop(number, **how)))
    store._write.set_trace_callback(said)
    yield done
    store._write.set_trace_callback(None)


def check_synced(done: list[tuple]) -> None:
    """Every file that tokens were appended to was synchronised between that and the commit."""
    last = {f'{step[1]:08d}': place for place, step in enumerate(done) if step[0] == 'append'}
    commit = done.index(('COMMIT',))
    assert len(last) > 1
    for name, place in last.items():
        assert ('sync', name) in done[place:commit], f'{name} was not'


def test_tokens_are_on_the_disk_before_a_row_that_names_them(store, order):
    store.write([sighting(n) for n in range(10)])
    check_synced(order)
    # The names of the new files too.
    assert order.count(('sync', 'tokens')) == len(store.segments.numbers())


def test_a_file_goes_when_the_rows_that_named_it_are_gone_from_the_disk(store, order):
    store.write([sighting(n) for n in range(10)])
    order.clear()
    empty(store, 1)
    assert order[0] == ('PRAGMA synchronous = FULL',)
    assert order.index(('COMMIT',)) < order.index(('drop', 1))
    order.clear()
    store.write([sighting(20)])
    assert order[0] == ('PRAGMA synchronous = NORMAL',)


def test_a_file_that_is_there_again_is_let_go_of(tmp_path):
    """Deleted files may come back, where the folder was not on the disk yet."""
    with MemoryStore.open(tmp_path, segment_bytes=150) as store:
        store.write([sighting(n) for n in range(10)])
        file = next(tmp_path.rglob('00000001.tokens'))
        data = file.read_bytes()
        empty(store, 1)
    file.write_bytes(data)
    with MemoryStore.open(tmp_path) as again:
        assert 1 not in again.segments.numbers()
