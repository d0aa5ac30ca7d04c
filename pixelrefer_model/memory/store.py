# SPDX-License-Identifier: Apache-2.0
"""The store of the object memory: a database that says what was, and segment files of tokens.

    with MemoryStore.open(folder) as store:
        store.write([observation, Told(('mug',), 'What is it?', 'a mug', .9, 'm', 0, 7)])
        moments = store.moments('mug', Span(0, 10_000_000_000))
        observations = store.observations(moments)

One thread writes; any thread reads. What `write` was given in one call is there as a whole or not
at all, also after the process was killed.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

import torch

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import entering, schema
from pixelrefer_model.memory.columns import bytes_of, whereabouts
from pixelrefer_model.memory.locking import WriteLock
from pixelrefer_model.memory.observation import Observation, Rle, Whereabouts
from pixelrefer_model.memory.ram_segments import RamSegments
from pixelrefer_model.memory.record import Happening, Moment, Record, Remembered
from pixelrefer_model.memory.segments import SEGMENT_BYTES, Place, Segments
from pixelrefer_model.memory.window import Span

DATABASE, TOKENS = 'memory.sqlite', 'tokens'
#: Of stamps that go back by more than this from what was stored before the store was opened, a new
#: line of time begins.
BACK_NS = 1_000_000_000
#: Meanwhile what is encoded comes out of order, and late where there is much of it; only by more than
#: this a new line begins by itself. Who knows that time began anew says so: `begin_line`.
LATE_NS = 60_000_000_000
#: Digits of the number in an id that was made here, at most.
MOST_DIGITS = 9


class MemoryStore:
    """See above. A context manager; made by `open`."""

    def __init__(self, folder: Path | None, segments: Segments | RamSegments,
                 lock: WriteLock | None) -> None:
        self.folder = folder
        self.segments = segments
        self._lock = lock
        self._path = None if folder is None else folder / DATABASE
        if folder is None:
            # A database in RAM is one connection's own.
            self._write = self._read = schema.in_ram()
        else:
            self._write = schema.connect(self._path, read_only=lock is None)
            self._read = schema.connect(self._path, read_only=True)
        self._reading = threading.RLock()
        self._keys: dict[str, int] = dict(
            (key, number) for number, key in self._write.execute('SELECT number, key FROM keys'))
        #: Whether nothing was written yet since it was opened.
        self._opened = True
        self._line, self._newest_ns = self._write.execute(
            'SELECT line, newest_ns FROM lines ORDER BY line DESC LIMIT 1').fetchone() or (0, 0)

    @classmethod
    def open(cls, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> 'MemoryStore':
        """Open the memory of a folder, or begin one there. Raises PixelReferError MEMORY: the
        folder cannot be written, another process records into it, or its database is damaged, of
        something else, or newer."""
        try:
            (folder / TOKENS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PixelReferError(
                'MEMORY', f'{folder}: {error.strerror}; a folder that can be written is allowed'
            ) from error
        with ExitStack() as stack:
            lock = stack.enter_context(WriteLock(folder))
            schema.prepare(folder / DATABASE)
            store = cls(folder, Segments(folder / TOKENS, segment_bytes), lock)
            store._settle()
            stack.pop_all()
        return store

    @classmethod
    def in_ram(cls, *, segment_bytes: int = SEGMENT_BYTES) -> 'MemoryStore':
        """A memory that is on no disk and ends with the process."""
        return cls(None, RamSegments(segment_bytes), None)

    @classmethod
    def read(cls, folder: Path) -> 'MemoryStore':
        """Open the memory of a folder to be read only, also while a node records into it. Raises
        PixelReferError MEMORY: there is none, or it cannot be read, or not by this version."""
        schema.check(folder / DATABASE)
        return cls(folder, Segments(folder / TOKENS), None)

    def __enter__(self) -> 'MemoryStore':
        return self

    def __exit__(self, *_: object) -> None:
        self.segments.__exit__(*_)
        self._read.close()
        self._write.close()
        if self._lock is not None:
            self._lock.__exit__()

    # --- writing: by one thread

    def begin_line(self) -> None:
        """What is written from now on belongs to another line of time than what was before."""
        if self._newest_ns:
            self._line, self._newest_ns = self._line + 1, 0
        self._opened = False

    def expect_line(self) -> None:
        """Time may have begun anew: what is written next is compared closely with what was before,
        as after the store was opened."""
        self._opened = True

    @property
    def line(self) -> int:
        """The line of time that what is written now belongs to."""
        return self._line

    def write(self, records: Sequence[Record]) -> None:
        """Remember, as one transaction. Raises PixelReferError MEMORY where the disk or the
        database refuses; nothing of the call is remembered then."""
        before = self._line, self._newest_ns, self._opened, dict(self._keys)
        try:
            with self.transaction() as database:
                for record in records:
                    self._enter(database, record)
        except BaseException:
            self._line, self._newest_ns, self._opened, self._keys = before
            raise

    @contextmanager
    def transaction(self, *, lasting: bool = False) -> Iterator[sqlite3.Connection]:
        """Changes inside are made as a whole, appended tokens among them, or with an exception not
        at all. lasting: a power cut afterwards does not undo them. Raises PixelReferError MEMORY.
        """
        try:
            # Of one connection readers would see what is not committed yet.
            with self._reading if self._path is None else nullcontext():
                end = self.segments.end
                self._write.execute(f'PRAGMA synchronous = {"FULL" if lasting else "NORMAL"}')
                self._write.execute('BEGIN IMMEDIATE')
                try:
                    yield self._write
                    # The disk has tokens before a row can name them, should the power go.
                    self.segments.sync()
                    self._write.execute('COMMIT')
                except BaseException as error:
                    # SQLite has rolled back by itself where the disk is full.
                    if self._write.in_transaction or isinstance(error, sqlite3.Error):
                        if self._write.in_transaction:
                            self._write.execute('ROLLBACK')
                        self.segments.cut(end)
                    raise
        except sqlite3.Error as error:
            raise schema.unusable(self._path, error) from error
        except OSError as error:
            raise PixelReferError(
                'MEMORY', f'{self.folder}: {error.strerror}; a disk with room is allowed'
                ) from error

    def shrink(self, slack: int) -> None:
        """Give back what the database has freed and what its log holds, where either is more than
        so many bytes, as far as readers let it. Raises PixelReferError MEMORY."""
        if self._path is None:
            return
        try:
            free, size = (self._write.execute(f'PRAGMA {name}').fetchone()[0]
                          for name in ('freelist_count', 'page_size'))
            if free * size > slack:
                # `execute` would take one step of it, which frees one page.
                self._write.executescript('PRAGMA incremental_vacuum')
            log = Path(f'{self._path}-wal')
            if free * size > slack or log.exists() and log.stat().st_size > slack:
                self._write.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        except sqlite3.Error as error:
            raise schema.unusable(self._path, error) from error

    def pack(self) -> bool:
        """Give freed pages back and empty the write-ahead log; whether that is empty now: while
        another process reads, its log stays. Raises PixelReferError MEMORY."""
        try:
            # Readers go on meanwhile, where they have a connection of their own.
            with self._reading if self._path is None else nullcontext():
                self._write.execute('VACUUM')
            with self._reading:  # a reader would keep the log
                busy, *_ = self._write.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchone()
        except sqlite3.Error as error:
            raise schema.unusable(self._path, error) from error
        return not busy

    def _enter(self, database: sqlite3.Connection, record: Record) -> None:
        if isinstance(record, Observation):
            line = self._line_of(database, record.stamp_ns)
            if record.key not in self._keys:
                self._keys[record.key] = entering.key_number(database, record.key)
            tokens = record.tokens.contiguous()
            entering.observation(database, record, line, self._keys[record.key], tokens,
                                 self.segments.append(bytes_of(tokens)))
        elif isinstance(record, Happening):
            entering.happening(database, record, self._line_of(database, record.stamp_ns))
        else:
            entering.told(database, record, self._line)

    def _line_of(self, database: sqlite3.Connection, stamp_ns: int) -> int:
        if not self._line or stamp_ns < self._newest_ns - (BACK_NS if self._opened else LATE_NS):
            self._line += 1
            self._newest_ns = stamp_ns
        self._opened = False
        self._newest_ns = max(self._newest_ns, stamp_ns)
        database.execute('INSERT INTO lines VALUES (?, ?) ON CONFLICT (line) DO UPDATE SET '
                         'newest_ns = excluded.newest_ns', (self._line, self._newest_ns))
        return self._line

    def _settle(self) -> None:
        """Let go of tokens that no committed observation has."""
        self.segments.settle(dict(self._write.execute(
            'SELECT segment, max(offset + length) FROM observations GROUP BY segment')))

    # --- reading: by any thread

    def query(self, text: str, values: Sequence[object] = ()) -> list[tuple]:
        """Rows of a question to the database. Raises PixelReferError MEMORY."""
        with self._reading:
            try:
                return self._read.execute(text, values).fetchall()
            except sqlite3.Error as error:
                raise schema.unusable(self._path, error) from error

    def objects(self) -> list[Remembered]:
        """Every object that is remembered, the one seen last first."""
        return [Remembered(*row) for row in self.query(
            'SELECT id, camera, first_line, first_ns, last_line, last_ns, '
            '(SELECT count(*) FROM observations WHERE object = id) FROM objects '
            'ORDER BY last_line DESC, last_ns DESC, id')]

    def knows(self, object_id: str) -> bool:
        """Whether an object is remembered."""
        return bool(self.query('SELECT 1 FROM objects WHERE id = ?', (object_id,)))

    def highest(self, stem: str) -> int:
        """The highest number of an id that is `stem` and a number; 0: there is none."""
        first = len(stem) + 1
        return self.query(
            "SELECT coalesce(max(CAST(substr(id, ?) AS INTEGER)), 0) FROM objects WHERE id >= ? "
            "AND id < ? AND substr(id, ?) NOT GLOB '*[^0-9]*' AND length(id) BETWEEN ? AND ?",
            (first, stem, f'{stem}:', first, first, first + MOST_DIGITS - 1))[0][0]

    def last_line(self, object_id: str) -> int | None:
        """The line of time in which an object was seen last; None: never."""
        rows = self.query('SELECT last_line FROM objects WHERE id = ?', (object_id,))
        return rows[0][0] if rows else None

    def first_ns(self, object_id: str, line: int) -> int | None:
        """Stamp of an object's oldest observation of a line of time; None: it has none."""
        return self.query('SELECT min(stamp_ns) FROM observations WHERE object = ? AND line = ?',
                          (object_id, line))[0][0]

    def moments(self, object_id: str, span: Span, line: int | None = None) -> list[Moment]:
        """The observations of an object within a span of a line of time (None: of the newest),
        oldest first."""
        return [Moment(*row) for row in self.query(
            'SELECT o.number, o.object, o.line, o.stamp_ns, o.reason, k.key FROM observations o '
            'JOIN keys k ON k.number = o.key WHERE o.object = ? AND o.line = ? '
            'AND o.stamp_ns BETWEEN ? AND ? ORDER BY o.stamp_ns',
            (object_id, self._line if line is None else line, span.start_ns, span.end_ns))]

    def observations(self, moments: Sequence[Moment]) -> list[Observation]:
        """The observations with their tokens, in the order of `moments`. Raises PixelReferError
        MEMORY where tokens are lost, or one was forgotten meanwhile."""
        return [self._observation(moment) for moment in moments]

    def _observation(self, moment: Moment) -> Observation:
        row = self._row(moment)
        while True:
            try:
                data = self.segments.read(Place(*row[-4:]))
                break
            except PixelReferError:
                # Whoever records may have moved them, or forgotten it, since the row was read.
                before, row = row, self._row(moment)
                if row == before:
                    raise
        object_id, stamp_ns, camera, epoch, *box, area = row[:9]
        mask, frame, position, reason = row[9:12], row[12], row[13:17], row[17]
        tokens, dim, dtype = row[18:21]
        return Observation(
            object_id, stamp_ns, camera, epoch, tuple(box), area,
            torch.frombuffer(bytearray(data), dtype=getattr(torch, dtype)).reshape(tokens, dim),
            moment.key, where=whereabouts(frame, *position), reason=reason,
            mask=None if mask[0] is None else Rle(*mask))

    def _row(self, moment: Moment) -> tuple:
        """An observation's columns, the last four the place of its tokens. Raises PixelReferError
        MEMORY where it was forgotten."""
        rows = self.query(
            'SELECT object, stamp_ns, camera, epoch, x, y, width, height, area, mask, mask_height, '
            'mask_width, position_frame, px, py, pz, covariance, reason, tokens, dim, dtype, '
            'segment, offset, length, crc FROM observations WHERE number = ?', (moment.number,))
        if not rows:
            raise PixelReferError('MEMORY', f'the observation of {moment.object_id!r} at '
                                  f'{moment.stamp_ns / 1e9:.3f} s was forgotten')
        return rows[0]

    def count(self, table: str) -> int:
        """How many objects, observations, events or answers are stored."""
        return self.query(f'SELECT count(*) FROM {table}')[0][0]

    def where(self, object_id: str) -> Whereabouts | None:
        """Where an object was when its place was known last, or None."""
        rows = self.query(
            'SELECT position_frame, px, py, pz, covariance FROM observations WHERE object = ? '
            'AND position_frame IS NOT NULL ORDER BY line DESC, stamp_ns DESC LIMIT 1',
            (object_id,))
        return whereabouts(*rows[0]) if rows else None

    def bytes(self) -> int:
        """Bytes of the database, its log and the segment files."""
        if self._path is None:
            pages, free, size = (self.query(f'PRAGMA {name}')[0][0]
                                 for name in ('page_count', 'freelist_count', 'page_size'))
            return self.segments.bytes() + (pages - free) * size
        total = self.segments.bytes()
        for end in ('', '-wal'):
            with suppress(FileNotFoundError):
                total += Path(f'{self._path}{end}').stat().st_size
        return total
