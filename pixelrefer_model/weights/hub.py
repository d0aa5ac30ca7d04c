# SPDX-License-Identifier: Apache-2.0
"""Fetches a checkpoint from the Hugging Face hub into the store: set-up time only.

Every file is compared with the hash that the hub gives for it. What was broken off goes on where
it stopped, of the commit it began with. huggingface_hub does the talking: HF_ENDPOINT,
HF_HUB_OFFLINE and its login hold here.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.weights.names import full_name
from pixelrefer_model.weights.store import (
    INCOMPLETE, MANIFEST, PART, Found, ListedFile, Manifest, State, digests, folder_of, look)

#: Kinds of weight files, the first that a repository has: safetensors cannot hold code.
_WEIGHTS = (
    lambda name: name.endswith('.safetensors'),
    lambda name: name.startswith('pytorch_model') and name.endswith('.bin'),
    lambda name: name.endswith('.pt') and name.startswith('sam2'),
)
_INDEX = '.index.json'
#: What a disk or a quota says that takes no more.
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, 'EDQUOT', errno.ENOSPC)}


def download(name: str, revision: str | None = None,
             say: Callable[[str], None] = lambda text: None) -> Found:
    """Fetch a checkpoint, or what is missing of it, and return it whole.

    revision: a branch, tag or commit of its repository; None takes the commit that a broken-off
    download began with, what is there already if it is whole, or else the newest. `say` is told
    what is done. Another commit takes the place of the one that is there from its first byte on.
    Raises PixelReferError CHECKPOINT; what was fetched until then is kept.
    """
    name = full_name(name)
    found = look(name)
    if found.state is State.WHOLE and revision is None:
        return found
    with _alone(name):
        _fetch(name, revision, say)
    return look(name)


def _fetch(name: str, revision: str | None, say: Callable[[str], None]) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    # Its HTTP library is another one in each major version; the base class tells which.
    network = (OSError, HfHubHTTPError.__bases__[0])
    folder, found = folder_of(name), look(name)
    begun = found.manifest.commit if revision is None and found.manifest is not None else None
    try:
        listing = HfApi().model_info(name, revision=begun or revision, files_metadata=True)
    except (*network, ValueError) as error:
        raise _explained(name, error) from error
    manifest = Manifest(name, (found.manifest.revision if begun else revision) or 'main',
                        listing.sha, needed(name, listing.siblings or []))
    if found.state is State.WHOLE and found.manifest.commit == manifest.commit:
        return
    say(f'{name} at {manifest.commit}: {len(manifest.files)} files, {manifest.bytes / 1e6:.1f} MB')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Before anything of another commit goes: without room it stays as it is.
        _check_space(folder, manifest)
        # From here on, and until all is there, the folder is not whole.
        (folder / MANIFEST).unlink(missing_ok=True)
        manifest.write(folder / INCOMPLETE)
        _clear(folder, manifest)
        held = [_fetch_file(folder, manifest, file) for file in manifest.files]
        replace(manifest, files=held).write(folder / MANIFEST)
        (folder / INCOMPLETE).unlink()
    except network as error:
        raise _explained(name, error) from error


def needed(name: str, siblings: list[Any]) -> list[ListedFile]:
    """Of a repository's files those that loading needs: json and txt beside the weights, and one
    kind of weights; never code. Raises PixelReferError CHECKPOINT where there are no weights."""
    names = [one.rfilename for one in siblings if '/' not in one.rfilename]
    for is_weight in _WEIGHTS:
        weights = [one for one in names if is_weight(one)]
        if weights:
            break
    else:
        raise PixelReferError('CHECKPOINT', f'{name}: its repository holds no weights that can be '
                                            'read (safetensors, pytorch_model*.bin, sam2*.pt)')
    kind = Path(weights[0]).suffix
    wanted = set(weights) | {
        one for one in names if one.endswith(('.json', '.txt'))
        and one not in (MANIFEST, INCOMPLETE)
        and (not one.endswith(_INDEX) or one.removesuffix(_INDEX).endswith(kind))}
    # The small ones first: what is wrong with a repository shows before its weights are fetched.
    return sorted((ListedFile(one.rfilename, one.size, getattr(one.lfs, 'sha256', None),
                              one.blob_id)
                   for one in siblings if one.rfilename in wanted), key=lambda file: file.size)


def _fetch_file(folder: Path, manifest: Manifest, file: ListedFile) -> ListedFile:
    """Fetch one file, or the rest of it, and return it with the sha256 that it has."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    whole, part = folder / file.path, folder / (file.path + PART)
    if whole.exists():
        sha256 = _agreeing(whole, file)
        if sha256:
            return replace(file, sha256=sha256)
        whole.unlink()
    if part.exists() and part.stat().st_size > file.size:
        part.unlink()
    with part.open('ab') as opened:
        http_get(hf_hub_url(manifest.name, file.path, revision=manifest.commit), opened,
                 resume_size=opened.tell(), headers=build_hf_headers(), expected_size=file.size,
                 displayed_filename=file.path)
        opened.flush()
        os.fsync(opened.fileno())
    sha256 = _agreeing(part, file)
    if not sha256:
        part.unlink()
        raise PixelReferError(
            'CHECKPOINT', f'{manifest.name}: {file.path} came otherwise than the hub lists it (its '
            f'checksum differs), and was removed; `pixelrefer download {manifest.name}` fetches '
            'it anew')
    os.replace(part, whole)
    return replace(file, sha256=sha256)


def _agreeing(held: Path, file: ListedFile) -> str:
    """The sha256 of a file on disk, '' when it is not what the hub lists."""
    if held.stat().st_size != file.size:
        return ''
    sha256, blob_id = digests(held)
    agrees = sha256 == file.sha256 if file.sha256 else blob_id == file.blob_id
    return sha256 if agrees else ''


def _clear(folder: Path, manifest: Manifest) -> None:
    """Remove what another commit left: a loader could take it for part of this one."""
    listed = {file.path for file in manifest.files}
    for file in folder.iterdir():
        if file.is_file() and file.name.removesuffix(PART) not in listed | {INCOMPLETE}:
            file.unlink()


def _check_space(folder: Path, manifest: Manifest) -> None:
    """Raise OSError ENOSPC unless there is room, what is there and will be replaced counted."""
    held = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    free, needs = shutil.disk_usage(folder).free, manifest.bytes - held
    if free < needs:
        raise OSError(errno.ENOSPC, f'{needs / 1e6:.1f} MB more are needed, '
                                    f'{free / 1e6:.1f} MB are free')


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Refuse a second download of the same checkpoint while one runs. Where there are no file
    locks (Windows) two would spoil each other's files, which the checksums find."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    folder = folder_of(name)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # It stays there, empty: a lock that is removed is no lock to whoever has opened it.
        lock = folder.with_name(folder.name + '.lock').open('w')
    except OSError as error:
        raise _explained(name, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PixelReferError('CHECKPOINT', f'{name} is being downloaded by another process; '
                                                'wait for that') from None
        yield


def _explained(name: str, error: Exception) -> PixelReferError:
    """What went wrong, whether what is there is kept, and what to do."""
    from huggingface_hub.errors import (
        GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError)
    again = f'what is there is kept, and `pixelrefer download {name}` goes on with it'
    reason = getattr(error, 'strerror', None) or ' '.join(str(error).split())
    if isinstance(error, OfflineModeIsEnabled):
        told = 'HF_HUB_OFFLINE is set: downloads need the network; unset it for this'
    elif isinstance(error, OSError) and error.errno in _FULL:
        told = f'the disk of {folder_of(name)} takes no more ({reason}); free some, {again}'
    elif isinstance(error, RevisionNotFoundError):
        told = 'the hub has no such revision of it; a branch, a tag or a commit is allowed'
    elif isinstance(error, GatedRepoError):
        told = 'it has to be asked for on the hub first, and `hf auth login` be run here'
    elif isinstance(error, RepositoryNotFoundError):
        told = 'the hub has no such repository, or one that needs `hf auth login`'
    else:
        told = f'{type(error).__name__}: {reason}; {again}'
    return PixelReferError('CHECKPOINT', f'{name}: {told}')
