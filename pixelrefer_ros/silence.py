# SPDX-License-Identifier: Apache-2.0
"""A camera that sends nothing, told in the log: once when it falls silent, once when it is back."""

import time
from typing import Any

#: Seconds without a usable image before the log says it. /diagnostics does so earlier, but a node
#: and its camera are often started together.
SILENT = 5.0


class Silence:
    """Of one camera, from its first subscription on."""

    def __init__(self, logger: Any, topic: str) -> None:
        self._logger, self._topic = logger, topic
        self._since = time.monotonic()
        self._told = False

    def check(self, quiet: float | None, why: str) -> None:
        """quiet: seconds since the newest usable image; None: there was none. why: what is known of
        the reason."""
        seconds = time.monotonic() - self._since if quiet is None else quiet
        if self._told and seconds < SILENT:
            self._told = False
            self._logger.info(f'images come on {self._topic}')
        elif not self._told and seconds >= SILENT:
            self._told = True
            self._logger.warning(
                f'no usable image on {self._topic} for {seconds:.0f} s' + (f': {why}' if why else ''))
