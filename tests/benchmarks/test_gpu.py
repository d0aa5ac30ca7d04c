# SPDX-License-Identifier: Apache-2.0
"""The benchmark of a GPU: that its command runs, on a CPU and small, and one part after another."""

import contextlib
import io
import re
import subprocess

import pytest

from benchmarks import gpu

SECTIONS = ['Tracker, ms a frame', "Against transformers' session, ms a frame",
            'Compiled image encoder, ms', 'Loading', 'Object tokens', 'Decoding',
            'First token of a question about what is remembered']


@pytest.fixture
def started(monkeypatch):
    """The parts that were started; they run in this process, since each would import PyTorch."""
    parts = []

    def run(command, **_):
        parts.append(command[command.index('--part') + 1])
        with contextlib.redirect_stdout(io.StringIO()) as said:
            assert gpu.main(command[2:]) == 0
        return subprocess.CompletedProcess(command, 0, said.getvalue())

    monkeypatch.setattr(gpu.subprocess, 'run', run)
    return parts


def test_the_command_runs_every_part_once_and_writes_where_it_is_told(started, tmp_path, capsys):
    out = tmp_path / 'it.md'
    assert gpu.main(['--device', 'cpu', '--small', '--out', str(out)]) == 0
    text = out.read_text()
    assert started == list(gpu.PARTS) and capsys.readouterr().out == text + '\n'
    assert re.findall('^## (.*)$', text, re.MULTILINE) == SECTIONS
    assert text.startswith('# the CPU') and 'mean nothing' in text.splitlines()[0]
    rows = [line for line in text.splitlines() if line.startswith('| ')]
    assert len([line for line in rows if re.search(r'\d\.\d', line)]) == 2 + 2 + 2 + 2 + 4 + 2
    assert 'Of 6 tokens of 2 rows 6 are equal both ways.' in text
    assert {line.split('|')[-2] for line in rows if line.startswith('| packaged')} == {' - '}


def test_a_part_that_fails_is_the_end_and_nothing_is_written(monkeypatch, tmp_path, capsys):
    def run(command, **_):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(gpu.subprocess, 'run', run)
    out = tmp_path / 'it.md'
    assert gpu.main(['--device', 'cpu', '--small', '--parts', 'session', '--out', str(out)]) == 1
    assert '--part' in capsys.readouterr().err and not out.exists()
