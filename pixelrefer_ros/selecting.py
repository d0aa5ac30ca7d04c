# SPDX-License-Identifier: Apache-2.0
"""What a request to add objects asks of the tracking worker, and what became of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import Prompt
from pixelrefer_ros.objects import Entry


@dataclass(frozen=True)
class Selection:
    """One prompt of a request. prompt(width, height): the prompt on a frame of that size, made
    when the frame is there, so that no more than one is held at a time; raises PixelReferError
    where it is none."""

    object_id: str
    prompt: Callable[[int, int], Prompt] = field(repr=False)


@dataclass(frozen=True)
class Selected:
    """What became of a Selection."""

    object_id: str
    error: PixelReferError | None
    entry: Entry | None


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
