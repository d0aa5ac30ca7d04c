# SPDX-License-Identifier: Apache-2.0
"""What `describe` and `ask` print and draw."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pixelrefer_model.answer import Answer
from pixelrefer_model.cli.selection import Selection
from pixelrefer_model.cli.watching import Watched
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.overlay import Shown, draw
from pixelrefer_model.sam2 import TrackState

_DIGITS = 4
#: Kinds of pictures that are written.
PICTURES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp')

Answered = Sequence[tuple[str, Answer]]


def as_text(answers: Answered) -> str:
    """The answers, one a line; where there are several, each behind its object."""
    if len(answers) == 1:
        return answers[0][1].text + _cut(answers[0][1])
    return '\n'.join(f'{", ".join(answer.object_ids)}: {answer.text}{_cut(answer)}'
                     for _, answer in answers)


def _cut(answer: Answer) -> str:
    """What the text does not say of itself."""
    return ''.join((
        ' [...]' if answer.reason == 'length' else '',
        ' [too little or too unclear to be seen]' if answer.abstained else '',
        f' [{answer.left_out} moments left out]' if answer.left_out else ''))


def as_json(given: argparse.Namespace, selections: Sequence[Selection], watched: Watched,
            answers: Answered) -> dict[str, Any]:
    """Everything that is known of the objects and answers. Boxes are x, y, width, height in
    pixels, areas pixels; `seconds` are the times that an answer rests on."""
    said = {one.object_id: one.said for one in selections}
    return {
        'file': str(given.file),
        'models': {'tracker': given.tracker, 'refer': given.refer},
        'objects': [{
            'id': track.object_id, 'selected': said[track.object_id],
            'selected_on_frame': watched.selected_on[track.object_id],
            'state': track.state.name, 'score': round(track.score, _DIGITS),
            'box': None if track.box is None else [int(side) for side in track.box],
            'area': track.area} for track in watched.tracks],
        'answers': [{
            'objects': answer.object_ids, 'question': question, 'text': answer.text,
            'confidence': round(answer.confidence, _DIGITS), 'abstained': answer.abstained,
            'seconds': [round(stamp_ns / 1e9, 3) for stamp_ns in answer.stamps_ns],
            'left_out': answer.left_out, 'reason': answer.reason, 'tokens': answer.tokens,
        } for question, answer in answers],
    }


def picture(watched: Watched) -> np.ndarray:
    """The last frame with its objects drawn, uint8 [H, W, 3] RGB."""
    states = {TrackState.TRACKED: '', TrackState.UNCERTAIN: ' ?'}
    return draw(watched.frame.image, [
        Shown(track.object_id + states.get(track.state, f' {track.state.value}'), index,
              track.mask, track.box)
        for index, track in enumerate(watched.tracks, start=1)])


def check_writable(file: Path) -> None:
    """Raise PixelReferError BAD_ENCODING unless a picture can be written there."""
    if not file.parent.is_dir():
        raise PixelReferError('BAD_ENCODING', f'{file}: there is no folder {file.parent}')
    if file.suffix.lower() not in PICTURES:
        raise PixelReferError('BAD_ENCODING', f'{file}: the ending says no kind of picture that '
                                              'can be written; .png or .jpg is allowed')


def write(file: Path, image: np.ndarray) -> None:
    """Write a picture, uint8 [H, W, 3] RGB. Raises PixelReferError INTERNAL where the disk
    refuses it."""
    data = cv2.imencode(file.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    try:
        file.write_bytes(data.tobytes())
    except OSError as error:
        raise PixelReferError('INTERNAL', f'{file}: cannot be written ({error.strerror})'
                              ) from error
