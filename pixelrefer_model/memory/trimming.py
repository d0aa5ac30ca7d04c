# SPDX-License-Identifier: Apache-2.0
"""Keeping the store within its bounds, a segment at a time.

A segment that has to go is emptied: what stays of it is appended to the newest one, and its file is
deleted. So no call rewrites more than one segment.
"""

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.bounds import Bounds
from pixelrefer_model.memory.record import EVENTS
from pixelrefer_model.memory.segments import Place
from pixelrefer_model.memory.store import MemoryStore

#: Events, answers and words that are kept, the newest: small beside tokens, but without end.
MOST_ROWS = 100_000
#: A segment of which no more than this share is still wanted is emptied for the room.
SPARSE = 0.5
#: To thin a segment is worth its rewriting if so great a share of it goes.
WORTH = 0.25
#: Calls that may follow one another while the store is over its bound: a recorder that trims
#: after each batch must not stand still for all of them at once.
MOST_STEPS = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trimmed:
    """observations, objects: how many went."""

    observations: int = 0
    objects: int = 0

    def __add__(self, other: 'Trimmed') -> 'Trimmed':
        return Trimmed(self.observations + other.observations, self.objects + other.objects)


def trim(store: MemoryStore, bounds: Bounds) -> Trimmed:
    """Bring the store towards its bounds, in at most MOST_STEPS steps. Raises PixelReferError
    MEMORY."""
    gone = _by_age_and_count(store, bounds)
    for _ in range(MOST_STEPS):
        if store.bytes() > bounds.bytes:
            store.shrink(bounds.bytes // 16)
        if store.bytes() <= bounds.bytes:
            break
        gone = gone + _make_room(store, bounds)
    _compact_sparse(store)
    return gone


def compact(store: MemoryStore) -> None:
    """Give back what no observation wants of any segment; nothing goes. Raises PixelReferError
    MEMORY."""
    store.segments.begin_next()
    while _compact_sparse(store, share=1.0):
        pass


def delete(database: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Take observations out of the database; their bytes stay in their segments."""
    database.executemany('DELETE FROM observations WHERE number = ?', [(n,) for n in numbers])


def empty(store: MemoryStore, segment: int, leave: Sequence[int] = (), *,
          overwrite: bool = False) -> None:
    """Delete a segment's file after all of its observations but `leave` were appended to the newest
    one; those in `leave` are deleted. Where the process is killed meanwhile either all of it has
    happened or nothing, but for bytes that the next start cuts off."""
    # Lasting: a power cut must not bring rows back whose file is deleted.
    with store.transaction(lasting=True) as database:
        delete(database, leave)
        rows = database.execute(
            'SELECT number, segment, offset, length, crc FROM observations WHERE segment = ? '
            'ORDER BY offset', (segment,)).fetchall()
        if segment == store.segments.newest:
            store.segments.begin_next()
        for number, *place in rows:
            try:
                tokens = store.segments.read(Place(*place))
            except PixelReferError as lost:
                # Else one damaged place would keep the memory from being trimmed for good.
                _log.error('an observation is let go of: %s', lost.message)
                delete(database, [number])
                continue
            moved = store.segments.append(tokens)
            database.execute('UPDATE observations SET segment = ?, offset = ? WHERE number = ?',
                             (moved.segment, moved.offset, number))
    store.segments.drop(segment, overwrite=overwrite)


def _make_room(store: MemoryStore, bounds: Bounds) -> Trimmed:
    """Empty the oldest segment that is worth it: first for detail, then for events; where none is,
    let go of the objects that were seen longest ago."""
    if store.bytes() - store.segments.bytes() > bounds.bytes / 2 and _drop_rows(store):
        return Trimmed()
    for kept_reasons in (EVENTS, ()):
        for segment in store.segments.numbers():
            leave, gain = _thinned(store, segment, kept_reasons, bounds.first.every)
            if gain >= WORTH * store.segments.size(segment):
                empty(store, segment, leave)
                return Trimmed(len(leave))
    return _drop_objects(store, max(map(store.segments.size, store.segments.numbers()), default=0))


def _thinned(store: MemoryStore, segment: int, kept_reasons: Sequence[str],
             every: int) -> tuple[list[int], int]:
    """What goes of a segment when of its observations that are neither first nor last of their
    object, nor made for one of these reasons, every `every`-th stays; and the bytes that are not
    wanted then."""
    marks = ', '.join('?' * len(kept_reasons))
    rows = store.query(
        f'SELECT o.number, o.length, o.reason NOT IN ({marks}) '
        'AND (o.line, o.stamp_ns) NOT IN (VALUES (b.first_line, b.first_ns), '
        '(b.last_line, b.last_ns)) FROM observations o JOIN objects b ON b.id = o.object '
        'WHERE o.segment = ? ORDER BY o.object, o.line, o.stamp_ns', (*kept_reasons, segment))
    free = [(number, length) for number, length, thin in rows if thin]
    leave = free if len(free) == 1 else [
        one for place, one in enumerate(free) if place % every]
    wanted = sum(row[1] for row in rows) - sum(length for _, length in leave)
    return [number for number, _ in leave], store.segments.size(segment) - wanted


def _drop_objects(store: MemoryStore, least: float) -> Trimmed:
    """Let go wholly of the objects that were seen longest ago, until they held so many bytes of
    tokens; of one at least."""
    gone, held = Trimmed(), 0
    with store.transaction() as database:
        for object_id, in database.execute(
                'SELECT id FROM objects ORDER BY last_line, last_ns, id DESC').fetchall():
            count, length = database.execute(
                'SELECT count(*), coalesce(sum(length), 0) FROM observations WHERE object = ?',
                (object_id,)).fetchone()
            database.execute('DELETE FROM observations WHERE object = ?', (object_id,))
            for table in ('events', 'words'):
                database.execute(f'DELETE FROM {table} WHERE object = ?', (object_id,))
            database.execute('DELETE FROM objects WHERE id = ?', (object_id,))
            gone, held = gone + Trimmed(count, 1), held + length
            if held >= least:
                break
    return gone


def _drop_rows(store: MemoryStore) -> bool:
    """Let go of the older half of events, answers and words; whether there were any."""
    with store.transaction() as database:
        return any([database.execute(
            f'DELETE FROM {name} WHERE number IN (SELECT number FROM {name} ORDER BY number '
            f'LIMIT (SELECT (count(*) + 1) / 2 FROM {name}))').rowcount
            for name in ('events', 'answers', 'words')])


def _by_age_and_count(store: MemoryStore, bounds: Bounds) -> Trimmed:
    """Take out what is too old or too much of one object; first and last sighting stay."""
    between = ('(o.line, o.stamp_ns) NOT IN (VALUES (b.first_line, b.first_ns), '
               '(b.last_line, b.last_ns))')
    leave: set[int] = set()
    if bounds.age_s:
        leave |= {row[0] for row in store.query(
            'SELECT o.number FROM observations o JOIN objects b ON b.id = o.object '
            'JOIN lines l ON l.line = o.line WHERE o.stamp_ns < l.newest_ns - ? '
            f'AND {between}', (round(bounds.age_s * 1e9),))}
    if bounds.observations:
        for (object_id, count) in store.query(
                'SELECT object, count(*) FROM observations GROUP BY object HAVING count(*) > ?',
                (bounds.observations,)):
            leave |= {row[0] for row in store.query(
                'SELECT o.number FROM observations o JOIN objects b ON b.id = o.object '
                f'WHERE o.object = ? AND {between} ORDER BY o.line, o.stamp_ns LIMIT ?',
                (object_id, count - bounds.observations))}
    # Numbers rise: where they span no more, there are no more, and none have to be counted.
    over = [name for name in ('events', 'answers', 'words') if (store.query(
        f'SELECT (SELECT max(number) FROM {name}) - (SELECT min(number) FROM {name})'
        )[0][0] or 0) >= MOST_ROWS]
    if leave or over:
        with store.transaction() as database:
            delete(database, sorted(leave))
            for name in over:
                database.execute(
                    f'DELETE FROM {name} WHERE number NOT IN '
                    f'(SELECT number FROM {name} ORDER BY number DESC LIMIT ?)', (MOST_ROWS,))
    return Trimmed(len(leave))


def _compact_sparse(store: MemoryStore, share: float = SPARSE) -> bool:
    """Empty one segment of which less than a share is still wanted; not the one that grows. Whether
    there was one."""
    wanted = dict(store.query('SELECT segment, sum(length) FROM observations GROUP BY segment'))
    for segment in store.segments.numbers():
        want, size = wanted.get(segment, 0), store.segments.size(segment)
        if segment != store.segments.newest and want < size and want <= share * size:
            empty(store, segment)
            return True
    return False
