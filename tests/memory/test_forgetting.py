# SPDX-License-Identifier: Apache-2.0
"""What is forgotten is in no file: the bytes are looked for."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from memory_support import SECOND, sighting, tokens_of

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import Span
from pixelrefer_model.memory.columns import bytes_of, halves, likeness_of
from pixelrefer_model.memory.bounds import Bounds
from pixelrefer_model.memory.forgetting import erase, forget
from pixelrefer_model.memory.record import Happening, Told
from pixelrefer_model.memory.store import DATABASE, MemoryStore
from pixelrefer_model.memory.trimming import trim

ALL = Span(0, 1 << 60)


@pytest.fixture
def store(tmp_path: Path):
    with MemoryStore.open(tmp_path, segment_bytes=1500) as store:
        for n in range(40):
            store.write([sighting(n, 'zebrafinch'), sighting(n, 'mug'),
                         Happening('zebrafinch', 'moved', 0, n * SECOND, text='aardvark')])
            store.write([Told(('zebrafinch',), 'Is it a quokka?', f'quetzal {n}', .9, 'm', 0,
                              n * SECOND)])
            store.write([Told(('mug',), 'What is it?', f'teapot {n}', .9, 'm', 0, n * SECOND)])
        yield store


def on_disk(store: MemoryStore) -> bytes:
    return b''.join(path.read_bytes() for path in store.folder.rglob('*') if path.is_file())


def traces(store: MemoryStore, object_id: str, seconds) -> list[object]:
    """The seconds of an object of which tokens or their mean are still on the disk."""
    data = on_disk(store)
    return [n for n in seconds
            if bytes_of(tokens_of(n, object_id)) in data
            or halves(likeness_of(tokens_of(n, object_id))) in data]


def test_of_a_forgotten_object_neither_words_nor_tokens_are_in_any_file(store):
    assert traces(store, 'zebrafinch', range(40)) == list(range(40))
    words = (b'zebrafinch', b'quetzal', b'quokka', b'aardvark')
    assert all(word in on_disk(store) for word in words)
    assert forget(store, ['zebrafinch']) == 40
    assert traces(store, 'zebrafinch', range(40)) == []
    assert [word for word in words if word in on_disk(store)] == []
    # Nothing else was touched.
    assert [o.object_id for o in store.objects()] == ['mug']
    moments = store.moments('mug', ALL)
    assert len(moments) == 40 and b'teapot 39' in on_disk(store)
    assert all(torch.equal(seen.tokens, tokens_of(n, 'mug'))
               for n, seen in enumerate(store.observations(moments)))
    assert store.query("SELECT count(*) FROM found WHERE found MATCH 'quetzal'") == [(0,)]
    assert store.query("SELECT count(*) FROM found WHERE found MATCH 'teapot'") == [(40,)]


def test_where_another_process_reads_the_log_forgetting_says_that_it_is_not_done(store):
    with closing(sqlite3.connect(store.folder / DATABASE)) as reader:
        reader.execute('BEGIN')
        reader.execute('SELECT count(*) FROM words').fetchone()
        store._write.execute('PRAGMA busy_timeout = 20')
        with pytest.raises(PixelReferError, match='another process reads the database') as refused:
            forget(store, ['zebrafinch'])
        assert refused.value.code == 'MEMORY'
        assert [one.object_id for one in store.objects()] == ['mug']
        reader.execute('ROLLBACK')
    forget(store, [], Span(0, 0))
    assert not any(word in on_disk(store) for word in (b'zebrafinch', b'quetzal', b'aardvark'))


def test_a_token_file_that_is_missing_already_keeps_nothing_from_being_forgotten(store):
    first, = store.query('SELECT min(segment) FROM observations')[0]
    store.segments._path(first).unlink()
    forget(store, ['zebrafinch'])
    assert not any(word in on_disk(store) for word in (b'zebrafinch', b'quetzal', b'aardvark'))
    assert traces(store, 'zebrafinch', range(40)) == []
    assert [one.object_id for one in store.objects()] == ['mug']


def test_a_stretch_of_time_is_forgotten_of_every_object(store):
    assert forget(store, [], Span(10 * SECOND, 19 * SECOND)) == 20
    for name in ('mug', 'zebrafinch'):
        left = [m.stamp_ns // SECOND for m in store.moments(name, ALL)]
        assert left == [*range(10), *range(20, 40)] == traces(store, name, range(40))
    data = on_disk(store)
    assert b'teapot 9' in data and b'teapot 20' in data and b'teapot 14' not in data
    assert {(o.first_ns, o.last_ns) for o in store.objects()} == {(0, 39 * SECOND)}


def test_an_object_of_which_the_ends_are_forgotten_begins_and_ends_with_what_is_left(store):
    forget(store, ['mug'], Span(0, 5 * SECOND))
    forget(store, ['mug'], Span(30 * SECOND, 39 * SECOND))
    one = {o.object_id: o for o in store.objects()}['mug']
    assert (one.first_ns, one.last_ns) == (6 * SECOND, 29 * SECOND)
    assert forget(store, ['mug'], Span(0, 99 * SECOND)) == 24
    assert [o.object_id for o in store.objects()] == ['zebrafinch']


def test_forgetting_what_is_not_there_changes_nothing(store):
    assert forget(store, ['nobody']) == 0
    assert len(store.objects()) == 2 and len(store.moments('mug', ALL)) == 40


def test_tokens_whose_rows_went_before_are_overwritten_too(tmp_path: Path):
    with MemoryStore.open(tmp_path) as store:
        for n in range(30):
            store.write([sighting(n, 'zebrafinch'), sighting(n, 'mug')])
        trim(store, Bounds(observations=3))
        erase(store, 'mug')
        forget(store, ['zebrafinch'])
        data = b''.join(path.read_bytes() for path in tmp_path.rglob('*') if path.is_file())
        assert not [n for n in range(30) if bytes_of(tokens_of(n, 'zebrafinch')) in data]
        assert not [n for n in range(30) if bytes_of(tokens_of(n, 'mug')) in data]


def test_all_of_it_is_forgotten_also_of_objects_that_were_never_observed(store):
    store.write([Told(('ghost',), 'What is it?', 'a wyvern', 0.9, 'm', 0, 5 * SECOND),
                 Happening('ghost', 'appeared', 0, 5 * SECOND)])
    forget(store, [])
    assert [store.count(name) for name in ('objects', 'answers', 'words', 'events')] == [0] * 4


def test_an_answer_that_rests_on_a_forgotten_moment_is_forgotten_with_it(store):
    store.write([Told(('mug',), 'What did it do?', 'a somersault', 0.9, 'm', 0, 30 * SECOND,
                      since_ns=10 * SECOND)])
    forget(store, ['mug'], Span(9 * SECOND, 11 * SECOND))
    assert not store.query("SELECT 1 FROM answers WHERE text = 'a somersault'")
    assert not store.query("SELECT 1 FROM words WHERE text = 'a somersault'")

