# SPDX-License-Identifier: Apache-2.0
"""The requests that PixelReferClient sends, made from Python values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time

from pixelrefer.msg import Box, Pixel, Prompt, TimeWindow
from pixelrefer.srv import AddObjects
from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import conversions

_ON_EXISTING = {'reject': AddObjects.Request.REJECT, 'correct': AddObjects.Request.CORRECT,
                'replace': AddObjects.Request.REPLACE}


def selection(object_id: str, *, click: tuple[float, float] | None = None,
              points: Sequence[tuple[float, float]] = (), labels: Sequence[int] = (),
              box: tuple[float, float, float, float] | None = None,
              scribble: Sequence[tuple[float, float]] = (), mask: np.ndarray | None = None,
              text: str = '', stamp: Time | None = None, camera: str = '',
              on_existing: str = 'reject') -> AddObjects.Request:
    """One prompt, see PixelReferClient.add_async. Raises PixelReferError BAD_ON_EXISTING."""
    if on_existing not in _ON_EXISTING:
        raise PixelReferError('BAD_ON_EXISTING', f'on_existing is {on_existing!r}; '
                              f'{", ".join(_ON_EXISTING)} are allowed')
    prompt = Prompt(id=object_id, text=text, labels=list(labels))
    prompt.points = _pixels([click] if click is not None else points)
    prompt.scribble = _pixels(scribble)
    if box is not None:
        x0, y0, x1, y1 = map(float, box)
        prompt.box = [Box(x=x0, y=y0, width=x1 - x0, height=y1 - y0)]
    if mask is not None:
        prompt.mask = conversions.rle_message(np.asarray(mask, bool))
    request = AddObjects.Request(camera=camera, prompts=[prompt], use_newest=stamp is None,
                                 on_existing=_ON_EXISTING[on_existing])
    if stamp is not None:
        request.stamp = stamp
    return request


def asked(request: Any, question: str, object_ids: Sequence[str], *, max_tokens: int = 0,
          **how: Any) -> Any:
    """A question put into a request or goal; how: as in `budgeted`."""
    request.question, request.ids, request.max_tokens = question, list(object_ids), max_tokens
    return budgeted(request, **how)


def budgeted(request: Any, *, window: float | tuple[Time, Time] | None = None,
             max_frames: int = 0, deadline: float = 0.0) -> Any:
    """The bounds of an answer put into a request or goal; see PixelReferClient."""
    request.max_frames = max_frames
    request.deadline = conversions.duration_message(deadline)
    request.window = window_message(window)
    return request


def window_message(window: float | tuple[Time, Time] | None) -> TimeWindow:
    """A window as PixelReferClient takes it."""
    if isinstance(window, tuple):
        return TimeWindow(start=window[0], end=window[1])
    return TimeWindow() if window is None else TimeWindow(seconds=float(window))


def _pixels(points: Sequence[tuple[float, float]]) -> list[Pixel]:
    return [Pixel(x=float(x), y=float(y)) for x, y in points]
