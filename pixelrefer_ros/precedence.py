# SPDX-License-Identifier: Apache-2.0
"""Tracking comes first where both share a CPU: a frame that is late is lost, an answer is not.

Nice values (`worker.be_nice`) do not reach inside one Python process: whoever holds the
interpreter's lock is waited for, however nice it is. So the language model asks before each token,
and waits until the piece of tracking that is under way has ended.
"""

from threading import Condition


class Precedence:
    """A context manager of the one who comes first. `give_way` is called by others.

    most: seconds that each call of it takes at most, which bounds how much longer an answer takes.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._changed = Condition()
        #: Number of the piece of work that is under way, None between two of them.
        self._under_way: int | None = None
        self._begun = 0

    def __enter__(self) -> 'Precedence':
        with self._changed:
            self._begun += 1
            self._under_way = self._begun
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._under_way = None
            self._changed.notify_all()

    def give_way(self) -> None:
        """Return when the work that is under way now has ended, or after `most` seconds."""
        with self._changed:
            number = self._under_way
            if number is not None:
                self._changed.wait_for(lambda: self._under_way != number, self._most)
