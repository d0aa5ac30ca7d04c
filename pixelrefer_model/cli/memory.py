# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer memory`: look at a recorded memory of objects, take it out, and make it smaller.

Looking and exporting do no harm while another process records into the folder; pruning and packing
need it for themselves.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pixelrefer_model.errors import PixelReferError

#: Name of what `export` writes beside the tokens.
RECORDS = 'memory.jsonl'
_UNITS = {'': 1, 'k': 1 << 10, 'm': 1 << 20, 'g': 1 << 30}


def add(verbs: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """The verb, its own verbs and their options."""
    parser = verbs.add_parser(
        'memory', help='look at a recorded memory of objects, or make it smaller',
        description='Look at a recorded memory of objects, take it out, and make it smaller.')
    acts = parser.add_subparsers(metavar='ACT', required=True)

    def act(name: str, run: Callable[[argparse.Namespace], Any], says: str
            ) -> argparse.ArgumentParser:
        made = acts.add_parser(name, help=says, description=f'{says[0].upper()}{says[1:]}.')
        made.add_argument('folder', type=Path, metavar='FOLDER', help='where it was recorded')
        made.add_argument('--json', action='store_true', help='JSON instead of text')
        made.set_defaults(act=run)
        return made

    act('list', _list, 'name every object, the one seen last first')
    act('show', _show, 'tell what is remembered of one object, in the order of time').add_argument(
        'object', metavar='ID', help='as in `list`')
    export = act('export', _export, f'write all but the tokens to {RECORDS} in another folder')
    export.add_argument('into', type=Path, metavar='INTO', help='folder; it is made')
    export.add_argument('--tokens', action='store_true',
                        help='the object tokens too, a safetensors file for each object')
    prune = act('prune', _prune, 'let go of what is too much, old detail before old objects')
    prune.add_argument('--bytes', type=_bytes, metavar='N', help='most bytes, as 500M or 2G')
    prune.add_argument('--age', type=float, default=0.0, metavar='SECONDS',
                       help='of image time; what is older goes')
    prune.add_argument('--observations', type=int, default=0, metavar='N',
                       help='most of one object; first and last sighting stay')
    act('vacuum', _vacuum, 'check the database, and give back what is not used any more')
    return parser


def run(given: argparse.Namespace) -> int:
    """Do what was asked. Raises PixelReferError MEMORY, UNKNOWN_ID, BAD_BUDGET."""
    found, text = given.act(given)
    print(json.dumps(found, indent=2) if given.json else text)
    return 0


# --- looking

def _list(given: argparse.Namespace) -> tuple[Any, str]:
    from pixelrefer_model.memory.store import MemoryStore
    with MemoryStore.read(given.folder) as store:
        found = [{
            'id': one.object_id, 'camera': one.camera, 'observations': one.observations,
            'first': _time(one.first_line, one.first_ns), 'last': _time(one.last_line, one.last_ns),
            'where': _place(store.where(one.object_id))} for one in store.objects()]
        held = store.bytes()
    lines = [f'{one["id"]}: {one["observations"]} observations by {one["camera"]}, '
             f'{_said(one["first"])} to {_said(one["last"])}{_at(one["where"])}' for one in found]
    lines.append(f'{len(found)} objects, {held / (1 << 20):.1f} MiB')
    return {'objects': found, 'bytes': held}, '\n'.join(lines)


def _show(given: argparse.Namespace) -> tuple[Any, str]:
    from pixelrefer_model.memory.store import MemoryStore
    with MemoryStore.read(given.folder) as store:
        ids = [one.object_id for one in store.objects()]
        if given.object not in ids:
            raise PixelReferError('UNKNOWN_ID', f'nothing is remembered of {given.object!r}; the '
                                  f'objects are: {", ".join(map(repr, ids[:50])) or "none"}')
        records = [record for record in _records(store)
                   if given.object in (record.get('object'), record.get('other'),
                                       *record.get('objects', ()))]
    return records, '\n'.join(_line(record) for record in records)


def _records(store: Any) -> Iterator[dict[str, Any]]:
    """Observations, events and answers, in the order of time."""
    rows = [
        (line, stamp, 0, {
            'kind': 'observation', 'object': object_id, 'camera': camera, 'time': _time(line, stamp),
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
        'kind': 'event', 'object': object_id, 'other': other, 'time': _time(line, stamp),
        'epoch': epoch, 'event': kind, 'text': text})
        for object_id, other, line, epoch, stamp, kind, text in store.query(
            'SELECT object, other, line, epoch, stamp_ns, kind, text FROM events')]
    rows += [(line, stamp, 2, {
        'kind': 'answer', 'objects': json.loads(objects), 'time': _time(line, stamp),
        'epoch': epoch, 'question': question, 'text': text, 'confidence': confidence,
        'model': model})
        for line, epoch, stamp, question, text, confidence, model, objects in store.query(
            'SELECT line, epoch, stamp_ns, question, text, confidence, model, objects '
            'FROM answers')]
    return (record for *_, record in sorted(rows, key=lambda row: row[:3]))


def _line(record: dict[str, Any]) -> str:
    told = {
        'observation': lambda: f'seen ({record["reason"]}), box {record["box"]}'
                               f'{_at(record["where"])}',
        'event': lambda: f'{record["object"]} {record["event"]} {record["other"]}'.rstrip(),
        'answer': lambda: f'{record["question"]!r}: {record["text"]!r} '
                          f'(confidence {record["confidence"]:.2f})'}
    return f'{_said(record["time"])}  {told[record["kind"]]()}'


# --- taking out

def _export(given: argparse.Namespace) -> tuple[Any, str]:
    from pixelrefer_model.memory.store import MemoryStore
    files = 0
    with MemoryStore.read(given.folder) as store:
        try:
            given.into.mkdir(parents=True, exist_ok=True)
            count = 0
            with (given.into / RECORDS).open('w', encoding='utf-8') as out:
                for count, record in enumerate(_records(store), 1):
                    out.write(json.dumps(record) + '\n')
            for number, one in enumerate(store.objects() if given.tokens else ()):
                _export_tokens(store, one, given.into / f'{number:04d}.safetensors')
                files += 1
        except OSError as error:
            raise PixelReferError('MEMORY', f'{given.into}: {error.strerror}; a folder that can be '
                                  'written is allowed') from error
    return ({'records': count, 'token_files': files, 'folder': str(given.into)},
            f'{count} records and {files} files of tokens in {given.into}')


def _export_tokens(store: Any, one: Any, path: Path) -> None:
    """The tokens of an object, by the numbers of its observations."""
    from safetensors.torch import save_file

    from pixelrefer_model.memory.record import Moment
    moments = [Moment(*row) for row in store.query(
        'SELECT o.number, o.object, o.line, o.stamp_ns, o.reason, k.key FROM observations o '
        'JOIN keys k ON k.number = o.key WHERE o.object = ? ORDER BY o.number', (one.object_id,))]
    save_file({str(moment.number): seen.tokens for moment, seen in zip(
        moments, store.observations(moments))}, path, metadata={'object': one.object_id})


# --- making smaller

def _prune(given: argparse.Namespace) -> tuple[Any, str]:
    from pixelrefer_model.memory.bounds import Bounds
    from pixelrefer_model.memory.store import MemoryStore
    from pixelrefer_model.memory.trimming import Trimmed, trim
    if given.bytes is None and not given.age and not given.observations:
        raise PixelReferError('BAD_BUDGET', 'there is no bound to prune to; --bytes, --age, '
                              '--observations are allowed')
    bounds = Bounds(1 << 62 if given.bytes is None else given.bytes, given.age, given.observations)
    with MemoryStore.open(_there(given.folder)) as store:
        before, gone = store.bytes(), Trimmed()
        held = before
        while True:
            now = trim(store, bounds)
            # Pages that were freed count until they are given back.
            store.pack()
            gone, after = gone + now, store.bytes()
            if not (now.observations or now.objects or after < held):
                break
            held = after
    return ({'observations': gone.observations, 'objects': gone.objects, 'bytes_before': before,
             'bytes': after},
            f'{gone.observations} observations went, and {gone.objects} objects wholly; '
            f'{before / (1 << 20):.1f} MiB before, {after / (1 << 20):.1f} MiB now')


def _vacuum(given: argparse.Namespace) -> tuple[Any, str]:
    from pixelrefer_model.memory.store import MemoryStore
    with MemoryStore.open(_there(given.folder)) as store:
        before = store.bytes()
        said = store.query('PRAGMA integrity_check')[0][0]
        if said != 'ok':
            raise PixelReferError('MEMORY', f'{given.folder}: {said}')
        store.pack()
        after = store.bytes()
    return ({'integrity': said, 'bytes_before': before, 'bytes': after},
            f'the database is whole; {before / (1 << 20):.1f} MiB before, '
            f'{after / (1 << 20):.1f} MiB now')


def _there(folder: Path) -> Path:
    """The folder, if there is a memory in it: none is begun here. Raises PixelReferError MEMORY."""
    from pixelrefer_model.memory.store import DATABASE
    if not (folder / DATABASE).exists():
        raise PixelReferError('MEMORY', f'there is no {folder / DATABASE}; a folder that a memory '
                              'was recorded into is allowed')
    return folder


def _bytes(text: str) -> int:
    match = re.fullmatch(r'(\d+)([kmg]?)(i?b)?', text.lower())
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r} is no size; 500M or 2G is')
    return int(match[1]) * _UNITS[match[2]]


# --- words

def _time(line: int, stamp_ns: int) -> dict[str, int]:
    """line: of time, a new one begins where stamps go back."""
    return {'line': line, 'stamp_ns': stamp_ns}


def _said(time: dict[str, int]) -> str:
    return f'{time["line"]}: {time["stamp_ns"] / 1e9:.3f} s'


def _place(where: Any) -> dict[str, Any] | None:
    return None if where is None else {'frame': where.frame, 'position': where.position.tolist()}


def _at(where: dict[str, Any] | None) -> str:
    if where is None:
        return ''
    return ', at ({:.2f}, {:.2f}, {:.2f}) m in {}'.format(*where['position'], where['frame'])
