# SPDX-License-Identifier: Apache-2.0
"""The database of the object memory: its tables, their versions, and what may be opened.

Each step of STEPS makes the next version of the schema out of the one before, and a database of any
older version is brought to the newest when it is opened. synchronous is NORMAL: with the write-ahead
log a process that is killed loses nothing that was committed; a power cut may lose the last commits
that were not yet on the disk, and never the database.
"""

import os
import sqlite3
from pathlib import Path

from pixelrefer_model.errors import PixelReferError

#: Says in the file's header that the database is ours ("PxRf").
APPLICATION_ID = 0x50785266
#: Of a database that another process has locked, so many seconds are waited for.
LOCK_WAIT_S = 5.0

#: Times are nanoseconds of image stamps. `line` counts time lines: one ends where stamps go back,
#: as when a recording starts over; stamps of two lines cannot be compared.
STEPS = (
    """
    CREATE TABLE lines (line INTEGER PRIMARY KEY, newest_ns INTEGER NOT NULL);
    CREATE TABLE objects (
        id TEXT PRIMARY KEY, camera TEXT NOT NULL,
        first_line INTEGER NOT NULL, first_ns INTEGER NOT NULL,
        last_line INTEGER NOT NULL, last_ns INTEGER NOT NULL,
        last_epoch INTEGER NOT NULL);
    CREATE TABLE keys (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
    CREATE TABLE observations (
        number INTEGER PRIMARY KEY, object TEXT NOT NULL, line INTEGER NOT NULL,
        epoch INTEGER NOT NULL, stamp_ns INTEGER NOT NULL, camera TEXT NOT NULL,
        x INTEGER NOT NULL, y INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
        area INTEGER NOT NULL, mask BLOB, mask_height INTEGER, mask_width INTEGER,
        position_frame TEXT, px REAL, py REAL, pz REAL, covariance BLOB,
        reason TEXT NOT NULL, key INTEGER NOT NULL, tokens INTEGER NOT NULL, dim INTEGER NOT NULL,
        dtype TEXT NOT NULL, likeness BLOB,
        segment INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
        crc INTEGER NOT NULL);
    CREATE UNIQUE INDEX moments ON observations (object, line, stamp_ns);
    CREATE INDEX places ON observations (segment, offset);
    """,
    """
    CREATE TABLE events (
        number INTEGER PRIMARY KEY, object TEXT NOT NULL, other TEXT NOT NULL,
        line INTEGER NOT NULL, epoch INTEGER NOT NULL, stamp_ns INTEGER NOT NULL,
        kind TEXT NOT NULL, text TEXT NOT NULL);
    CREATE INDEX event_moments ON events (object, line, stamp_ns);
    CREATE TABLE answers (
        number INTEGER PRIMARY KEY, line INTEGER NOT NULL, epoch INTEGER NOT NULL,
        stamp_ns INTEGER NOT NULL, question TEXT NOT NULL, text TEXT NOT NULL,
        confidence REAL NOT NULL, model TEXT NOT NULL, objects TEXT NOT NULL);
    CREATE TABLE words (
        number INTEGER PRIMARY KEY, object TEXT NOT NULL, source TEXT NOT NULL,
        text TEXT NOT NULL, stamp_ns INTEGER NOT NULL, line INTEGER NOT NULL,
        UNIQUE (object, source, text));
    CREATE VIRTUAL TABLE found USING fts5 (
        text, content='words', content_rowid='number', tokenize='porter unicode61');
    CREATE TRIGGER words_in AFTER INSERT ON words BEGIN
        INSERT INTO found (rowid, text) VALUES (new.number, new.text); END;
    CREATE TRIGGER words_out AFTER DELETE ON words BEGIN
        INSERT INTO found (found, rowid, text) VALUES ('delete', old.number, old.text); END;
    """,
    # What is wanted of each segment is summed up after each write, without a look at the rows.
    """
    DROP INDEX places;
    CREATE INDEX places ON observations (segment, offset, length);
    """,
    # An answer rests on images from since_ns on (empty: on that of stamp_ns alone).
    """
    ALTER TABLE answers ADD COLUMN since_ns INTEGER;
    """,
)
VERSION = len(STEPS)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to a database that `prepare` has made ready; any thread may use it, one at a
    time. Raises PixelReferError MEMORY.

    A database in a folder that cannot be written is read as it is, if nobody has left a log beside
    it: SQLite has nowhere to put what readers and a writer share.
    """
    log = Path(f'{path}-wal')
    try:
        return _connect(path, '?mode=ro' if read_only else '')
    except sqlite3.Error as error:
        if not read_only or os.access(path.parent, os.W_OK):
            raise unusable(path, error) from error
        if log.exists() and log.stat().st_size:
            raise PixelReferError(
                'MEMORY', f'{path}: what {log.name} holds is not in the database yet, and '
                f'{path.parent} cannot be written; a copy of the folder that can is allowed'
                ) from error
    try:
        return _connect(path, '?mode=ro&immutable=1')
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def _connect(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f'{path.resolve().as_uri()}{how}', uri=True, timeout=LOCK_WAIT_S, isolation_level=None,
        check_same_thread=False)
    try:
        connection.execute('PRAGMA synchronous = NORMAL')
        connection.execute('PRAGMA secure_delete = ON')
        # So that what cannot be read fails here.
        connection.execute('SELECT count(*) FROM sqlite_master')
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(path: Path) -> None:
    """Make the database, or bring it to the newest version. Raises PixelReferError MEMORY, naming
    the file and the reason: it cannot be written, is damaged, is not ours, or is newer than this."""
    new = not path.exists() or not path.stat().st_size
    connection = connect(path)
    try:
        version = _version(connection, path, new)
        said = connection.execute('PRAGMA quick_check(1)').fetchone()[0]
        if said != 'ok':
            raise PixelReferError('MEMORY', f'{path} is damaged: {said}; another folder is allowed')
        # So that pages which were freed can be given back; before there is any table.
        connection.execute('PRAGMA auto_vacuum = INCREMENTAL')
        connection.execute('PRAGMA journal_mode = WAL')
        connection.execute(f'PRAGMA application_id = {APPLICATION_ID}')
        for number in range(version, VERSION):
            # One transaction a step, its number included: a step is done wholly or not at all.
            connection.executescript(
                f'BEGIN IMMEDIATE;{STEPS[number]};PRAGMA user_version = {number + 1};COMMIT')
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    finally:
        connection.close()


def in_ram() -> sqlite3.Connection:
    """A connection to a new database in RAM; any thread may use it, one at a time."""
    connection = sqlite3.connect(':memory:', isolation_level=None, check_same_thread=False)
    for step in STEPS:
        connection.executescript(step)
    return connection


def check(path: Path) -> None:
    """Whether a database can be read as it is. Raises PixelReferError MEMORY, naming the file and
    the reason: there is none, it cannot be read, is not ours, or is of another version."""
    if not path.exists():
        raise PixelReferError('MEMORY', f'there is no {path}; a folder that a memory was '
                              'recorded into is allowed')
    connection = connect(path, read_only=True)
    try:
        version = _version(connection, path, False)
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    finally:
        connection.close()
    if version != VERSION:
        raise PixelReferError(
            'MEMORY', f'{path} has version {version} of the memory, and {VERSION} is read; opening '
            'it to be written once (pixelrefer memory vacuum) brings it there')


def _version(connection: sqlite3.Connection, path: Path, new: bool) -> int:
    found = connection.execute('PRAGMA application_id').fetchone()[0]
    tables = connection.execute('SELECT count(*) FROM sqlite_master').fetchone()[0]
    version = connection.execute('PRAGMA user_version').fetchone()[0]
    if not new and tables and found != APPLICATION_ID:
        raise PixelReferError(
            'MEMORY', f'{path} is a database of something else; another folder is allowed')
    if version > VERSION:
        raise PixelReferError(
            'MEMORY', f'{path} has version {version} of the memory, and this software knows up '
            f'to {VERSION}; newer software, or another folder, is allowed')
    return version


def unusable(path: Path | None, error: Exception) -> PixelReferError:
    """What is said of a database that SQLite or the disk refuses."""
    return PixelReferError('MEMORY', f'{path or "the memory in RAM"}: {error}')
