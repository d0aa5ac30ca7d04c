# SPDX-License-Identifier: Apache-2.0
"""One process writes into a memory: two would append to one file, and each cut off what it does not
know of."""

import fcntl
import os
from pathlib import Path

from pixelrefer_model.errors import PixelReferError

NAME = 'lock'


class WriteLock:
    """A context manager that holds a folder's memory for this process. The system lets go of it
    when the process ends, however it ends. Raises PixelReferError MEMORY where another holds it, or
    the folder cannot be written."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def __enter__(self) -> 'WriteLock':
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._refused(error) from error
        try:
            self._hold()
        except BaseException:
            os.close(self._file)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def _hold(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(self._file, 0)
            os.pwrite(self._file, f'{os.getpid()}\n'.encode(), 0)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode(errors='replace').strip()
            raise PixelReferError(
                'MEMORY', f'process {holder or "?"} records into {self._path.parent}; one at a '
                'time is allowed, and reading meanwhile') from None
        except OSError as error:    # the disk may be full
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> PixelReferError:
        return PixelReferError('MEMORY', f'{self._path}: {error.strerror}; a folder that can be '
                               'written is allowed')
