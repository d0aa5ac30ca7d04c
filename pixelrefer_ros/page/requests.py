# SPDX-License-Identifier: Apache-2.0
"""What a browser may ask for: JSON, checked, and made into calls of PixelReferClient.

{"request": 7, "do": "select", "camera": "", "stamp": "1000300000000", "id": "mug", "point": [9, 8]}
"""

import json
import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pixelrefer_ros.client import PixelReferClient
from pixelrefer_ros.client_stream import AnswerStream
from pixelrefer_ros.conversions import nanoseconds, time_message

#: Bytes of one message of a browser, and characters of a question in it.
MOST_BYTES, MOST_QUESTION = 16_384, 4_000
#: Ids in one message.
MOST_IDS = 64
_CAMERA = re.compile(r'([A-Za-z]\w{0,63})?', re.ASCII)
#: Stamps are strings: a number of JavaScript holds no nanoseconds. At most what a stamp can hold.
_STAMP = re.compile(r'[0-9]{1,19}')
_LAST_STAMP = ((1 << 31) - 1) * 1_000_000_000 + 999_999_999

Action = Callable[[PixelReferClient, 'Doing'], dict[str, Any]]


class Malformed(ValueError):
    """A message that the page's own script would never send."""


class Values:
    """The values of a message, each taken by its name and type. Raises Malformed."""

    def __init__(self, text: str) -> None:
        try:
            self._values = json.loads(text, parse_constant=lambda word: None)
        except (ValueError, RecursionError):
            raise Malformed('no JSON') from None
        if not isinstance(self._values, dict):
            raise Malformed('no JSON object')

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def whole(self, name: str, most: int = 1 << 53) -> int:
        value = self._values.get(name)
        if type(value) is not int or not 0 <= value <= most:
            raise Malformed(f'{name}: 0 to {most} is allowed')
        return value

    def text(self, name: str, most: int = 200) -> str:
        value = self._values.get(name, '')
        if not isinstance(value, str) or len(value) > most:
            raise Malformed(f'{name}: text of up to {most} characters is allowed')
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Malformed(f'{name}: half a character') from None
        return value

    def texts(self, name: str) -> list[str]:
        values = self._values.get(name, [])
        if not isinstance(values, list) or len(values) > MOST_IDS or not all(
                isinstance(value, str) and len(value) <= 200 and value.isascii()
                for value in values):
            raise Malformed(f'{name}: up to {MOST_IDS} ids are allowed')
        return values

    def numbers(self, name: str, count: int) -> list[float]:
        values = self._values.get(name)
        if not isinstance(values, list) or len(values) != count or not all(
                type(value) in (int, float) and abs(value) < 1e9 and math.isfinite(value)
                for value in values):
            raise Malformed(f'{name}: {count} numbers are allowed')
        return [float(value) for value in values]

    def camera(self) -> str:
        name = self.text('camera')
        if not _CAMERA.fullmatch(name):
            raise Malformed('camera: a name is allowed')
        return name

    def stamp_ns(self) -> int:
        text = self.text('stamp')
        if not _STAMP.fullmatch(text) or int(text) > _LAST_STAMP:
            raise Malformed('stamp: nanoseconds are allowed')
        return int(text)


class Doing:
    """A request that is under way. told(text): called with an answer's text so far."""

    def __init__(self, told: Callable[[str], None]) -> None:
        self.told = told
        self._lock = threading.Lock()
        self._cancelled = False
        self._stream: AnswerStream | None = None

    def streams(self, stream: AnswerStream) -> None:
        """What a cancel is to end, also one that came before."""
        with self._lock:
            self._stream, cancelled = stream, self._cancelled
        if cancelled:
            stream.cancel()

    def cancel(self) -> None:
        """End it, where it is an answer that comes word by word; others are short."""
        with self._lock:
            self._cancelled, stream = True, self._stream
        if stream is not None:
            stream.cancel()


@dataclass(frozen=True)
class Request:
    """number: the browser's own, which the reply carries; act(client, doing): calls the node and
    gives what the reply says, to be run in a thread that may wait."""

    number: int
    act: Action


def parse(values: Values) -> Request:
    """The request of a message. Raises Malformed."""
    made = ACTIONS.get(values.text('do'))
    if made is None:
        raise Malformed(f'do: {", ".join(ACTIONS)} are allowed')
    return Request(values.whole('request'), made(values))


def _select(values: Values) -> Action:
    """A new object by a click or a box, on the image that the person saw."""
    object_id, camera, stamp = values.text('id'), values.camera(), time_message(values.stamp_ns())
    how = {'box': values.numbers('box', 4)} if 'box' in values else {
        'click': values.numbers('point', 2)}
    return lambda client, _: _selected(
        client.select(object_id, camera=camera, stamp=stamp, **how))


def _correct(values: Values) -> Action:
    """A click on an object, or beside it (label 0), that there is."""
    object_id, camera, stamp = values.text('id'), values.camera(), time_message(values.stamp_ns())
    point, label = values.numbers('point', 2), values.whole('label', 1)
    return lambda client, _: _selected(client.select(
        object_id, camera=camera, stamp=stamp, points=[point], labels=[label],
        on_existing='correct'))


def _selected(reply: Any) -> dict[str, Any]:
    return {'id': reply.results[0].object.id, 'stamp_used': str(nanoseconds(reply.stamp_used))}


def _remove(values: Values) -> Action:
    """Some objects."""
    ids = values.texts('ids')
    if not ids:
        raise Malformed('ids: at least one is allowed')   # the client takes none for every one
    return lambda client, _: {'removed': client.remove(*ids)}


def _ask(values: Values) -> Action:
    """A question, answered word by word."""
    question, ids = values.text('question', MOST_QUESTION), values.texts('ids')

    def act(client: PixelReferClient, doing: Doing) -> dict[str, Any]:
        stream, text = client.stream(question, *ids), ''
        doing.streams(stream)
        for piece in stream:
            text += piece
            doing.told(text)
        return _answered(stream.answer)

    return act


def _describe(values: Values) -> Action:
    """Descriptions of some objects, or of all where none is named."""
    ids, detail = values.texts('ids'), values.text('detail') or 'sentence'
    return lambda client, _: {'answers': [
        _answered(answer) for answer in client.describe(*ids, detail=detail)]}


def _answered(answer: Any) -> dict[str, Any]:
    return {'text': answer.text, 'about': list(answer.object_ids), 'tokens': answer.tokens,
            'confidence': round(answer.confidence, 3), 'abstained': answer.abstained,
            'reason': answer.finish_reason, 'error': answer.error_msg}


ACTIONS: dict[str, Callable[[Values], Action]] = {
    'select': _select, 'correct': _correct, 'remove': _remove, 'ask': _ask, 'describe': _describe}
