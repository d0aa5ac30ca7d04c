# SPDX-License-Identifier: Apache-2.0
"""Taking a memory out: all that is remembered as lines of JSON, tokens as safetensors files."""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.record import Moment, Remembered
from pixelrefer_model.memory.store import MemoryStore

#: Name of what is written beside the tokens.
RECORDS = 'memory.jsonl'


@dataclass(frozen=True)
class Exported:
    """records: lines of RECORDS; token_files: one for each object; left_out: observations whose
    tokens went meanwhile or are damaged."""

    records: int
    token_files: int
    left_out: int


def export(store: MemoryStore, into: Path, *, tokens: bool = False) -> Exported:
    """Write all that is remembered to a folder that is made, or is empty: as a whole, or with an
    error not at all, and nothing that was there before is touched. Whoever records meanwhile may go
    on; what he lets go of after its line was written is left out of the tokens and counted.

    tokens: the object tokens too. A file's keys are the numbers of the observations; the object's
    id is in its metadata. Raises PixelReferError MEMORY.
    """
    into = into.absolute()
    try:
        if into.exists() and (not into.is_dir() or any(into.iterdir())):
            raise PixelReferError('MEMORY', f'{into} is not an empty folder; one that is empty, or '
                                  'is not there yet, is allowed')
        into.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into.parent, prefix=f'.{into.name}-') as place:
            made = Path(place) / into.name
            made.mkdir()
            exported = _fill(store, made, tokens)
            os.replace(made, into)
    except OSError as error:
        raise PixelReferError('MEMORY', f'{into}: {error.strerror}; a folder that can be written, '
                              'on a disk with room, is allowed') from error
    except SafetensorError as error:
        raise PixelReferError('MEMORY', f'{into}: {error}; a disk with room is allowed') from error
    return exported


def records(store: MemoryStore) -> Iterator[dict[str, Any]]:
    """Observations, events and answers, in the order of time, as plain values."""
    rows = [
        (line, stamp, 0, {
            'kind': 'observation', 'object': object_id, 'camera': camera, 'time': time(line, stamp),
            'epoch': epoch, 'reason': reason, 'box': [x, y, width, height], 'area': area,
            'mask': None if mask is None else {
                'counts': mask, 'height': mask_height, 'width': mask_width},
            'where': None if frame is None else {'frame': frame, 'position': [px, py, pz]},
            'tokens': tokens, 'key': key, 'number': number})
        for (number, object_id, line, stamp, epoch, camera, x, y, width, height, area, mask,
             mask_height, mask_width, frame, px, py, pz, reason, tokens, key) in store.query(
            'SELECT o.number, object, line, stamp_ns, epoch, camera, x, y, width, height, area, '
            'mask, mask_height, mask_width, position_frame, px, py, pz, reason, tokens, k.key '
            'FROM observations o JOIN keys k ON k.number = o.key')]
    rows += [(line, stamp, 1, {
        'kind': 'event', 'object': object_id, 'other': other, 'time': time(line, stamp),
        'epoch': epoch, 'event': kind, 'text': text})
        for object_id, other, line, epoch, stamp, kind, text in store.query(
            'SELECT object, other, line, epoch, stamp_ns, kind, text FROM events')]
    rows += [(line, stamp, 2, {
        'kind': 'answer', 'objects': json.loads(objects), 'time': time(line, stamp),
        'epoch': epoch, 'question': question, 'text': text, 'confidence': confidence,
        'model': model})
        for line, epoch, stamp, question, text, confidence, model, objects in store.query(
            'SELECT line, epoch, stamp_ns, question, text, confidence, model, objects '
            'FROM answers')]
    return (record for *_, record in sorted(rows, key=lambda row: row[:3]))


def time(line: int, stamp_ns: int) -> dict[str, int]:
    """line: of time, a new one begins where stamps go back."""
    return {'line': line, 'stamp_ns': stamp_ns}


def _fill(store: MemoryStore, folder: Path, tokens: bool) -> Exported:
    count = files = left_out = 0
    with (folder / RECORDS).open('w', encoding='utf-8') as out:
        for count, record in enumerate(records(store), 1):
            out.write(json.dumps(record) + '\n')
    for files, one in enumerate(store.objects() if tokens else (), 1):
        left_out += _fill_tokens(store, one, folder / f'{files - 1:04d}.safetensors')
    return Exported(count, files, left_out)


def _fill_tokens(store: MemoryStore, one: Remembered, path: Path) -> int:
    """Write the tokens of an object; returns how many observations are left out."""
    moments = [Moment(*row) for row in store.query(
        'SELECT o.number, o.object, o.line, o.stamp_ns, o.reason, k.key FROM observations o '
        'JOIN keys k ON k.number = o.key WHERE o.object = ? ORDER BY o.number', (one.object_id,))]
    kept = {}
    for moment in moments:
        try:
            kept[str(moment.number)] = store.observations([moment])[0].tokens
        except PixelReferError:     # gone meanwhile, or damaged: counted
            continue
    save_file(kept, path, metadata={'object': one.object_id})
    return len(moments) - len(kept)
