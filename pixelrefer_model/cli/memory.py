# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer memory`: look at a recorded memory of objects, take it out, and make it smaller.

Looking and exporting do no harm while another process records into the folder; pruning and packing
need it for themselves.
"""

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pixelrefer_model.errors import PixelReferError

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
    export = act('export', _export, 'write all but the tokens to memory.jsonl in another folder')
    export.add_argument('into', type=Path, metavar='INTO', help='folder; it is made, or is empty')
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
    from pixelrefer_model.memory.exporting import time
    from pixelrefer_model.memory.store import MemoryStore
    with MemoryStore.read(given.folder) as store:
        found = [{
            'id': one.object_id, 'camera': one.camera, 'observations': one.observations,
            'first': time(one.first_line, one.first_ns), 'last': time(one.last_line, one.last_ns),
            'where': _place(store.where(one.object_id))} for one in store.objects()]
        held = store.bytes()
    lines = [f'{one["id"]}: {one["observations"]} observations by {one["camera"]}, '
             f'{_said(one["first"])} to {_said(one["last"])}{_at(one["where"])}' for one in found]
    lines.append(f'{len(found)} objects, {held / (1 << 20):.1f} MiB')
    return {'objects': found, 'bytes': held}, '\n'.join(lines)


def _show(given: argparse.Namespace) -> tuple[Any, str]:
    from pixelrefer_model.memory.exporting import records
    from pixelrefer_model.memory.store import MemoryStore
    with MemoryStore.read(given.folder) as store:
        ids = [one.object_id for one in store.objects()]
        if given.object not in ids:
            raise PixelReferError('UNKNOWN_ID', f'nothing is remembered of {given.object!r}; the '
                                  f'objects are: {", ".join(map(repr, ids[:50])) or "none"}')
        told = [record for record in records(store)
                if given.object in (record.get('object'), record.get('other'),
                                    *record.get('objects', ()))]
    return told, '\n'.join(_line(record) for record in told)


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
    from pixelrefer_model.memory.exporting import export
    from pixelrefer_model.memory.store import MemoryStore
    with MemoryStore.read(given.folder) as store:
        made = export(store, given.into, tokens=given.tokens)
    left_out = (f'; the tokens of {made.left_out} observations went meanwhile or are damaged'
                if made.left_out else '')
    return ({**asdict(made), 'folder': str(given.into)},
            f'{made.records} records and {made.token_files} files of tokens in {given.into}'
            f'{left_out}')


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
    from pixelrefer_model.memory.trimming import compact
    with MemoryStore.open(_there(given.folder)) as store:
        before = store.bytes()
        said = store.query('PRAGMA integrity_check')[0][0]
        if said != 'ok':
            raise PixelReferError('MEMORY', f'{given.folder}: {said}')
        compact(store)
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

def _said(time: dict[str, int]) -> str:
    return f'{time["line"]}: {time["stamp_ns"] / 1e9:.3f} s'


def _place(where: Any) -> dict[str, Any] | None:
    return None if where is None else {'frame': where.frame, 'position': where.position.tolist()}


def _at(where: dict[str, Any] | None) -> str:
    if where is None:
        return ''
    return ', at ({:.2f}, {:.2f}, {:.2f}) m in {}'.format(*where['position'], where['frame'])
