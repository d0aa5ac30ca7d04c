# SPDX-License-Identifier: Apache-2.0
"""The store: one folder for each downloaded checkpoint, and how a whole one is told from a half.

A folder is whole when its manifest is there, and every file in it of the size that the manifest
gives. The manifest is written last and appears at once; until then `incomplete.json` says what is
being fetched. Nothing here uses the network.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.weights.names import full_name, is_id

CHECKPOINTS = Path(__file__).parents[1] / 'checkpoints'
#: The packaged checkpoints: real architectures, small sizes.
TINY = {'tracker': CHECKPOINTS / 'sam2-tiny', 'refer': CHECKPOINTS / 'pixelrefer-lite-tiny'}
#: Names where the store is to be, instead of the user's cache folder.
STORE_VARIABLE = 'PIXELREFER_CHECKPOINTS'
MANIFEST, INCOMPLETE, PART = 'manifest.json', 'incomplete.json', '.part'
_READ = 1 << 20


class State(Enum):
    """Of a checkpoint in the store."""

    WHOLE = 'whole'
    HALF = 'half'
    ABSENT = 'absent'


@dataclass(frozen=True)
class ListedFile:
    """A file of a checkpoint: its name, bytes, and sha256 (None: nobody has computed it yet).
    blob_id: git's sha1 of its content, where the hub gives that instead."""

    path: str
    size: int
    sha256: str | None = None
    blob_id: str | None = None


@dataclass(frozen=True)
class Manifest:
    """What a folder of the store holds, or is to hold. revision: what was asked for; commit: what
    that was when it was asked for."""

    name: str
    revision: str
    commit: str
    files: list[ListedFile]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(file.size for file in self.files)

    def write(self, file: Path) -> None:
        """Write to disk; the file appears whole or not at all."""
        part = file.with_name(file.name + PART)
        with part.open('w', encoding='utf-8') as opened:
            json.dump(asdict(self), opened, indent=2)
            opened.write('\n')
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(part, file)

    @classmethod
    def read(cls, file: Path) -> 'Manifest | None':
        """The manifest in a file; None when there is none, or none that can be read."""
        try:
            values = json.loads(file.read_text(encoding='utf-8'))
            files = [ListedFile(**one) for one in values.pop('files')]
            return cls(**values, files=files) if files else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


@dataclass(frozen=True)
class Found:
    """A checkpoint as it lies in the store. missing: what it lacks, in words, '' when it is
    whole. manifest: of a whole one, or of the one that a half is to become, if that is known."""

    name: str
    folder: Path
    state: State
    missing: str
    manifest: Manifest | None


def store() -> Path:
    """The folder of downloaded checkpoints: $PIXELREFER_CHECKPOINTS, or in the user's cache."""
    if os.environ.get(STORE_VARIABLE):
        return Path(os.environ[STORE_VARIABLE]).expanduser()
    cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(cache).expanduser() / 'pixelrefer' / 'checkpoints'


def folder_of(name: str) -> Path:
    """Where the checkpoint `owner/name` lies, or would."""
    return store().joinpath(*full_name(name).split('/'))


def held_names() -> list[str]:
    """Every checkpoint of which something is in the store, whole or not."""
    folders = sorted(folder for folder in store().glob('*/*') if folder.is_dir())
    return [name for name in ('/'.join(folder.parts[-2:]) for folder in folders) if is_id(name)]


def look(name: str) -> Found:
    """What of a checkpoint is in the store. Sizes are compared; `differing` reads the files."""
    name, folder = full_name(name), folder_of(name)
    manifest = Manifest.read(folder / MANIFEST)
    if manifest is not None:
        missing = _missing(folder, manifest)
        return Found(name, folder, State.HALF if missing else State.WHOLE, missing, manifest)
    if not folder.is_dir() or not any(folder.iterdir()):
        return Found(name, folder, State.ABSENT, 'it was not downloaded', None)
    coming = Manifest.read(folder / INCOMPLETE)
    if coming is None:
        return Found(name, folder, State.HALF, f'there is no {MANIFEST}', None)
    held = sum(min(file.size, max(_size(folder / file.path), _size(folder / (file.path + PART))))
               for file in coming.files)
    return Found(name, folder, State.HALF,
                 f'{held} of {coming.bytes} bytes were downloaded', coming)


def _missing(folder: Path, manifest: Manifest) -> str:
    """Which file of a manifest has another size in the folder; '' where none has."""
    for file in manifest.files:
        held = _size(folder / file.path)
        if held != file.size:
            return f'{file.path} has {held} of {file.size} bytes'
    return ''


def differing(found: Found) -> list[str]:
    """The files of a whole checkpoint whose sha256 is not the recorded one; reads all of them."""
    return [file.path for file in found.manifest.files
            if file.sha256 != digests(found.folder / file.path)[0]]


def digests(file: Path) -> tuple[str, str]:
    """The sha256 of a file, and the sha1 by which git names its content."""
    sha256 = hashlib.sha256()
    git = hashlib.sha1(f'blob {file.stat().st_size}\0'.encode(), usedforsecurity=False)
    with file.open('rb') as opened:
        while block := opened.read(_READ):
            sha256.update(block)
            git.update(block)
    return sha256.hexdigest(), git.hexdigest()


def checkpoint_folder(name: str | Path, kind: str) -> Path:
    """The folder of a checkpoint, or a tracker's .pt file. `name` is `tiny` (packaged), a path,
    or the name of one that was downloaded, a path first; `kind` is 'tracker', 'refer' or 'detector'
    (of which none is packaged as such: `tiny` is made of the other two). Never downloads.

    Raises PixelReferError CHECKPOINT, with the line that mends it, when there is none, or half.
    """
    if str(name) == 'tiny':
        return TINY[kind]
    folder = Path(name).expanduser()
    if kind == 'tracker' and folder.suffix == '.pt' and folder.is_file():
        return folder
    if _is_folder(folder):
        if (folder / INCOMPLETE).exists() and not (folder / MANIFEST).exists():
            coming = Manifest.read(folder / INCOMPLETE)
            raise PixelReferError(
                'CHECKPOINT', f'{kind} checkpoint {folder}: its download was broken off; '
                f'`pixelrefer download {coming.name if coming else "NAME"}` goes on with it')
        manifest = Manifest.read(folder / MANIFEST)
        missing = _missing(folder, manifest) if manifest is not None else ''
        if missing:
            raise PixelReferError(
                'CHECKPOINT', f'{kind} checkpoint {folder}: {missing}, as if it was not copied to '
                f'its end; `pixelrefer download {manifest.name}` fetches it, or copy it again')
        return folder
    try:
        known = full_name(str(name))
    except PixelReferError:
        raise PixelReferError(
            'CHECKPOINT', f'{kind} checkpoint {str(name)!r}: {folder} is no folder; `tiny`, a '
            'folder with config.json and the weights, or a name that was downloaded is allowed'
        ) from None
    found = look(known)
    if found.state is not State.WHOLE:
        # Where this may have been meant as a path, that is said too.
        path = f'{folder} is no folder here; ' if is_id(str(name)) else ''
        half = 'its download is not whole: ' if found.state is State.HALF else ''
        raise PixelReferError(
            'CHECKPOINT', f'{kind} checkpoint {str(name)!r}: {path}{half}{found.missing}; '
            f'`pixelrefer download {known}` fetches it, while there is a network')
    return found.folder


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # too long for a path, or within a folder that may not be entered
        return False


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
