# SPDX-License-Identifier: Apache-2.0
"""Forgetting for privacy: what is forgotten is in no file any more, neither words nor tokens."""

import json
from collections.abc import Sequence
from sqlite3 import Connection

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.entering import refresh
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.trimming import delete, empty
from pixelrefer_model.memory.window import Span


def forget(store: MemoryStore, object_ids: Sequence[str], span: Span | None = None) -> int:
    """Forget objects, or what was within a span of the newest line of time (of all objects where no
    id is given; the objects stay then, while anything of them is left). Returns how many
    observations went.

    Rows are zeroed in the database's file (secure_delete), the index of words is built anew, the
    write-ahead log is emptied and the database packed; segments that held tokens of it are
    rewritten without them and their old bytes zeroed. What the file system or the disk keeps of
    old blocks is beyond this. Raises PixelReferError MEMORY, also where all of it is done but that
    another process reads the log.
    """
    ids = list(object_ids) or [one.object_id for one in store.objects()]
    when, values = _when(store, span)
    leave: dict[int, list[int]] = {}
    for object_id in ids:
        for number, segment in store.query(
                f'SELECT number, segment FROM observations WHERE object = ?{when}',
                (object_id, *values)):
            leave.setdefault(segment, []).append(number)
    # Tokens first: a file that is left behind when the process is killed here goes at its start.
    for segment, numbers in leave.items():
        empty(store, segment, numbers, overwrite=True)
    # And those whose rows went before, for want of room or since another object took the id.
    wanted = dict(store.query('SELECT segment, sum(length) FROM observations GROUP BY segment'))
    for segment in store.segments.numbers():
        if wanted.get(segment, 0) < store.segments.size(segment):
            empty(store, segment, overwrite=True)
    with store.transaction() as database:
        _drop_words(database, ids, span, when, values)
        if not object_ids:
            # What was said of objects of which nothing was observed, too.
            for table in ('events', 'words', 'answers'):
                database.execute(f'DELETE FROM {table} WHERE 1{when}', values)
        database.execute("INSERT INTO found (found) VALUES ('rebuild')")
        database.execute("INSERT INTO found (found) VALUES ('optimize')")
    if not store.pack():
        raise PixelReferError(
            'MEMORY', f'{store.folder}: it is deleted, but another process reads the database, '
            'whose log keeps it until that reader has ended and something is forgotten again, or '
            'the memory is closed')
    return sum(map(len, leave.values()))


def erase(store: MemoryStore, object_id: str) -> None:
    """As `forget`, for an object whose id another takes over: it is found no more, and its bytes go
    with their segments. Raises PixelReferError MEMORY."""
    with store.transaction() as database:
        delete(database, [number for number, in database.execute(
            'SELECT number FROM observations WHERE object = ?', (object_id,)).fetchall()])
        _drop_words(database, [object_id], None, '', ())


def _drop_words(database: Connection, ids: Sequence[str], span: Span | None, when: str,
                values: tuple[int, ...]) -> None:
    """Take out the events, and what was said of objects whose observations went: every answer that
    rests on one of these."""
    for object_id in ids:
        for table in ('events', 'words'):
            database.execute(f'DELETE FROM {table} WHERE object = ?{when}', (object_id, *values))
        database.execute(f'DELETE FROM events WHERE other = ?{when}', (object_id, *values))
        refresh(database, object_id)
    rests, within = '', ()
    if span is not None:
        rests = ' AND line = ? AND stamp_ns >= ? AND coalesce(since_ns, stamp_ns) <= ?'
        within = values[0], span.start_ns, span.end_ns
    about = [(number, text, set(json.loads(objects)) & set(ids))
             for number, text, objects in database.execute(
                 f'SELECT number, text, objects FROM answers WHERE 1{rests}', within).fetchall()]
    for number, text, objects in about:
        if objects:
            database.execute('DELETE FROM answers WHERE number = ?', (number,))
        for object_id in objects:
            database.execute('DELETE FROM words WHERE object = ? AND text = ?', (object_id, text))


def _when(store: MemoryStore, span: Span | None) -> tuple[str, tuple[int, ...]]:
    if span is None:
        return '', ()
    return ' AND line = ? AND stamp_ns BETWEEN ? AND ?', (store.line, span.start_ns, span.end_ns)
