# SPDX-License-Identifier: Apache-2.0
"""Objects selected on the command line: what `--box`, `--point`, `--mask` and `--words` are given.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from pixelrefer_model.detection import check_words
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import Box, Click, MaskPrompt, Prompt
from pixelrefer_model.video import read_mask

#: More are refused: each has its own share of every frame's work.
MOST_OBJECTS = 32
_FRAME = re.compile(r'(\d{1,9}):(.*)', re.DOTALL)


@dataclass(frozen=True)
class Named:
    """An object that a detector finds by these words on the frame itself."""

    words: str

    def check(self, _width: int, _height: int) -> None:
        """Raise PixelReferError NO_PROMPT, QUESTION_TOO_LONG or SPECIAL_TOKEN."""
        check_words(self.words)


@dataclass(frozen=True)
class Selection:
    """An object: its id (`object1`, `object2`, ... in order), the number of the frame on which it
    is selected (None: the first that is looked at), and how. said: as it was typed."""

    object_id: str
    frame: int | None
    prompt: Prompt | Named
    said: str


def read_selections(typed: list[tuple[str, str]]) -> list[Selection]:
    """The objects that were selected. Raises PixelReferError: NO_PROMPT, TOO_MANY_OBJECTS,
    BAD_BOX, BAD_POINTS, NOT_FINITE, BAD_IMAGE."""
    if not typed:
        raise PixelReferError(
            'NO_PROMPT', 'no object is selected; --box, --point, --mask or --words does')
    if len(typed) > MOST_OBJECTS:
        raise PixelReferError('TOO_MANY_OBJECTS', f'{len(typed)} objects are selected; 1 to '
                                                  f'{MOST_OBJECTS} are allowed')
    return [_read(f'object{n}', kind, text) for n, (kind, text) in enumerate(typed, start=1)]


def check_selections(selections: list[Selection], width: int, height: int) -> None:
    """Raise what `Prompt.check` raises, naming the object, before any model is loaded."""
    for selection in selections:
        try:
            selection.prompt.check(width, height)
        except PixelReferError as error:
            raise PixelReferError(error.code, f'{selection.said}: {error.message}') from None


def _read(object_id: str, kind: str, text: str) -> Selection:
    said = f'--{kind} {text}'
    match = _FRAME.fullmatch(text)
    frame, place = (int(match[1]), match[2]) if match else (None, text)
    if kind == 'mask':
        return Selection(object_id, frame, MaskPrompt(read_mask(Path(place).expanduser())), said)
    if kind == 'words':
        return Selection(object_id, frame, Named(place), said)
    count, code = (4, 'BAD_BOX') if kind == 'box' else (2, 'BAD_POINTS')
    try:
        numbers = [float(part) for part in place.split(',')]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        form = 'X0,Y0,X1,Y1' if kind == 'box' else 'X,Y'
        raise PixelReferError(code, f'{said}: {form} is allowed, in pixels')
    if not all(map(math.isfinite, numbers)):
        raise PixelReferError('NOT_FINITE', f'{said}: finite pixels are allowed')
    return Selection(object_id, frame, Box(*numbers) if kind == 'box' else Click.at(*numbers), said)
