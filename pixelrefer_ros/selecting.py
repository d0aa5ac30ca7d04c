# SPDX-License-Identifier: Apache-2.0
"""What a request to add objects asks of the tracking worker, and what became of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import Box, Prompt
from pixelrefer_ros.objects import Entry


@dataclass(frozen=True)
class Selection:
    """One prompt of a request. prompt(width, height): the prompt on a frame of that size, made
    when the frame is there, so that no more than one is held at a time; raises PixelReferError
    where it is none. words: what the object is named by, for a detector to make the prompt of."""

    object_id: str
    prompt: Callable[[int, int], Prompt] = field(repr=False)
    words: str = ''

    @classmethod
    def refused(cls, object_id: str, error: PixelReferError, words: str = '') -> 'Selection':
        """One that is known to be none."""

        def refuse(_width: int, _height: int) -> Prompt:
            raise error

        return cls(object_id, refuse, words)


@dataclass(frozen=True)
class Selected:
    """What became of a Selection. candidates: of one by words, boxes in pixels and their scores, 0
    to 1, the best first."""

    object_id: str
    error: PixelReferError | None
    entry: Entry | None
    candidates: tuple[tuple[Box, float], ...] = ()


@dataclass
class AddRequest:
    """Objects to be added on one frame.

    stamp_ns: of the frame, None for the newest. on_existing: 'REJECT', 'CORRECT' or 'REPLACE'.
    done(results, stamp of the frame used) or failed(error) is called by the worker; only the first
    of these calls counts. expires: monotonic seconds, until when the frame is waited for.
    """

    selections: list[Selection]
    stamp_ns: int | None
    on_existing: str
    epoch: int
    expires: float
    done: Callable[[list[Selected], int], None]
    failed: Callable[[PixelReferError], None]
