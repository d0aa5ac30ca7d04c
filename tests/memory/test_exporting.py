# SPDX-License-Identifier: Apache-2.0
"""A memory is taken out as a whole or not at all, whatever its recorder does meanwhile."""

import json
from pathlib import Path

import pytest
import torch
from memory_support import sighting, tokens_of
from safetensors.torch import load_file

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import Span
from pixelrefer_model.memory.exporting import RECORDS, export
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.trimming import empty

ALL = Span(0, 1 << 60)


@pytest.fixture
def store(tmp_path: Path):
    with MemoryStore.open(tmp_path / 'memory', segment_bytes=300) as store:
        store.write([sighting(n) for n in range(10)])
        yield store


def test_tokens_that_are_moved_while_they_are_read_are_found(store, tmp_path, monkeypatch):
    with MemoryStore.read(tmp_path / 'memory') as reader:
        row = reader._row
        moves = iter((1, 3))

        def found_and_moved(moment):
            found = row(moment)
            segment = next(moves, None)
            if segment is not None:
                empty(store, segment)
            return found

        monkeypatch.setattr(reader, '_row', found_and_moved)
        seen = reader.observations(reader.moments('mug', ALL))
    assert next(moves, None) is None
    assert all(torch.equal(one.tokens, tokens_of(n)) for n, one in enumerate(seen))


def test_what_is_let_go_of_while_it_is_taken_out_is_left_out_and_counted(
        store, tmp_path, monkeypatch):
    first = store.moments('mug', ALL)[0]
    with MemoryStore.read(tmp_path / 'memory') as reader:
        row = reader._row

        def found_and_gone(moment):
            found = row(moment)
            if moment.number == first.number:
                empty(store, 1, [first.number])
            return found

        monkeypatch.setattr(reader, '_row', found_and_gone)
        made = export(reader, tmp_path / 'out', tokens=True)
    assert (made.records, made.token_files, made.left_out) == (10, 1, 1)
    tokens = load_file(tmp_path / 'out' / '0000.safetensors')
    assert len(tokens) == 9 and str(first.number) not in tokens


def test_damaged_tokens_are_left_out_and_counted(store, tmp_path):
    file = next((tmp_path / 'memory').rglob('00000002.tokens'))
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)
    assert export(store, tmp_path / 'out', tokens=True).left_out == 1


def test_an_earlier_export_is_neither_mixed_with_nor_overwritten(store, tmp_path):
    export(store, tmp_path / 'out', tokens=True)
    before = {path: path.read_bytes() for path in (tmp_path / 'out').iterdir()}
    for place in (tmp_path / 'out', tmp_path / 'out' / RECORDS):
        with pytest.raises(PixelReferError) as caught:
            export(store, place)
        assert caught.value.code == 'MEMORY' and 'not an empty folder' in caught.value.message
    assert {path: path.read_bytes() for path in (tmp_path / 'out').iterdir()} == before


def test_an_empty_folder_and_one_within_others_are_filled(store, tmp_path):
    (tmp_path / 'empty').mkdir()
    for place in (tmp_path / 'empty', tmp_path / 'a' / 'b'):
        export(store, place)
        assert len([json.loads(line) for line in (place / RECORDS).open()]) == 10
        assert [path.name for path in place.parent.iterdir() if path.name[0] == '.'] == []
