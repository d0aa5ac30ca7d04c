# SPDX-License-Identifier: Apache-2.0
"""What the demo's tests share."""

import time
from collections.abc import Callable

#: Ends what hangs; nothing is measured against it.
WATCHDOG_S = 60.0


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for an event, not for a time."""
    end = time.monotonic() + WATCHDOG_S
    while not true():
        assert time.monotonic() < end, f'nothing came: {what}'
        time.sleep(0.02)


def stamp_ns(message: object) -> int:
    """The header's stamp in nanoseconds."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
