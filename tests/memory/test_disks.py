# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, or may not be written: each says so, and the memory is as it was."""

import shutil
from pathlib import Path

import pytest
import torch
from memory_support import SECOND, sighting, tokens_of
from small_disk import SmallDisk, files_of_at_most, may_mount

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import Span, recorder
from pixelrefer_model.memory.exporting import export
from pixelrefer_model.memory.forgetting import forget
from pixelrefer_model.memory.locking import WriteLock
from pixelrefer_model.memory.recorder import Recorder
from pixelrefer_model.memory.segments import Segments
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.trimming import compact

ALL = Span(0, 1 << 60)


@pytest.fixture
def disk(tmp_path: Path):
    if not may_mount():
        pytest.skip('this user may not mount a disk')
    (tmp_path / 'disk').mkdir()
    with SmallDisk(tmp_path / 'disk', 768) as disk:
        yield disk


def filled(store: MemoryStore, disk: SmallDisk, seconds: int = 100) -> Path:
    """Remember something, and leave no room for more."""
    store.write([seen for n in range(seconds)
                 for seen in (sighting(n), sighting(n + 0.5, 'cup'))])
    return disk.fill()


def whole(store: MemoryStore, seconds: list[int]) -> None:
    """The mug was seen at these seconds and no others, and all of its tokens are there."""
    assert store.query('PRAGMA integrity_check') == [('ok',)]
    moments = store.moments('mug', ALL)
    assert [moment.stamp_ns // SECOND for moment in moments] == seconds
    for moment, seen in zip(moments, store.observations(moments)):
        assert torch.equal(seen.tokens, tokens_of(moment.stamp_ns / SECOND))


def refused(act) -> str:
    with pytest.raises(PixelReferError) as caught:
        act()
    assert caught.value.code == 'MEMORY'
    return caught.value.message


# --- full

def test_on_a_full_disk_recording_stops_with_its_reason_and_goes_on_when_there_is_room(
        disk, monkeypatch):
    monkeypatch.setattr(recorder, 'REST_S', 0.0)

    def put(second: int) -> None:
        recording.put([sighting(second)])
        recording.call(lambda _: None)

    with MemoryStore.open(disk.folder / 'memory') as store, Recorder(store) as recording:
        put(0)
        filler, second = disk.fill(), 0
        while not recording.problem:
            second += 1
            put(second)
        assert 'full' in recording.problem or 'No space left' in recording.problem
        held = store.bytes()
        for more in range(second + 1, second + 10):
            put(more)
        assert recording.problem and recording.dropped == 10
        # What failed has left nothing behind, and what is there can be read.
        assert store.bytes() == held
        whole(store, list(range(second)))
        filler.unlink()
        put(second + 20)
        assert recording.problem == ''
        whole(store, [*range(second), second + 20])
    with MemoryStore.open(disk.folder / 'memory') as store:
        whole(store, [*range(second), second + 20])


def test_a_memory_on_a_full_disk_is_opened_when_there_is_room_and_not_before(disk):
    with MemoryStore.open(disk.folder / 'memory') as store:
        filler = filled(store, disk)
    disk.fill()     # closing has given room back
    (disk.folder / 'memory' / 'lock').unlink()
    said = refused(lambda: MemoryStore.open(disk.folder / 'memory'))
    assert 'No space left' in said or 'full' in said or 'I/O error' in said
    filler.unlink()
    with MemoryStore.open(disk.folder / 'memory') as store:
        whole(store, list(range(100)))


def test_forgetting_and_packing_on_a_full_disk_change_nothing(disk):
    with MemoryStore.open(disk.folder / 'memory') as store:
        filler = filled(store, disk)
        refused(lambda: forget(store, ['mug']))
        refused(store.pack)
        whole(store, list(range(100)))
        filler.unlink()
        assert forget(store, ['mug']) == 100
        assert len(store.observations(store.moments('cup', ALL))) == 100


def test_taking_out_to_a_full_disk_is_one_sentence_and_leaves_nothing(disk, tmp_path):
    with MemoryStore.open(tmp_path / 'memory') as store:
        store.write([sighting(n) for n in range(3000)])
        for tokens in (False, True):
            said = refused(lambda: export(store, disk.folder / 'out', tokens=tokens))
            assert 'No space left' in said and 'disk with room' in said
            assert list(disk.folder.iterdir()) == []
        export(store, tmp_path / 'out', tokens=True)


def test_of_tokens_that_fit_only_partly_nothing_is_kept(tmp_path):
    with Segments(tmp_path) as segments:
        kept = segments.append(b'a' * 1000)
        with files_of_at_most(1500), pytest.raises(OSError):
            segments.append(b'b' * 1000)
        assert segments.bytes() == 1000
        after = segments.append(b'c' * 1000)
        assert segments.read(kept) == b'a' * 1000 and segments.read(after) == b'c' * 1000


def test_a_write_that_fails_gives_its_room_back(tmp_path):
    with MemoryStore.open(tmp_path, segment_bytes=640) as store:
        store.write([sighting(0)])
        held = store.segments.bytes()
        with files_of_at_most(700):
            said = refused(lambda: store.write([sighting(n) for n in range(1, 100)]))
        assert str(tmp_path) in said
        assert store.segments.bytes() == held and store.segments.numbers() == [1]
        store.write([sighting(7)])
        whole(store, [0, 7])


def test_a_lock_that_cannot_be_written_says_so_and_is_let_go_of(tmp_path):
    with files_of_at_most(0):
        assert 'can be written is allowed' in refused(WriteLock(tmp_path).__enter__)
    with WriteLock(tmp_path):
        pass


# --- read-only

def test_a_memory_on_a_disk_that_may_not_be_written_is_read_and_not_opened(disk):
    with MemoryStore.open(disk.folder / 'memory') as store:
        store.write([sighting(n) for n in range(5)])
    disk.protect()
    with MemoryStore.read(disk.folder / 'memory') as store:
        whole(store, list(range(5)))
    assert 'Read-only file system' in refused(lambda: MemoryStore.open(disk.folder / 'memory'))
    assert 'Read-only file system' in refused(lambda: MemoryStore.open(disk.folder / 'another'))


def test_what_a_killed_process_left_in_the_log_is_not_passed_over(disk, tmp_path):
    with MemoryStore.open(tmp_path / 'memory') as store:
        store.write([sighting(1)])
        shutil.copytree(tmp_path / 'memory', disk.folder / 'memory',
                        ignore=shutil.ignore_patterns('*-shm'))
    disk.protect()
    said = refused(lambda: MemoryStore.read(disk.folder / 'memory'))
    assert 'memory.sqlite-wal' in said and 'a copy of the folder' in said
    shutil.copytree(disk.folder / 'memory', tmp_path / 'copy')
    with MemoryStore.read(tmp_path / 'copy') as store:
        whole(store, [1])


def test_taking_out_to_where_nothing_can_be_written_says_so(disk, tmp_path):
    with MemoryStore.open(tmp_path / 'memory') as store:
        store.write([sighting(1)])
        disk.protect()
        assert 'Read-only file system' in refused(lambda: export(store, disk.folder / 'out'))
        compact(store)
        whole(store, [1])
