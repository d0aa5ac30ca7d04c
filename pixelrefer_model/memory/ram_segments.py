# SPDX-License-Identifier: Apache-2.0
"""Segments that lie in RAM, for a memory that nobody is to find on a disk."""

import zlib

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.segments import SEGMENT_BYTES, Place


class RamSegments:
    """As Segments, with bytes in the place of files; all of it is gone with the process."""

    def __init__(self, most_bytes: int = SEGMENT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._number = 0
        self._data: dict[int, bytearray] = {}

    def __enter__(self) -> 'RamSegments':
        return self

    def __exit__(self, *_: object) -> None:
        self._data.clear()

    @property
    def newest(self) -> int:
        """Number of the segment that is appended to; 0 before the first."""
        return self._number

    def numbers(self) -> list[int]:
        """Numbers of the segments that are there, rising."""
        return sorted(self._data)

    def bytes(self) -> int:
        """Bytes of all segments."""
        return sum(map(len, list(self._data.values())))

    def size(self, number: int) -> int:
        """Bytes of a segment."""
        return len(self._data[number])

    def begin_next(self) -> None:
        """Append to a new segment from now on."""
        self._number += 1

    def append(self, data: bytes) -> Place:
        """Append tokens."""
        if not self._number or len(self._data.get(self._number, b'')) >= self._most_bytes:
            self.begin_next()
        segment = self._data.setdefault(self._number, bytearray())
        place = Place(self._number, len(segment), len(data), zlib.crc32(data))
        segment.extend(data)
        return place

    def sync(self) -> None:
        """Nothing has to reach a disk."""

    @property
    def end(self) -> tuple[int, int]:
        """Number of the newest segment and its bytes, for `cut`."""
        return self._number, len(self._data.get(self._number, b''))

    def cut(self, end: tuple[int, int]) -> None:
        """Let go of all that was appended since this was the `end`."""
        self._number, size = end
        for number in [one for one in self._data if one > self._number]:
            del self._data[number]
        if self._number in self._data:
            del self._data[self._number][size:]

    def read(self, place: Place) -> bytes:
        """The bytes at a place. Raises PixelReferError MEMORY where the segment was dropped."""
        # A slice of it is a copy: a view would keep it from growing meanwhile.
        data = bytes(self._data.get(place.segment, b'')[place.offset:place.offset + place.length])
        if len(data) != place.length or zlib.crc32(data) != place.crc:
            # It was dropped, or is just being overwritten.
            raise PixelReferError(
                'MEMORY', f'segment {place.segment} was dropped; these tokens are lost')
        return data

    def drop(self, number: int, *, overwrite: bool = False) -> None:
        """Let go of a segment; with `overwrite` its bytes are zeroed before."""
        if number == self._number:
            self.begin_next()
        segment = self._data.pop(number)
        if overwrite:
            segment[:] = bytes(len(segment))
