# SPDX-License-Identifier: Apache-2.0
"""Text as it grows: whole characters only, and nothing of a stop word."""

import codecs
from collections.abc import Sequence


class TextStream:
    """Bytes of tokens in, text that may be shown out.

    What may be the beginning of a stop word is held back until it is one (the answer ends before
    it) or is not.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        """Raises ValueError for an empty stop word."""
        if not all(stop):
            raise ValueError('an empty stop word would end every answer at once')
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder('utf-8')(errors='replace')
        self._held = ''
        #: A stop word came; no text follows.
        self.stopped = False

    def feed(self, data: bytes) -> str:
        """Text that a token completes."""
        return self._show(self._decoder.decode(data))

    def end(self) -> str:
        """What is still held when no token follows; half a character becomes U+FFFD."""
        return self._show(self._decoder.decode(b'', final=True)) + self._rest()

    def _show(self, text: str) -> str:
        if self.stopped:
            return ''
        text = self._held + text
        found = [at for at in map(text.find, self._stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ''
            return text[:min(found)]
        held = max((n for word in self._stop for n in range(1, len(word))
                    if text.endswith(word[:n])), default=0)
        self._held = text[len(text) - held:]
        return text[:len(text) - held]

    def _rest(self) -> str:
        rest, self._held = self._held, ''
        return rest
