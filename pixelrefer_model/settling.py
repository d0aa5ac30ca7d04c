# SPDX-License-Identifier: Apache-2.0
"""Futures whose outcome is what a function returns, or raises."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


def settle(made: Future, act: Callable[[], Any]) -> Future:
    """Let a future have what `act()` returns or raises; gives the future."""
    try:
        result = act()
    except BaseException as error:  # handed to whoever waits for it
        made.set_exception(error)
    else:
        made.set_result(result)
    return made
