# SPDX-License-Identifier: Apache-2.0
"""The benchmarks of the memory: what they count, what they call a fault, and that they run."""

import dataclasses
import sys

import pytest

from benchmarks import memory_first_token, memory_kill, memory_power, memory_stream
from benchmarks.memory_first_token import Row
from benchmarks.memory_kill import Outcome
from benchmarks.memory_stream import MIB, SECOND, TINY, Hour, Run, Stream, records
from pixelrefer_model.memory import Observation
from pixelrefer_model.memory.recorder import MOST_WAITING
from pixelrefer_model.memory.store import MemoryStore

MINUTE = Stream(hours=1 / 60, bytes=MIB, batch=20, segment_bytes=MIB // 16)


# --- hours of a stream

def test_every_object_is_observed_every_half_second_or_at_events_in_order_and_fits_the_queue():
    batches = list(records(dataclasses.replace(MINUTE, event_s=1e9)))
    assert max(map(len, batches)) <= MOST_WAITING
    seen = [one for batch in batches for one in batch if isinstance(one, Observation)]
    stamps = [one.stamp_ns for one in seen]
    assert stamps == sorted(stamps) and len(seen) == 8 * 120
    for name in {one.object_id for one in seen}:
        own = [one.stamp_ns for one in seen if one.object_id == name]
        assert {b - a for a, b in zip(own, own[1:])} == {SECOND // 2}
    assert all(tuple(one.tokens.shape) == MINUTE.shape for one in seen)
    events = [one for batch in records(dataclasses.replace(MINUTE, event_s=1.0)) for one in batch
              if isinstance(one, Observation) and one.reason != 'interval']
    assert len(events) == pytest.approx(8 * 60, rel=0.2)


def test_a_stream_is_kept_within_its_bound_with_nothing_dropped_and_its_ends(tmp_path):
    run = memory_stream.simulate(MINUTE, tmp_path, 2)
    assert run.faults == [] and run.dropped == 0 and run.records > 960
    assert run.came > 3 * MINUTE.bytes > run.left * 4096
    assert max(hour.file for hour in run.hours) <= MINUTE.bytes
    text = '\n'.join(memory_stream.words(run))
    assert 'The bound held' in text and text.count('| last to first |') == 1


def test_what_must_not_be_is_a_fault(tmp_path):
    good = Run(MINUTE, [Hour(file=5), Hour(file=MIB)], integrity='ok', ends=True)
    assert good.faults == []
    for wrong in ({'integrity': 'a page is not used'}, {'dropped': 1}, {'lost': 1},
                  {'ends': False}, {'hours': [Hour(file=MIB + 1)]}):
        assert len(dataclasses.replace(good, **wrong).faults) == 1


def test_the_last_hour_is_told_against_the_first():
    hours = [Hour([2e-3], [1e-3], 0.5, [1e-3], [4e-3], MIB, 2 * MIB),
             Hour([3e-3], [1e-3], 1.0, [2e-3], [4e-3], MIB, 2 * MIB)]
    lines = memory_stream.table(Run(TINY, hours))
    assert lines[-1] == '| last to first | 1.50 | 1.00 | 2.00 | 2.00 | 1.00 | 1.00 | 1.00 |'
    assert lines[2] == '| 4 h | 2 | 1 | 0.5 | 1 | 4 | 1 | 2 |'


def test_the_command_of_hours_writes_its_table_and_its_picture(tmp_path, monkeypatch, capsys):
    pytest.importorskip('matplotlib')
    monkeypatch.setattr(memory_stream, 'TINY', MINUTE)
    monkeypatch.setattr(memory_stream, 'REAL', dataclasses.replace(MINUTE, hours=1 / 120))
    assert memory_stream.main(['--out', str(tmp_path / 'it.md')]) == 0
    text = (tmp_path / 'it.md').read_text()
    assert capsys.readouterr().out == text + '\n' and text.count('| until |') == 2
    assert (tmp_path / 'it.png').read_bytes().startswith(b'\x89PNG')


# --- kills

@pytest.mark.skipif(sys.platform != 'linux', reason='a process with threads is forked')
def test_a_process_is_killed_while_it_records_and_what_it_handed_over_is_looked_for(tmp_path):
    first, newest = memory_kill.kill(tmp_path, dataclasses.replace(MINUTE, batch=1), 0.8)
    assert 0.3 * SECOND < newest - first
    found = Outcome()
    memory_kill.look(tmp_path, MINUTE, first, newest, found)
    assert found.faults == [] and found.observations > 0 and 0 <= found.lost[0] < 0.8


def test_lost_is_from_the_newest_that_is_stored_or_all_of_the_last_process(tmp_path):
    observed = [one for batch in records(MINUTE) for one in batch
                if isinstance(one, Observation)][:80]
    with MemoryStore.open(tmp_path) as store:
        store.write(observed)
    stored, found = observed[-1].stamp_ns, Outcome()
    memory_kill.look(tmp_path, MINUTE, 0, stored + SECOND, found)
    memory_kill.look(tmp_path, MINUTE, stored + 60 * SECOND, stored + 61 * SECOND, found)
    assert found.lost == [1.0, 1.1] and found.observations == 80
    file = next(tmp_path.rglob('*.tokens'))
    file.write_bytes(bytes(file.stat().st_size))
    memory_kill.look(tmp_path, MINUTE, 0, stored, found)
    assert len(found.faults) == 1 and 'lost' in found.faults[0]
    assert found.faults[0] in memory_kill.report(MINUTE, found, 1.0)


def test_a_cut_after_which_something_is_lost_is_told():
    found = Outcome(lost=[0.5, 2.0, 1.0], observations=7, faults=['tokens are lost'])
    assert memory_power.row('full', found, 4) == '| full | 4 | 3 | 1.0 | 2.0 | 7 |'


# --- the first token

def test_a_ratio_is_the_median_of_the_runs_and_the_targets_are_of_the_most_frames():
    rows = [Row(1, 48, [1.0], [1.0], [1.0]), Row(32, 773, [0.1, 0.2, 0.1], [0.1] * 3, [1.0] * 3)]
    lines = memory_first_token.table(rows)
    assert rows[1].times_as_fast(rows[1].remembered) == 10.0
    assert 'met' not in lines[2] and lines[3].endswith(
        '| 10.0 times (at least 8: met) | 10.0 times (at least 20: **missed**) |')


def test_all_ways_to_the_first_token_are_measured_and_a_vision_call_is_a_fault(
        tmp_path, monkeypatch):
    out = tmp_path / 'it.md'
    status = memory_first_token.main(['--frames', '1', '3', '--repeats', '1', '--out', str(out)])
    assert out.read_text().count(' times') >= 4 and status in (0, 1)
    select = memory_first_token.LongMemory.select

    def looks(memory, *arguments):
        bench[0].encoder.encode(*bench[0].images[0])
        return select(memory, *arguments)

    bench, made = [], memory_first_token.FirstToken.__init__
    monkeypatch.setattr(memory_first_token.FirstToken, '__init__',
                        lambda self, *given: (made(self, *given), bench.append(self))[0])
    monkeypatch.setattr(memory_first_token.LongMemory, 'select', looks)
    with pytest.raises(AssertionError, match='vision tower'):
        memory_first_token.measure(2, 1, tmp_path)
