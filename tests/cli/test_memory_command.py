# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer memory`: what was recorded is told, taken out and made smaller, and never harmed."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_support import ROOT
from safetensors.torch import load_file

sys.path.insert(0, str(ROOT / 'tests' / 'memory'))
from memory_support import sighting, tokens_of  # noqa: E402

from pixelrefer_model.memory import Span  # noqa: E402
from pixelrefer_model.memory.observation import Whereabouts  # noqa: E402
from pixelrefer_model.memory.record import Happening, Told  # noqa: E402
from pixelrefer_model.memory.store import MemoryStore  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    where = Whereabouts('map', np.array([1.0, 2.0, 3.0]), np.eye(3) * 0.01)
    with MemoryStore.open(tmp_path / 'memory') as store:
        store.write([sighting(1), sighting(2, where=where), sighting(1.5, 'cup'),
                     Happening('cup', 'touched', 0, 1_700_000_000, other='mug'),
                     Told(('mug',), 'What is it?', 'a red mug', 0.9, 'tiny', 0, 1_900_000_000)])
    return tmp_path / 'memory'


@pytest.fixture
def memory(pixelrefer):
    def run(*arguments: object) -> object:
        status, out, err = pixelrefer('memory', *arguments, '--json')
        assert status == 0, err
        return json.loads(out)
    return run


def test_every_object_is_listed_with_when_and_where_it_was_seen(memory, folder):
    listed = memory('list', folder)
    assert [(one['id'], one['observations']) for one in listed['objects']] == [
        ('mug', 2), ('cup', 1)]
    mug = listed['objects'][0]
    assert (mug['first']['stamp_ns'], mug['last']['stamp_ns']) == (1_000_000_000, 2_000_000_000)
    assert mug['where'] == {'frame': 'map', 'position': [1.0, 2.0, 3.0]}
    assert listed['bytes'] > 0


def test_of_one_object_all_is_told_in_the_order_of_time(memory, pixelrefer, folder):
    told = memory('show', folder, 'mug')
    assert [one['kind'] for one in told] == ['observation', 'event', 'answer', 'observation']
    assert told[1]['event'] == 'touched' and told[2]['text'] == 'a red mug'
    status, out, _ = pixelrefer('memory', 'show', folder, 'mug')
    assert status == 0 and "'What is it?': 'a red mug'" in out and 'cup touched mug' in out


def test_what_is_taken_out_is_all_there_is_with_its_very_tokens(memory, folder, tmp_path):
    said = memory('export', folder, tmp_path / 'out', '--tokens')
    assert (said['records'], said['token_files']) == (5, 2)
    records = [json.loads(line) for line in
               (tmp_path / 'out' / 'memory.jsonl').read_text().splitlines()]
    first = next(one for one in records if one['kind'] == 'observation')
    tokens = load_file(tmp_path / 'out' / '0000.safetensors')
    assert torch.equal(tokens[str(first['number'])], tokens_of(1)) and len(tokens) == 2
    with MemoryStore.read(folder) as store:
        assert len(store.objects()) == 2, 'what was taken out is still there'


def test_looking_is_allowed_while_somebody_records_and_changing_is_not(
        memory, pixelrefer, folder):
    with MemoryStore.open(folder) as store:
        store.write([sighting(3)])
        place = store.segments.append(b'written, and not committed yet')
        assert [one['observations'] for one in memory('list', folder)['objects']] == [3, 1]
        # Who looks cuts nothing off that he does not know of.
        assert store.segments.read(place) == b'written, and not committed yet'
        for act in (('prune', folder, '--observations', 1), ('vacuum', folder)):
            code = ('import sys; from pixelrefer_model.cli.main import main; '
                    'sys.exit(main(sys.argv[1:]))')
            done = subprocess.run([sys.executable, '-c', code, 'memory', *map(str, act)],
                                  capture_output=True, text=True, cwd=ROOT)
            assert done.returncode == 1 and 'records into' in done.stderr
    assert memory('vacuum', folder)['integrity'] == 'ok'


def test_what_is_too_much_goes_and_first_and_last_stay(memory, folder):
    with MemoryStore.open(folder) as store:
        store.write([sighting(second) for second in range(10, 60)])
    said = memory('prune', folder, '--observations', 10)
    assert said['observations'] == 42 and said['objects'] == 0
    with MemoryStore.read(folder) as store:
        stamps = [one.stamp_ns for one in store.moments('mug', Span(0, 1 << 60))]
    assert len(stamps) == 10 and (stamps[0], stamps[-1]) == (1_000_000_000, 59_000_000_000)


def test_what_is_pruned_is_given_back_over_many_segments(memory, tmp_path):
    with MemoryStore.open(tmp_path / 'many', segment_bytes=256) as store:
        store.write([sighting(second) for second in range(200)])
        files = len(store.segments.numbers())
    said = memory('prune', tmp_path / 'many', '--observations', 10)
    assert said['observations'] == 190
    with MemoryStore.read(tmp_path / 'many') as store:
        assert len(store.segments.numbers()) < files / 4
        assert len(store.observations(store.moments('mug', Span(0, 1 << 60)))) == 10


def test_vacuum_gives_back_what_no_observation_has_any_more(memory, tmp_path):
    with MemoryStore.open(tmp_path / 'half') as store:
        store.write([sighting(second) for second in range(200)])
        with store.transaction() as database:
            database.execute('DELETE FROM observations WHERE number % 3 = 0')
        kept = store.moments('mug', Span(0, 1 << 60))
        tokens = store.segments.bytes()
    said = memory('vacuum', tmp_path / 'half')
    assert said['bytes'] < said['bytes_before']
    with MemoryStore.read(tmp_path / 'half') as store:
        assert store.segments.bytes() == tokens * len(kept) // 200
        assert store.moments('mug', Span(0, 1 << 60)) == kept
        assert len(store.observations(kept)) == len(kept)


def test_an_earlier_export_is_not_written_over(pixelrefer, folder, tmp_path):
    assert pixelrefer('memory', 'export', folder, tmp_path / 'out')[0] == 0
    status, _, err = pixelrefer('memory', 'export', folder, tmp_path / 'out')
    assert status == 1 and 'not an empty folder' in err


@pytest.mark.parametrize('act', ['list', 'show', 'export', 'prune', 'vacuum'])
def test_a_damaged_memory_is_said_to_be_by_every_verb_and_left_alone(
        pixelrefer, folder, tmp_path, act):
    file = folder / 'memory.sqlite'
    file.write_bytes(file.read_bytes()[:100] + bytes(40_000))
    before = file.read_bytes()
    more = {'show': ('mug',), 'export': (tmp_path / 'out',), 'prune': ('--observations', 1)}
    status, _, err = pixelrefer('memory', act, folder, *more.get(act, ()))
    assert status == 1 and str(file) in err and len(err.splitlines()) == 1
    assert file.read_bytes() == before and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('arguments, status, told', [
    (('list', 'nowhere'), 1, 'there is no'),
    (('vacuum', 'nowhere'), 1, 'there is no'),
    (('show', None, 'fork'), 2, "the objects are: 'mug', 'cup'"),
    (('prune', None), 2, '--bytes, --age, --observations are allowed'),
    (('prune', None, '--bytes', '5'), 2, 'at least 1048576 bytes'),
    (('prune', None, '--bytes', 'many'), 2, '500M or 2G'),
    (('prune', None, '--age', 'nan'), 2, 'nan s'),
])
def test_what_cannot_be_done_is_one_line_and_harms_nothing(
        pixelrefer, memory, folder, tmp_path, arguments, status, told):
    before = memory('list', folder)
    arguments = [folder if one is None else tmp_path / one if one == 'nowhere' else one
                 for one in arguments]
    got, _, err = pixelrefer('memory', *arguments)
    assert got == status and told in err
    assert not (tmp_path / 'nowhere').exists() and memory('list', folder) == before


def test_a_database_of_something_else_is_not_read(pixelrefer, tmp_path):
    connection = sqlite3.connect(tmp_path / 'memory.sqlite')
    connection.execute('CREATE TABLE tea (leaf TEXT)')
    connection.commit()
    connection.close()
    status, _, err = pixelrefer('memory', 'list', tmp_path)
    assert status == 1 and 'a database of something else' in err
