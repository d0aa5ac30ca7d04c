# SPDX-License-Identifier: Apache-2.0
"""Forgetting for privacy: what is forgotten is in no file any more, neither words nor tokens."""

import json
from collections.abc import Sequence

from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.trimming import empty
from pixelrefer_model.memory.window import Span


def forget(store: MemoryStore, object_ids: Sequence[str], span: Span | None = None) -> int:
    """Forget objects, or what was within a span of the newest line of time (of all objects where no
    id is given; the objects stay then, while anything of them is left). Returns how many
    observations went.

    Rows are zeroed in the database's file (secure_delete), the index of words is built anew, the
    write-ahead log is emptied and the database packed; segments that held tokens of it are
    rewritten without them and their old bytes zeroed. What the file system or the disk keeps of
    old blocks is beyond this. Raises PixelReferError MEMORY.
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
    with store.transaction() as database:
        for object_id in ids:
            for table in ('events', 'words'):
                database.execute(f'DELETE FROM {table} WHERE object = ?{when}',
                                 (object_id, *values))
            database.execute(f'DELETE FROM events WHERE other = ?{when}', (object_id, *values))
            _shrink(database, object_id)
        about = [(number,) for number, objects in database.execute(
            f'SELECT number, objects FROM answers WHERE 1{when}', values).fetchall()
            if set(json.loads(objects)) & set(ids)]
        database.executemany('DELETE FROM answers WHERE number = ?', about)
        database.execute("INSERT INTO found (found) VALUES ('rebuild')")
        database.execute("INSERT INTO found (found) VALUES ('optimize')")
    store.pack()
    return sum(map(len, leave.values()))


def _when(store: MemoryStore, span: Span | None) -> tuple[str, tuple[int, ...]]:
    if span is None:
        return '', ()
    return ' AND line = ? AND stamp_ns BETWEEN ? AND ?', (store.line, span.start_ns, span.end_ns)


def _shrink(database, object_id: str) -> None:
    """First and last sighting are those that are left; an object without any goes."""
    ends = database.execute(
        'SELECT line, stamp_ns, epoch FROM observations WHERE object = ? ORDER BY line, stamp_ns',
        (object_id,)).fetchall()
    if not ends:
        database.execute('DELETE FROM objects WHERE id = ?', (object_id,))
        return
    database.execute(
        'UPDATE objects SET first_line = ?, first_ns = ?, last_line = ?, last_ns = ?, '
        'last_epoch = ? WHERE id = ?', (*ends[0][:2], *ends[-1], object_id))
