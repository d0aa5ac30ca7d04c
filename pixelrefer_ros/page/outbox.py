# SPDX-License-Identifier: Apache-2.0
"""What waits to be sent to one browser: of each subject the newest message, never more."""

import asyncio
import threading

Message = str | bytes


class Outbox:
    """One waiting message for each subject. Its size is bounded by the number of subjects, however
    slow the browser is: what was not sent in time is replaced, not queued.

    `put` may be called from any thread, the rest on the loop that the outbox was made on.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: dict[str, Message] = {}
        self._held: frozenset[str] = frozenset()
        self._called = False
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, subject: str, message: Message) -> None:
        """Leave a message, in the place of one of the same subject that was not sent yet."""
        with self._lock:
            self._waiting[subject] = message
            called, self._called = self._called, True
        if not called:
            self._loop.call_soon_threadsafe(self._wake)

    def hold(self, *subjects: str) -> None:
        """Keep these back until `release`."""
        self._held = frozenset(subjects)

    def release(self) -> None:
        """Send what was kept back."""
        self._held = frozenset()
        self._news.set()

    def drop(self, *subjects: str) -> None:
        """Forget what waits of these."""
        with self._lock:
            for subject in subjects:
                self._waiting.pop(subject, None)

    async def take(self) -> tuple[str, Message]:
        """The next subject and its newest message; waits for one. For one caller at a time."""
        while True:
            self._news.clear()
            with self._lock:
                for subject in self._waiting:
                    if subject not in self._held:
                        return subject, self._waiting.pop(subject)
            await self._news.wait()

    def _wake(self) -> None:
        with self._lock:
            self._called = False
        self._news.set()
