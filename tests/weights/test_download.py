# SPDX-License-Identifier: Apache-2.0
"""A download is whole or it is known not to be; the real hub client talks to a hub on loopback."""

import errno
import fcntl
import hashlib
import json
import os
import pty
import resource
import shutil
import struct
import subprocess
import sys
import termios
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from weights_support import NAME, WATCHDOG_S, noise

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.weights import Manifest, State, checkpoint_folder, look
from pixelrefer_model.weights.store import INCOMPLETE, MANIFEST, ListedFile, differing

NEEDED = {'config.json', 'merges.txt', 'model.safetensors'}


def refused(name: str = NAME) -> str:
    with pytest.raises(PixelReferError) as error:
        checkpoint_folder(name, 'tracker')
    assert error.value.code == 'CHECKPOINT'
    return error.value.message


@pytest.mark.parametrize('asked', [NAME, 'sam2.1-hiera-tiny', 'SAM2.1-Hiera-Tiny'])
def test_a_download_has_what_is_needed_and_says_what_it_is(pixelrefer, hub, kept, content, asked):
    assert f'pixelrefer download {NAME}' in refused()
    status, out, err = pixelrefer('download', asked)
    assert status == 0, err
    folder = checkpoint_folder(NAME, 'tracker')
    assert folder == checkpoint_folder('sam2.1-hiera-tiny', 'tracker') and str(folder) in out
    assert {file.name for file in folder.iterdir()} == NEEDED | {MANIFEST}
    assert all((folder / file).read_bytes() == content[file] for file in NEEDED)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert (manifest['name'], manifest['commit'], manifest['revision']) == (NAME, hub.main, 'main')
    assert {f['path']: f['sha256'] for f in manifest['files']} == {
        file: hashlib.sha256(content[file]).hexdigest() for file in NEEDED}


def test_what_is_whole_is_not_fetched_again(pixelrefer, hub):
    assert pixelrefer('download', NAME)[0] == 0
    gets = list(hub.gets)
    hub.push({'config.json': b'{}', 'model.safetensors': noise(1 << 18)})
    status, out, _ = pixelrefer('download', NAME, HF_HUB_OFFLINE='1')
    assert status == 0 and hub.gets == gets and look(NAME).manifest.commit in out


def killed_midway(start, hub, content) -> Path:
    """The file that a download was writing when it was killed."""
    content['model.safetensors'] = noise(24 << 20)
    hub.push(content)
    hub.stall_after = 15 << 20
    process = start('download', NAME)
    deadline = time.monotonic() + WATCHDOG_S
    found = look(NAME)
    while not (part := found.folder / 'model.safetensors.part').exists() or not part.stat().st_size:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    process.kill()
    process.wait(WATCHDOG_S)
    hub.stall_after = None
    hub.released.set()
    return part


def test_a_download_that_was_killed_is_no_checkpoint_and_goes_on_where_it_stopped(
        pixelrefer, start, hub, content):
    part = killed_midway(start, hub, content)
    begun, held = hub.main, part.stat().st_size
    assert 0 < held < 24 << 20
    found = look(NAME)
    assert found.state is State.HALF and str(found.manifest.bytes) in found.missing
    assert f'pixelrefer download {NAME}' in refused()
    assert f'pixelrefer download {NAME}' in refused(str(found.folder)), 'also as a plain folder'
    # A newer commit has come: what was begun is still of the old one.
    hub.push({**content, 'config.json': b'{"model_type": "other"}'})
    del hub.gets[:]
    status, _, err = pixelrefer('download', NAME)
    assert status == 0, err
    assert hub.ranges == [('model.safetensors', held)] and hub.gets == ['model.safetensors']
    found = look(NAME)
    assert (found.state, found.manifest.commit) == (State.WHOLE, begun) and not differing(found)
    assert not part.exists() and not (found.folder / INCOMPLETE).exists()


def test_a_connection_that_breaks_is_taken_up_where_it_broke(pixelrefer, hub, content):
    content['model.safetensors'] = noise(24 << 20)
    hub.push(content)
    hub.stall_after = 15 << 20
    hub.breaks = 1
    status, _, err = pixelrefer('download', NAME)
    if status:  # huggingface_hub before 1.0 gives up, later ones go on by themselves
        assert 'goes on with it' in err and pixelrefer('download', NAME)[0] == 0
    (name, begin), = hub.ranges
    assert name == 'model.safetensors' and begin > 1 << 20 and not differing(look(NAME))


@pytest.mark.parametrize('spoilt', ['model.safetensors', 'config.json'])
def test_a_file_of_another_checksum_is_removed_and_named(pixelrefer, hub, spoilt):
    hub.spoil = spoilt
    status, _, err = pixelrefer('download', NAME)
    assert status == 1 and spoilt in err and 'checksum' in err
    found = look(NAME)
    assert found.state is State.HALF and not (found.folder / spoilt).exists()
    assert not (found.folder / (spoilt + '.part')).exists()
    refused()
    hub.spoil = None
    assert pixelrefer('download', NAME)[0] == 0 and not differing(look(NAME))


@pytest.mark.parametrize('harm', [
    lambda file: file.write_bytes(file.read_bytes()[:-1]), Path.unlink])
def test_a_checkpoint_that_lost_something_is_half_and_mended_by_the_same_line(
        pixelrefer, hub, harm):
    pixelrefer('download', NAME)
    harm(look(NAME).folder / 'model.safetensors')
    assert 'model.safetensors has' in refused()
    del hub.gets[:]
    assert pixelrefer('download', NAME)[0] == 0
    assert hub.gets == ['model.safetensors'] and look(NAME).state is State.WHOLE


def test_another_revision_takes_the_place_of_the_first_and_leaves_nothing_of_it(
        pixelrefer, hub, content):
    first = hub.main
    pixelrefer('download', NAME)
    second = hub.push({'config.json': content['config.json'],
                       'model-00001-of-00001.safetensors': noise(1 << 18),
                       'model.safetensors.index.json': b'{"weight_map": {}}'})
    assert pixelrefer('download', NAME, '--revision', 'main')[0] == 0
    found = look(NAME)
    assert (found.manifest.commit, found.manifest.revision) == (second, 'main')
    assert {file.name for file in found.folder.iterdir()} == {
        'config.json', 'model-00001-of-00001.safetensors', 'model.safetensors.index.json', MANIFEST}
    assert pixelrefer('download', NAME, '--revision', first)[0] == 0
    assert look(NAME).manifest.commit == first


def test_without_room_for_another_revision_the_first_stays_whole(
        pixelrefer, hub, content):
    pixelrefer('download', NAME)
    first = look(NAME)
    hub.push({**content, 'config.json': b'{"model_type": "sam2"}'})
    hub.more_bytes = 1 << 60
    status, _, err = pixelrefer('download', NAME, '--revision', 'main')
    assert status == 1 and 'takes no more' in err and 'are free' in err, err
    assert look(NAME) == first and not differing(first)


def test_a_copy_that_lost_something_on_its_way_is_not_loaded(pixelrefer, hub, tmp_path):
    pixelrefer('download', NAME)
    copied = shutil.copytree(look(NAME).folder, tmp_path / 'copied')
    assert checkpoint_folder(copied, 'refer') == copied
    merges = copied / 'merges.txt'
    merges.write_bytes(merges.read_bytes()[:-1])
    with pytest.raises(PixelReferError, match='merges.txt has') as error:
        checkpoint_folder(copied, 'refer')
    assert error.value.code == 'CHECKPOINT'


def test_weights_that_may_hold_code_are_fetched_only_where_there_are_no_others(
        pixelrefer, hub, content):
    del content['model.safetensors']
    content.update({'pytorch_model-00001-of-00001.bin': noise(500),
                    'pytorch_model.bin.index.json': b'{}', 'model.safetensors.index.json': b'{}'})
    hub.push(content)
    assert pixelrefer('download', NAME)[0] == 0
    assert {file.path for file in look(NAME).manifest.files} == {
        'config.json', 'merges.txt', 'pytorch_model-00001-of-00001.bin',
        'pytorch_model.bin.index.json'}


def test_a_disk_that_is_full_is_an_error_that_keeps_what_is_there(pixelrefer, hub, kept):
    folder = kept / NAME
    folder.mkdir(parents=True)
    part = folder / 'model.safetensors.part'
    part.symlink_to('/dev/full')     # opens, and has no room for a byte
    status, _, err = pixelrefer('download', NAME)
    assert status == 1 and 'takes no more' in err and f'pixelrefer download {NAME}' in err
    assert look(NAME).state is State.HALF and (folder / 'config.json').exists()
    part.unlink()
    assert pixelrefer('download', NAME)[0] == 0


def test_a_limit_that_is_met_midway_keeps_what_came_until_then(
        environment, pixelrefer, hub, content):
    content['model.safetensors'] = noise(24 << 20)
    hub.push(content)
    limited = ('import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (%d, %d)); '
               'from pixelrefer_model.cli import main; sys.exit(main(["download", "%s"]))')
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    ended = subprocess.run([sys.executable, '-c', limited % (15 << 20, hard, NAME)],
                           env=environment, capture_output=True, text=True, timeout=WATCHDOG_S)
    assert ended.returncode == 1 and 'takes no more' in ended.stderr, ended.stderr
    assert (look(NAME).folder / 'model.safetensors.part').stat().st_size > 1 << 20
    assert pixelrefer('download', NAME)[0] == 0 and hub.ranges and not differing(look(NAME))


def test_a_download_larger_than_the_disk_does_not_begin(kept, monkeypatch):
    from pixelrefer_model.weights import hub as client
    kept.mkdir()
    (kept / 'config.json').write_bytes(bytes(100))
    wanted = Manifest(NAME, 'main', '0' * 40, [ListedFile('config.json', 100),
                                               ListedFile('model.safetensors', 4000)])
    for free, refuses in ((4000, False), (3999, True)):
        monkeypatch.setattr(client.shutil, 'disk_usage', lambda _: SimpleNamespace(free=free))
        with pytest.raises(OSError) if refuses else nullcontext() as error:
            client._check_space(kept, wanted)
        assert not refuses or error.value.errno == errno.ENOSPC


def test_a_terminal_is_shown_how_far_it_is(environment):
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('4H', 24, 120, 0, 0))
    process = subprocess.Popen([sys.executable, '-m', 'pixelrefer_model.cli', 'download', NAME],
                               env=environment, stdout=subprocess.DEVNULL, stderr=terminal)
    os.close(terminal)
    shown = b''
    with suppress(OSError):     # how a terminal that nobody writes to any more ends
        while data := os.read(screen, 4096):
            shown += data
    os.close(screen)
    assert process.wait(WATCHDOG_S) == 0
    assert b'model.safetensors' in shown and b'100%' in shown


@pytest.mark.parametrize('name, revision, told', [
    ('nobody/nothing', None, 'no such repository'),
    (NAME, 'v9', 'no such revision'),
    ('no name', None, 'PixelRefer-Lite-2B'),
    ('../../etc', None, 'owner/name'),
])
def test_what_is_not_there_is_said_in_a_line(pixelrefer, kept, name, revision, told):
    status, _, err = pixelrefer('download', name, *(['--revision', revision] if revision else []))
    assert status == 1 and told in err and len(err.strip().splitlines()) == 1
    assert not list(kept.rglob(MANIFEST))


def test_offline_it_says_so_and_asks_nobody(pixelrefer, hub):
    status, _, err = pixelrefer('download', NAME, HF_HUB_OFFLINE='1')
    assert status == 1 and 'HF_HUB_OFFLINE' in err and not hub.gets


def test_of_two_at_once_the_second_is_told_to_wait(pixelrefer, start, hub, content):
    content['model.safetensors'] = noise(24 << 20)
    hub.push(content)
    hub.stall_after = 15 << 20
    first = start('download', NAME)
    deadline = time.monotonic() + WATCHDOG_S
    while 'model.safetensors' not in hub.gets:
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    status, _, err = pixelrefer('download', NAME)
    assert status == 1 and 'another process' in err
