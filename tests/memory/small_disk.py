# SPDX-License-Identifier: Apache-2.0
"""Disks that are full or may not be written: real ones where this user may mount, else a limit."""

import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def may_mount() -> bool:
    """Whether this user may mount a file system, as in a container of root's."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with SmallDisk(Path(folder), 64):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


class SmallDisk:
    """A file system of so many KiB at a folder. A context manager."""

    def __init__(self, folder: Path, kib: int) -> None:
        self.folder = folder
        self._kib = kib

    def __enter__(self) -> 'SmallDisk':
        _run('mount', '-t', 'tmpfs', '-o', f'size={self._kib}k', 'tmpfs', self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        _run('umount', '-l', self.folder)

    def fill(self) -> Path:
        """Take all the room there is; delete the file that is returned to give it back."""
        filler = self.folder / 'filler'
        with filler.open('wb', buffering=0) as file:
            try:
                while file.write(bytes(1 << 12)):
                    pass
            except OSError:
                pass
        return filler

    def protect(self) -> None:
        """Nothing can be written from now on."""
        _run('mount', '-o', 'remount,ro', self.folder)


@contextmanager
def files_of_at_most(bytes_: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: what a full disk does, for one file, to any user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
