# SPDX-License-Identifier: Apache-2.0
"""Child processes that never outlive their parent, and a ROS domain for them alone."""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType

#: From SIGINT to SIGKILL: the node answers what is pending and joins its workers meanwhile.
GRACE_S = 10.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == 'linux' else None


def _die_with_parent() -> None:
    """Between fork and exec: SIGTERM for this process when its parent is gone, however that went
    (prctl(2); Linux only)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def own_domain() -> Iterator[int]:
    """A ROS_DOMAIN_ID, 1 to 99, that nobody else who asks here uses for as long as this lasts.

    Raises RuntimeError when every one is taken.
    """
    for domain in range(1, 100):
        path = Path(tempfile.gettempdir()) / f'pixelrefer_domain_{domain}.lock'
        with ExitStack() as held:
            try:
                lock = held.enter_context(path.open('w'))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                # In use, or another user's.
                continue
            yield domain
            return
    raise RuntimeError('every ROS domain is in use')


class Processes:
    """Python modules run as processes. A context manager: leaving it ends every one.

    environment: added to this process's own. log: the file that output goes to unless shown.
    """

    def __init__(self, environment: Mapping[str, str], log: Path,
                 grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._environment = {**os.environ, **environment, 'PYTHONUNBUFFERED': '1'}
        self._log_path = log
        self._children: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> 'Processes':
        self._log = self._log_path.open('wb')
        return self

    def __exit__(self, kind: type | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            self.end()
        finally:
            self._log.close()

    def start(self, name: str, module: str, *args: object, shown: bool = False) -> int:
        """Run `python -m module args...` and return its process id; `shown` gives it this
        process's own output.

        Each is in a session of its own: Ctrl-C reaches this process only, which ends the others.
        """
        out = None if shown else self._log
        self._children[name] = subprocess.Popen(
            [sys.executable, '-m', module, *map(str, args)], env=self._environment,
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            preexec_fn=_die_with_parent)
        return self._children[name].pid

    def wait_for(self, name: str, needed: Sequence[str] = ()) -> int | None:
        """The exit status of `name`, or None when one of `needed` ends before it."""
        while True:
            status = self._children[name].poll()
            if status is not None:
                return status
            if any(self._children[other].poll() is not None for other in needed):
                return None
            time.sleep(0.1)

    def end(self) -> None:
        """SIGINT to every process, newest first, SIGKILL to those that do not end."""
        running = [child for child in reversed(self._children.values()) if child.poll() is None]
        for child in running:
            child.send_signal(signal.SIGINT)
        until = time.monotonic() + self._grace_s
        try:
            for child in running:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.1, until - time.monotonic()))
        finally:
            # Also when the user is impatient and interrupts the waiting.
            for child in running:
                if child.poll() is None:
                    child.kill()
                    child.wait()
