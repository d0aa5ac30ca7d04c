# SPDX-License-Identifier: Apache-2.0
"""Counts of what happened to frames, observations and questions, and how fast."""

import time
from collections import Counter, deque
from threading import Lock

#: Seconds and events over which rates and latencies are taken.
SPAN, MOST_EVENTS = 5.0, 512


class Counters:
    """Named counts, with rate and latency of those that are timed. Any thread may count."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[str] = Counter()
        self._timed: dict[str, deque[tuple[float, float]]] = {}

    def add(self, name: str, number: int = 1) -> None:
        """Count."""
        with self._lock:
            self._counts[name] += number

    def timed(self, name: str, seconds: float) -> None:
        """Count one that took `seconds`."""
        with self._lock:
            self._counts[name] += 1
            self._timed.setdefault(name, deque(maxlen=MOST_EVENTS)).append(
                (time.monotonic(), seconds))

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._counts[name]

    def rate(self, name: str) -> float:
        """Per second, over the last SPAN seconds."""
        now = time.monotonic()
        with self._lock:
            recent = [at for at, _ in self._timed.get(name, ()) if now - at <= SPAN]
        if len(recent) < 2 or recent[-1] == recent[0]:
            return len(recent) / SPAN
        return (len(recent) - 1) / (recent[-1] - recent[0])

    def latency(self, name: str) -> float:
        """Median seconds, over the last MOST_EVENTS; 0 for none."""
        with self._lock:
            took = sorted(seconds for _, seconds in self._timed.get(name, ()))
        return took[len(took) // 2] if took else 0.0
