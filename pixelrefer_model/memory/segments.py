# SPDX-License-Identifier: Apache-2.0
"""Segment files: object tokens on disk, only ever appended, and dropped a file at a time.

Deleting single tokens would rewrite gigabytes. So they lie in files of a bounded size, and the
database says where each of them is; a file goes when what is still wanted of it was appended to the
newest one. Bytes that the database knows nothing of, left by a process that was killed, are cut off
when the file is opened.
"""

import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pixelrefer_model.errors import PixelReferError

SEGMENT_BYTES = 16 << 20


@dataclass(frozen=True)
class Place:
    """Where tokens lie: number of the segment, first byte, bytes, and their CRC-32."""

    segment: int
    offset: int
    length: int
    crc: int


class Segments:
    """The segment files of a folder, a context manager. One thread appends and drops; any thread
    may read what was appended and not dropped.

    most_bytes: a file that has as many is not appended to any more.
    """

    def __init__(self, folder: Path, most_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._number = max(self.numbers(), default=0)
        self._file: BinaryIO | None = None
        self._synced = True

    def __enter__(self) -> 'Segments':
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def newest(self) -> int:
        """Number of the file that is appended to; 0 before the first."""
        return self._number

    def numbers(self) -> list[int]:
        """Numbers of the files that are there, rising."""
        return sorted(int(path.stem) for path in self._folder.glob('*.tokens')
                      if path.stem.isdigit())

    def bytes(self) -> int:
        """Bytes of all files."""
        total = 0
        for number in self.numbers():
            with suppress(FileNotFoundError):   # it may be dropped just now
                total += self._path(number).stat().st_size
        return total

    def size(self, number: int) -> int:
        """Bytes of a file."""
        return self._path(number).stat().st_size

    def begin_next(self) -> None:
        """Append to a new file from now on. Raises OSError."""
        self.sync()
        self._close()
        self._number += 1

    def settle(self, ends: dict[int, int]) -> None:
        """Cut off what is not known of: after the last known byte of each file, and whole files.
        ends: that byte by number of the file."""
        for number in self.numbers():
            end = ends.get(number, 0)
            if not end:
                # It may be one that was being forgotten.
                self.drop(number, overwrite=True)
            elif self._path(number).stat().st_size > end:
                os.truncate(self._path(number), end)

    def append(self, data: bytes) -> Place:
        """Append tokens; they are in the file, though not yet on the disk, when this returns.
        Raises OSError."""
        if self._file is None or self._file.tell() >= self._most_bytes:
            self._begin()
        offset, rest = self._file.tell(), memoryview(data)
        self._synced = False
        try:
            while rest:     # a full disk takes a part, and refuses only the next
                rest = rest[self._file.write(rest):]
        except OSError:
            self.cut((self._number, offset))
            raise
        return Place(self._number, offset, len(data), zlib.crc32(data))

    def sync(self) -> None:
        """Let the disk have what was appended. Raises OSError."""
        if self._file is not None and not self._synced:
            os.fsync(self._file.fileno())
        self._synced = True

    @property
    def end(self) -> tuple[int, int]:
        """Number of the newest file and its bytes, for `cut`."""
        path = self._path(self._number)
        return self._number, path.stat().st_size if path.exists() else 0

    def cut(self, end: tuple[int, int]) -> None:
        """Let go of all that was appended since this was the `end`. Raises OSError."""
        self._close()
        self._number, size = end
        for number in self.numbers():
            if number > self._number:
                self._path(number).unlink()
        path = self._path(self._number)
        if path.exists() and path.stat().st_size > size:
            os.truncate(path, size)

    def read(self, place: Place) -> bytes:
        """The bytes at a place. Raises PixelReferError MEMORY where they are not what was
        appended."""
        path = self._path(place.segment)
        try:
            with path.open('rb') as file:
                file.seek(place.offset)
                data = file.read(place.length)
        except OSError as error:
            raise PixelReferError('MEMORY', f'{path}: {error.strerror}; these tokens are lost'
                                  ) from error
        if len(data) != place.length or zlib.crc32(data) != place.crc:
            raise PixelReferError(
                'MEMORY', f'{path}: the {place.length} bytes at {place.offset} are not what was '
                'written; these tokens are lost')
        return data

    def drop(self, number: int, *, overwrite: bool = False) -> None:
        """Delete a file, if it is there; with `overwrite` its bytes are zeroed before. Raises
        PixelReferError MEMORY where the disk refuses."""
        path = self._path(number)
        try:
            if number == self._number:
                self.begin_next()
            if overwrite and path.exists():
                with path.open('r+b') as file:
                    file.write(bytes(path.stat().st_size))
                    file.flush()
                    os.fsync(file.fileno())
            path.unlink(missing_ok=True)
        except OSError as error:
            raise PixelReferError('MEMORY', f'{path}: {error.strerror}; its tokens are still there'
                                  ) from error

    def _begin(self) -> None:
        """Open the newest file, or begin another where it is full."""
        self.sync()
        self._close()
        self._number = max(self._number, 1)
        path = self._path(self._number)
        if path.exists() and path.stat().st_size >= self._most_bytes:
            self._number += 1
            path = self._path(self._number)
        new = not path.exists()
        self._file = path.open('ab', buffering=0)
        if new:
            _sync_folder(self._folder)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _path(self, number: int) -> Path:
        return self._folder / f'{number:08d}.tokens'


def _sync_folder(folder: Path) -> None:
    """Let the disk have the names of a folder's files."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
