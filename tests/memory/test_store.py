# SPDX-License-Identifier: Apache-2.0
"""Rules of the store: what was written is there, in order, as a whole, also after a restart."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from memory_support import SECOND, sighting, tokens_of

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import Span, schema
from pixelrefer_model.memory.observation import Rle, Whereabouts
from pixelrefer_model.memory.record import Happening, Told
from pixelrefer_model.memory.store import DATABASE, TOKENS, MemoryStore

ALL = Span(0, 1 << 60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / 'memory'


def seconds(store: MemoryStore, object_id: str = 'mug', **which: int) -> list[float]:
    return [m.stamp_ns / SECOND for m in store.moments(object_id, ALL, **which)]


def test_what_comes_late_is_not_the_last_sighting_and_may_be_the_first(folder):
    with MemoryStore.open(folder) as store:
        store.write([sighting(5), sighting(9)])
        store.write([sighting(7), sighting(4)])
        [one] = store.objects()
    assert (one.first_ns, one.last_ns) == (4 * SECOND, 9 * SECOND)


def test_what_was_written_is_there_after_a_restart_with_its_very_tokens(folder):
    where = Whereabouts('map', np.array([1.0, 2.0, 3.0]), np.eye(3) * 0.01)
    with MemoryStore.open(folder) as store:
        store.write([sighting(1), sighting(2, where=where), sighting(1, 'cup')])
    with MemoryStore.open(folder) as store:
        assert seconds(store) == [1, 2] and seconds(store, 'cup') == [1]
        seen = store.observations(store.moments('mug', ALL))
        assert torch.equal(seen[1].tokens, tokens_of(2)) and seen[1].tokens.dtype == torch.bfloat16
        assert (seen[1].box, seen[1].area, seen[1].key) == ((1, 2, 3, 4), 12, 'k')
        assert (seen[1].mask, seen[1].reason) == (Rle('0;12', 3, 4), 'interval')
        np.testing.assert_allclose(seen[1].where.position, where.position)
        assert seen[0].where is None
        one = {o.object_id: o for o in store.objects()}['mug']
        assert (one.first_ns, one.last_ns, one.observations) == (SECOND, 2 * SECOND, 2)
        np.testing.assert_allclose(store.where('mug').position, where.position)
        np.testing.assert_allclose(store.where('mug').covariance, where.covariance, rtol=1e-6)
        assert store.where('cup') is None


def test_tracking_goes_on_under_the_same_id(folder):
    with MemoryStore.open(folder) as store:
        store.write([sighting(1)])
    with MemoryStore.open(folder) as store:
        store.write([sighting(5, epoch=0)])
        assert seconds(store) == [1, 5] and store.objects()[0].first_ns == SECOND


def test_stamps_that_go_back_begin_another_line_and_the_two_are_never_mixed(folder):
    with MemoryStore.open(folder) as store:
        store.write([sighting(100), sighting(101)])
        # A reset is no reason: the clock goes on.
        store.write([sighting(102, epoch=1)])
        assert (store.line, seconds(store)) == (1, [100, 101, 102])
        store.write([sighting(10, epoch=2)])
        assert (store.line, seconds(store), seconds(store, line=1)) == (2, [10], [100, 101, 102])
        # Late by less than a second is late, and answers about the past change nothing.
        store.write([sighting(9.5), Told(('mug',), 'Where?', 'there', 1.0, 'm', 2, SECOND)])
        assert store.line == 2 and seconds(store) == [9.5, 10]


def test_what_comes_late_is_of_the_same_line_and_time_that_began_before_the_opening_is_not(folder):
    with MemoryStore.open(folder) as store:
        # An event is told at once; the observation of before it was still being encoded.
        store.write([Happening('mug', 'appeared', 0, 30 * SECOND), sighting(30), sighting(10, 'cup')])
        store.write([sighting(15, 'cup'), sighting(31)])
        assert store.line == 1 and {line for line, in store.query(
            'SELECT line FROM observations UNION SELECT line FROM events')} == {1}
        # Who knows better says so.
        store.begin_line()
        store.write([sighting(32)])
        assert store.line == 2
    with MemoryStore.open(folder) as store:
        store.write([sighting(30)])
        assert store.line == 3
    with MemoryStore.open(folder) as store:
        store.write([sighting(30.5)])
        assert store.line == 3


def test_a_moment_is_kept_once(folder):
    with MemoryStore.open(folder) as store:
        store.write([sighting(1), sighting(1)])
        store.write([sighting(1)])
        assert seconds(store) == [1] and store.objects()[0].observations == 1


def test_a_write_that_fails_leaves_nothing_of_itself(folder):
    with MemoryStore.open(folder) as store:
        store.write([sighting(1)])
        with pytest.raises(PixelReferError) as caught:
            store.write([sighting(2), Happening('mug', None, 0, 3 * SECOND)])
        assert caught.value.code == 'MEMORY' and 'NOT NULL' in caught.value.message
        assert seconds(store) == [1] and store.query('SELECT * FROM events') == []
        store.write([sighting(3)])
        assert seconds(store) == [1, 3]


def test_a_key_of_a_write_that_failed_is_no_other_keys_number(folder):
    """Else tokens of two keys would be taken for one another's."""
    with MemoryStore.open(folder) as store:
        with pytest.raises(PixelReferError):
            store.write([sighting(1, key='lost'), Happening('mug', None, 0, 3 * SECOND)])
        store.write([sighting(2, key='other')])
        store.write([sighting(3, key='lost')])
        assert [moment.key for moment in store.moments('mug', ALL)] == ['other', 'lost']


def test_tokens_that_are_damaged_on_disk_are_said_to_be_lost_and_not_used(folder):
    with MemoryStore.open(folder) as store:
        store.write([sighting(1), sighting(2)])
    file = next((folder / TOKENS).iterdir())
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(data)
    with MemoryStore.open(folder) as store:
        first, second = store.moments('mug', ALL)
        assert torch.equal(store.observations([second])[0].tokens, tokens_of(2))
        with pytest.raises(PixelReferError) as caught:
            store.observations([first])
        assert caught.value.code == 'MEMORY' and 'lost' in caught.value.message


# --- what is refused

def refused(folder: Path) -> str:
    before = {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()}
    with pytest.raises(PixelReferError) as caught:
        MemoryStore.open(folder)
    assert caught.value.code == 'MEMORY' and str(folder) in caught.value.message
    assert {p: p.read_bytes() for p in folder.rglob('*') if p in before} == before
    return caught.value.message


def test_a_newer_memory_is_left_alone(folder):
    MemoryStore.open(folder).__exit__()
    with sqlite3.connect(folder / DATABASE) as database:
        database.execute('PRAGMA journal_mode = DELETE')
        database.execute(f'PRAGMA user_version = {schema.VERSION + 1}')
    database.close()
    assert f'version {schema.VERSION + 1}' in refused(folder)


def test_a_database_of_something_else_is_left_alone(folder):
    folder.mkdir()
    with sqlite3.connect(folder / DATABASE) as database:
        database.execute('CREATE TABLE recipes (name TEXT)')
    database.close()
    assert 'something else' in refused(folder)


@pytest.mark.parametrize('harm', ['newer', 'foreign', 'damaged'])
def test_what_cannot_be_opened_cannot_be_read_either(folder, harm):
    with MemoryStore.open(folder) as store:
        store.write([sighting(n) for n in range(300)])
    file = folder / DATABASE
    if harm == 'damaged':
        file.write_bytes(file.read_bytes()[:100] + os.urandom(50_000))
    else:
        with sqlite3.connect(file) as database:
            database.execute('PRAGMA user_version = 99' if harm == 'newer' else
                             'PRAGMA application_id = 7')
        database.close()
    before = file.read_bytes()
    with pytest.raises(PixelReferError) as caught:
        MemoryStore.read(folder)
    assert caught.value.code == 'MEMORY' and str(file) in caught.value.message
    assert {'newer': 'version 99', 'foreign': 'something else', 'damaged': 'malformed'}[harm] in \
        caught.value.message
    assert file.read_bytes() == before


@pytest.mark.parametrize('bytes_', [b'no database at all' * 500, None])
def test_a_damaged_database_is_left_alone(folder, bytes_):
    with MemoryStore.open(folder) as store:
        store.write([sighting(n) for n in range(300)])
    file = folder / DATABASE
    data = bytearray(file.read_bytes())
    # Either no header that SQLite knows, or pages that are not what they say.
    data = bytearray(bytes_) if bytes_ else data[:4096] + os.urandom(8192) + data[12288:]
    file.write_bytes(data)
    refused(folder)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(PixelReferError) as caught:
        MemoryStore.open(tmp_path / 'file' / 'memory')
    assert caught.value.code == 'MEMORY' and 'folder that can be written' in caught.value.message


def test_a_memory_of_an_older_version_is_brought_to_the_newest_and_loses_nothing(folder):
    folder.mkdir()
    database = sqlite3.connect(folder / DATABASE, isolation_level=None)
    database.executescript(f'PRAGMA application_id = {schema.APPLICATION_ID};{schema.STEPS[0]};'
                           'PRAGMA user_version = 1;'
                           "INSERT INTO objects VALUES ('mug', 'camera', 1, 5, 1, 7, 0);"
                           'INSERT INTO lines VALUES (1, 7);')
    database.close()
    with MemoryStore.open(folder) as store:
        assert [o.object_id for o in store.objects()] == ['mug']
        store.write([sighting(1), Told(('mug',), 'What?', 'a mug', 1.0, 'm', 0, SECOND)])
        assert store.query('PRAGMA user_version') == [(schema.VERSION,)]
        assert seconds(store) == [1]


# --- a process that is killed

KILLED = '''
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from memory_support import sighting
from pixelrefer_model.memory.bounds import Bounds
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.trimming import trim
with MemoryStore.open(Path(sys.argv[1]), segment_bytes=600) as store:
    for second in range(int(sys.argv[2]), 1 << 40):
        store.write([sighting(second), sighting(second, 'cup')])
        store.segments.sync()
        trim(store, Bounds(observations=40))
        print(second, flush=True)
'''


def test_a_kill_at_any_moment_loses_nothing_that_was_written_and_never_the_database(folder):
    paths = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
    begin = 0
    for kill in range(6):
        process = subprocess.Popen(
            [sys.executable, '-c', KILLED.format(paths=paths), str(folder), str(begin)],
            stdout=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONHASHSEED': '0'})
        for _ in range(3 + 5 * kill):
            said = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        rest = process.stdout.read().split()
        last = int(rest[-1] if rest else said)
        process.stdout.close()
        with MemoryStore.open(folder) as store:
            assert store.query('PRAGMA integrity_check') == [('ok',)]
            for name in ('mug', 'cup'):
                moments = store.moments(name, ALL)
                assert moments[-1].stamp_ns >= last * SECOND
                assert moments[0].stamp_ns == 0
                assert len(store.observations(moments)) == len(moments)
            begin = store.objects()[0].last_ns // SECOND + 1
