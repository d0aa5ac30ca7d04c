# SPDX-License-Identifier: Apache-2.0
"""Two ids that turn out to be one object, and one that turns out to be two."""

from sqlite3 import Connection

from pixelrefer_model.memory.entering import refresh
from pixelrefer_model.memory.store import MemoryStore

#: Tables that say of which object a row is.
TABLES = ('observations', 'events', 'words')


def join(store: MemoryStore, keep: str, merge: str) -> int:
    """Give what is stored of `merge` to `keep`; of a moment that both have, that of `keep` stays.
    Returns how many observations changed hands. Raises PixelReferError MEMORY."""
    with store.transaction() as database:
        moved = _move(database, merge, keep, '', ())
        for table in TABLES:
            database.execute(f'DELETE FROM {table} WHERE object = ?', (merge,))
        database.execute('UPDATE events SET other = ? WHERE other = ?', (keep, merge))
        _rename_in_answers(database, merge, keep, '', ())
        refresh(database, keep)
        refresh(database, merge)
    return moved


def split(store: MemoryStore, object_id: str, from_ns: int, new_id: str) -> int:
    """Give what was stored of an object since a stamp of this line of time to another. Returns how
    many observations changed hands. Raises PixelReferError MEMORY."""
    with store.transaction() as database:
        since = ' AND line = ? AND stamp_ns >= ?', (store.line, from_ns)
        moved = _move(database, object_id, new_id, *since)
        _rename_in_answers(database, object_id, new_id, *since)
        refresh(database, new_id)
        refresh(database, object_id)
    return moved


def _move(database: Connection, old: str, new: str, when: str, values: tuple) -> int:
    """Let rows of one object be of another, unless that has the like."""
    moved = [database.execute(
        f'UPDATE OR IGNORE {table} SET object = ? WHERE object = ?{when}',
        (new, old, *values)).rowcount for table in TABLES]
    return moved[0]


def _rename_in_answers(database: Connection, old: str, new: str, when: str,
                       values: tuple) -> None:
    database.execute(
        'UPDATE answers SET objects = (SELECT json_group_array(iif(value = ?, ?, value)) '
        f'FROM json_each(objects)) WHERE EXISTS (SELECT 1 FROM json_each(objects) WHERE value = ?)'
        f'{when}', (old, new, old, *values))
