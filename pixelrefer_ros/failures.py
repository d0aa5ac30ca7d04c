# SPDX-License-Identifier: Apache-2.0
"""How a worker fares: how often it failed in a row and why, so that no fault stays silent."""

from dataclasses import dataclass
from threading import Lock

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros.diagnostics import ERROR, OK, WARN

#: Failures in a row from which on a worker counts as broken, and no longer as one that stumbled.
BROKEN = 5


@dataclass(frozen=True)
class Fault:
    """The newest failure of one kind of work, and how many there were in a row."""

    row: int
    error: PixelReferError


class Failures:
    """Failures of a worker, by the work that failed; bounded by the number of its kinds. Any thread
    may tell of one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._faults: dict[str, Fault] = {}

    def failed(self, error: PixelReferError, work: str) -> None:
        """Work of this kind failed; work: as `tracking`, completes "... failed"."""
        with self._lock:
            before = self._faults.get(work)
            self._faults[work] = Fault(before.row + 1 if before else 1, error)

    def succeeded(self, work: str) -> None:
        """Work of this kind was done: what failed before counts no more."""
        with self._lock:
            self._faults.pop(work, None)

    def verdict(self, well: str) -> tuple[bytes, str]:
        """Level and message of a diagnostic status; well: the message where nothing failed."""
        with self._lock:
            faults = dict(self._faults)
        if not faults:
            return OK, well
        work = max(faults, key=lambda name: faults[name].row)
        fault = faults[work]
        times = 'the last time' if fault.row == 1 else f'{fault.row} times in a row'
        said = f'{work} failed {times}: {fault.error.code}: {fault.error.message}'
        if fault.row < BROKEN:
            return WARN, said
        return ERROR, f'{said}; if it lasts, deactivate and activate the node'
