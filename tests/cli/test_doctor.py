# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer doctor`: it says what is there, what is not, and the line that mends it."""

import json
import os
import subprocess
import sys

import pytest
from cli_support import ROOT

from pixelrefer_model.cli import doctor
from pixelrefer_model.weights import RELEASED, Manifest
from pixelrefer_model.weights.store import (
    INCOMPLETE, MANIFEST, ListedFile, digests, folder_of)

NAME = 'facebook/sam2.1-hiera-tiny'


def test_what_runs_here_is_said_with_status_0(pixelrefer):
    status, out, _ = pixelrefer('doctor', '--json')
    said = json.loads(out)
    assert status == 0 and said['tiny']['state'] == 'ok'
    assert {one['name']: one['state'] for one in said['needed']} == {
        module: 'ok' for module, _, _ in doctor.NEEDED}
    assert [one['name'] for one in said['devices']][-1] == 'cpu'
    assert [(one['name'], one['state'], one['mend']) for one in said['checkpoints']] == [
        (name, 'absent', f'pixelrefer download {name}')
        for names in RELEASED.values() for name in names]


def test_whole_half_and_damaged_checkpoints_are_told_apart(pixelrefer, monkeypatch):
    monkeypatch.setattr(doctor, '_try_tiny', lambda: doctor.Finding('tiny', 'ok', ''))
    folder = folder_of(NAME)
    folder.mkdir(parents=True)
    weights = folder / 'model.safetensors'
    weights.write_bytes(b'weights')
    manifest = Manifest(NAME, 'main', 'c' * 40, [
        ListedFile(weights.name, 7, digests(weights)[0])])

    def state(*options: str) -> tuple[str, str]:
        said = json.loads(pixelrefer('doctor', '--json', *options)[1])
        one = next(one for one in said['checkpoints'] if one['name'] == NAME)
        return one['state'], one['mend']

    manifest.write(folder / INCOMPLETE)
    assert state() == ('half', f'pixelrefer download {NAME}')
    manifest.write(folder / MANIFEST)
    assert state('--verify') == ('whole', '')
    weights.write_bytes(b'weightS')
    assert state() == ('whole', ''), 'of the same size: only reading finds that'
    assert state('--verify')[0] == 'damaged' and state('--verify')[1].endswith(NAME)
    weights.write_bytes(b'weight')
    assert state() == ('half', f'pixelrefer download {NAME}')


def test_a_checkpoint_of_another_name_is_listed_too(pixelrefer, monkeypatch):
    monkeypatch.setattr(doctor, '_try_tiny', lambda: doctor.Finding('tiny', 'ok', ''))
    folder_of('someone/tuned').mkdir(parents=True)
    (folder_of('someone/tuned') / INCOMPLETE).write_text('{}')
    assert 'half     someone/tuned' in pixelrefer('doctor')[1]


def test_packaged_checkpoints_that_do_not_run_are_status_1(pixelrefer, monkeypatch, tmp_path):
    from pixelrefer_model.weights import TINY
    monkeypatch.setitem(TINY, 'refer', tmp_path)
    status, out, _ = pixelrefer('doctor')
    assert status == 1 and f'broken   tiny: {tmp_path}' in out


@pytest.mark.parametrize('module, state', [
    ('no_such_library', 'missing'), ('no_such_library.part', 'missing'), ('json', 'ok')])
def test_a_library_that_is_missing_has_the_line_that_brings_it(module, state):
    found = doctor.examine(module, module, 'pip install it')
    assert (found.state, found.mend) == (state, '' if state == 'ok' else 'pip install it')


def test_a_library_that_breaks_as_it_is_imported_is_broken(tmp_path, monkeypatch):
    (tmp_path / 'a_broken_one.py').write_text('raise OSError("libfoo.so.1 is not there")')
    (tmp_path / 'a_needy_one.py').write_text('import no_such_library')
    monkeypatch.syspath_prepend(tmp_path)
    for module, told in (('a_broken_one', 'libfoo.so.1'), ('a_needy_one', 'no_such_library')):
        found = doctor.examine(module, module, 'mend it')
        assert found.state == 'broken' and told in found.told and found.mend == 'mend it'


def test_it_runs_where_nothing_is_installed(tmp_path):
    ended = subprocess.run(
        [sys.executable, '-I', '-S', '-c', f'import sys; sys.path.insert(0, {str(ROOT)!r})\n'
         'from pixelrefer_model.cli import main\nsys.exit(main(["doctor"]))'],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
        env={**os.environ, 'PIXELREFER_CHECKPOINTS': str(tmp_path)})
    assert ended.returncode == 1 and 'Traceback' not in ended.stderr, ended.stderr
    assert 'missing  torch: not installed\n    mend: pip install' in ended.stdout
    assert 'broken   tiny' in ended.stdout
