# SPDX-License-Identifier: Apache-2.0
"""Records as rows of the database; each is called within a transaction of the store."""

import json
from sqlite3 import Connection

from torch import Tensor

from pixelrefer_model.memory.columns import floats, halves, likeness_of
from pixelrefer_model.memory.observation import Observation
from pixelrefer_model.memory.record import Happening, Told
from pixelrefer_model.memory.segments import Place


def key_number(database: Connection, key: str) -> int:
    """The number that stands for a key of tokens."""
    return database.execute(
        'INSERT INTO keys (key) VALUES (?) ON CONFLICT (key) DO UPDATE SET key = key '
        'RETURNING number', (key,)).fetchone()[0]


def observation(database: Connection, seen: Observation, line: int, key: int, tokens: Tensor,
                place: Place) -> None:
    """An observation of a line of time. tokens: as they lie at `place`."""
    where, mask = seen.where, seen.mask or (None, None, None)
    position = [None] * 5 if where is None else [
        where.frame, *map(float, where.position), floats(where.covariance)]
    database.execute(
        'INSERT INTO observations (object, line, epoch, stamp_ns, camera, x, y, width, height, '
        'area, mask, mask_height, mask_width, position_frame, px, py, pz, covariance, reason, '
        f'key, tokens, dim, dtype, likeness, segment, offset, length, crc) VALUES '
        f'({", ".join("?" * 28)}) ON CONFLICT (object, line, stamp_ns) DO NOTHING',
        (seen.object_id, line, seen.epoch, seen.stamp_ns, seen.camera, *seen.box, seen.area,
         *mask, *position, seen.reason, key, *tokens.shape,
         str(tokens.dtype).removeprefix('torch.'), halves(likeness_of(tokens)),
         place.segment, place.offset, place.length, place.crc))
    database.execute(
        # What comes late is not the last of its line, and may be the first.
        'INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET '
        'camera = excluded.camera, last_line = excluded.last_line, '
        'last_epoch = excluded.last_epoch, last_ns = CASE WHEN last_line = excluded.last_line '
        'THEN max(last_ns, excluded.last_ns) ELSE excluded.last_ns END, '
        'first_ns = CASE WHEN first_line = excluded.last_line '
        'THEN min(first_ns, excluded.last_ns) ELSE first_ns END',
        (seen.object_id, seen.camera, line, seen.stamp_ns, line, seen.stamp_ns, seen.epoch))


def happening(database: Connection, event: Happening, line: int) -> None:
    """An event."""
    database.execute(
        'INSERT INTO events (object, other, line, epoch, stamp_ns, kind, text) '
        'VALUES (?, ?, ?, ?, ?, ?, ?)',
        (event.object_id, event.other, line, event.epoch, event.stamp_ns, event.kind, event.text))


def told(database: Connection, answer: Told, line: int) -> None:
    """An answer, and its words under each of its objects."""
    database.execute(
        'INSERT INTO answers (line, epoch, stamp_ns, since_ns, question, text, confidence, model, '
        'objects) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
        (line, answer.epoch, answer.stamp_ns, answer.since_ns, answer.question, answer.text,
         answer.confidence, answer.model, json.dumps(answer.object_ids)))
    if answer.words:
        # The newest time counts: the same words are not kept twice of one object.
        for object_id in answer.object_ids:
            database.execute(
                'INSERT INTO words (object, source, text, stamp_ns, line) '
                'VALUES (?, ?, ?, ?, ?) ON CONFLICT (object, source, text) DO UPDATE SET '
                'stamp_ns = excluded.stamp_ns, line = excluded.line',
                (object_id, answer.question, answer.text, answer.stamp_ns, line))


def refresh(database: Connection, object_id: str) -> None:
    """Let an object's first and last sighting be those that are left, or new; one without any
    goes."""
    first, last = (database.execute(
        'SELECT line, stamp_ns, epoch, camera FROM observations WHERE object = ? '
        f'ORDER BY line {way}, stamp_ns {way} LIMIT 1', (object_id,)).fetchone()
        for way in ('ASC', 'DESC'))
    database.execute('DELETE FROM objects WHERE id = ?', (object_id,))
    if first:
        database.execute('INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)', (
            object_id, last[3], *first[:2], *last[:3]))
