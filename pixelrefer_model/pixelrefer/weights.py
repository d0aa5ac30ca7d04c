# SPDX-License-Identifier: Apache-2.0
"""Weight files on disk: what they hold, read without a second copy in memory, never run as code."""

import json
import pickle
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pixelrefer_model.errors import PixelReferError

#: Bytes read before a file is opened anew. Pages of a mapped file stay in memory while it is open;
#: so they never add up to a second copy of the weights.
AT_ONCE = 256 * 2 ** 20
#: Types that weights may be stored in; safetensors has names of its own for them.
TYPES = {'F64': torch.float64, 'F32': torch.float32, 'F16': torch.float16, 'BF16': torch.bfloat16}


@dataclass(frozen=True)
class Stored:
    """A tensor in a file, not read yet. dtype: what the file calls it."""

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype | str

    @property
    def bytes(self) -> int:
        """Size on disk, for one of TYPES."""
        count = 1
        for length in self.shape:
            count *= length
        return count * self.dtype.itemsize


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights: safetensors before .bin, one file or the index's shards.

    Raises PixelReferError CHECKPOINT, as everything here does, naming the file and the reason.
    """
    for single in ('model.safetensors', 'pytorch_model.bin'):
        index = folder / f'{single}.index.json'
        if (folder / single).is_file():
            return [folder / single]
        if index.is_file():
            return _shards(index)
    raise PixelReferError('CHECKPOINT', f'{folder}: there is no model.safetensors or '
                                        'pytorch_model.bin, whole or with an index.json')


def stored_tensors(files: Iterable[Path]) -> dict[str, Stored]:
    """All tensors of the files by name; only their headers are read."""
    found: dict[str, Stored] = {}
    for file in files:
        for name, stored in _headers(file):
            if name in found:
                raise PixelReferError('CHECKPOINT', f'{file}: {name} is also in '
                                                    f'{found[name].file.name}')
            found[name] = stored
    return found


def read_tensors(stored: Mapping[str, Stored]) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors, file by file. A tensor lies in mapped memory and is for copying from
    before the next is asked for."""
    by_file: dict[Path, list[str]] = {}
    for name, one in stored.items():
        by_file.setdefault(one.file, []).append(name)
    for file, names in by_file.items():
        for some in _portions(names, stored, _can_be_mapped(file)):
            with _opened(file) as tensors:
                for name in some:
                    yield name, tensors(name)


def _portions(names: list[str], stored: Mapping[str, Stored],
              mapped: bool) -> Iterator[list[str]]:
    """Names in groups of AT_ONCE bytes; all in one where opening a file reads all of it."""
    some, size = [], 0
    for name in names:
        if some and mapped and size + stored[name].bytes > AT_ONCE:
            yield some
            some, size = [], 0
        some.append(name)
        size += stored[name].bytes
    if some:
        yield some


def _headers(file: Path) -> Iterator[tuple[str, Stored]]:
    if file.suffix == '.safetensors':
        with _refusing(file), safe_open(file, 'pt') as opened:
            parts = {name: opened.get_slice(name) for name in opened.keys()}
            for name, part in parts.items():
                dtype = part.get_dtype()
                yield name, Stored(file, tuple(part.get_shape()), TYPES.get(dtype, dtype))
        return
    for name, tensor in _unpickled(file).items():
        dtype = tensor.dtype if tensor.dtype in TYPES.values() else str(tensor.dtype)
        yield name, Stored(file, tuple(tensor.shape), dtype)


@contextmanager
def _opened(file: Path) -> Iterator:
    """A function from names to tensors, valid inside the `with`."""
    if file.suffix == '.safetensors':
        with _refusing(file), safe_open(file, 'pt') as opened:
            yield opened.get_tensor
    else:
        yield _unpickled(file).__getitem__


def _unpickled(file: Path) -> dict[str, Tensor]:
    """The tensors of a .bin file, mapped where its format allows it."""
    with _refusing(file):
        state = torch.load(file, map_location='cpu', weights_only=True, mmap=_can_be_mapped(file))
        if not isinstance(state, dict) or not all(
                isinstance(name, str) and isinstance(tensor, Tensor)
                for name, tensor in state.items()):
            raise PixelReferError('CHECKPOINT', f'{file}: not a dictionary of tensors')
        return state


def _can_be_mapped(file: Path) -> bool:
    """False for what torch wrote before it had a zip format (1.6)."""
    return file.suffix == '.safetensors' or zipfile.is_zipfile(file)


@contextmanager
def _refusing(file: Path) -> Iterator[None]:
    """Whatever a damaged file makes the libraries raise, as one error with its name."""
    try:
        yield
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise PixelReferError('CHECKPOINT', f'{file}: holds more than weights, or is damaged '
                                            f'({reason})') from None
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError,
            AssertionError, AttributeError, struct.error) as error:
        raise PixelReferError(
            'CHECKPOINT', f'{file}: truncated or damaged ({type(error).__name__}: {error})'
        ) from None


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding='utf-8'))['weight_map'].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise PixelReferError('CHECKPOINT', f'{index}: no readable weight_map: {error}') from None
    files = [index.parent / Path(str(name)).name for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise PixelReferError('CHECKPOINT', f'{index}: names {", ".join(missing)}, missing in '
                                            f'{index.parent}')
    return files
