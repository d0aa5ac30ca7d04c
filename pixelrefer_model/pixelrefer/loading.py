# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of PixelRefer-Lite on disk: read strictly, written in the released layout."""

import hashlib
import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language.tokenizer import Tokenizer
from pixelrefer_model.pixelrefer.configuration_pixelrefer import PixelReferConfig
from pixelrefer_model.pixelrefer.modeling_pixelrefer import PixelReferLite

#: Stored in released Lite checkpoints, used by nothing.
DEAD = ('model.region_encoder.mask_embedding.', 'model.mm_projector.')
#: Most names that an error message lists.
MOST_NAMES = 8


def load_checkpoint(folder: str | Path, *, device: str | torch.device = 'cpu',
                    dtype: torch.dtype = torch.float32) -> PixelReferLite:
    """See `PixelReferLite.from_checkpoint`."""
    folder = Path(folder)
    if not folder.is_dir():
        raise PixelReferError('CHECKPOINT', f'{folder}: there is no such folder')
    config = PixelReferConfig.from_folder(folder)
    files = weight_files(folder)
    tensors: dict[str, Tensor] = {}
    for file in files:
        for name, tensor in _read(file):
            if not name.startswith(DEAD):
                tensors[name] = tensor.to(device=device, dtype=dtype)
    try:
        config = config.with_sizes_of({n: tuple(t.shape) for n, t in tensors.items()})
    except PixelReferError as error:
        raise PixelReferError(
            'CHECKPOINT', f'{folder / "config.json"}: {error.message}') from None
    tokenizer = Tokenizer.from_folder(folder) if Tokenizer.is_in(folder) else None
    if tokenizer is not None:
        config = replace(config, region_token_index=tokenizer.region_id)
    model, rotary = _build(config, folder / 'config.json')
    _check(folder, model, tensors)
    if config.language.tie_word_embeddings:
        tensors['lm_head.weight'] = tensors['model.embed_tokens.weight']
    model.load_state_dict(tensors, strict=True, assign=True)
    model.tie()
    model.model.rotary_emb = rotary.to(device)
    model.tokenizer, model.generation, model.folder = tokenizer, _generation(folder), folder
    return model.eval()


def _build(config: PixelReferConfig, file: Path) -> tuple[PixelReferLite, Qwen2RotaryEmbedding]:
    """The model without memory, and its rotary embedding with: its frequencies are in no state
    dict. Raises PixelReferError CHECKPOINT naming `file` where a setting cannot be built."""
    try:
        with torch.device('meta'):
            model = PixelReferLite(config)
        return model, Qwen2RotaryEmbedding(model.model.config)
    except Exception as error:  # transformers raises its own plain ones besides KeyError and others
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        raise PixelReferError('CHECKPOINT', f'{file}: no model can be built: {reason}') from error


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights: safetensors before .bin, one file or the index's shards."""
    for single, kind in (('model.safetensors', 'safetensors'), ('pytorch_model.bin', 'bin')):
        index = folder / f'{single}.index.json'
        if (folder / single).is_file():
            return [folder / single]
        if index.is_file():
            return _shards(index)
    raise PixelReferError('CHECKPOINT', f'{folder}: there is no model.safetensors or '
                                        'pytorch_model.bin, whole or with an index.json')


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding='utf-8'))['weight_map'].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise PixelReferError('CHECKPOINT', f'{index}: no readable weight_map: {error}') from None
    files = [index.parent / Path(str(name)).name for name in names]
    for file in files:
        if not file.is_file():
            raise PixelReferError('CHECKPOINT', f'{file}: missing, but {index.name} names it')
    return files


def _read(file: Path) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of one weight file; never runs code that a file may hold."""
    try:
        if file.suffix == '.safetensors':
            with safe_open(file, 'pt') as opened:
                for name in opened.keys():
                    yield name, opened.get_tensor(name)
        else:
            state = torch.load(file, map_location='cpu', weights_only=True)
            if not isinstance(state, dict) or not all(
                    isinstance(t, Tensor) for t in state.values()):
                raise PixelReferError('CHECKPOINT', f'{file}: not a dictionary of tensors')
            yield from state.items()
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise PixelReferError('CHECKPOINT', f'{file}: holds more than weights, or is damaged '
                                            f'({reason})') from None
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise PixelReferError(
            'CHECKPOINT', f'{file}: truncated or damaged ({type(error).__name__}: {error})'
        ) from None


def _check(folder: Path, model: PixelReferLite, tensors: dict[str, Tensor]) -> None:
    """Every name and shape, before anything is assigned."""
    wanted = model.state_dict()
    tied = {'lm_head.weight'} if model.config.language.tie_word_embeddings else set()
    problems = []
    for what, names in (('missing', set(wanted) - set(tensors) - tied),
                        ('unknown', set(tensors) - set(wanted))):
        if names:
            problems.append(f'{len(names)} {what}: {_listed(names)}')
    shapes = {f'{name} {list(tensors[name].shape)} instead of {list(wanted[name].shape)}'
              for name in set(wanted) & set(tensors) - tied
              if tensors[name].shape != wanted[name].shape}
    if shapes:
        problems.append(f'{len(shapes)} of another shape: {_listed(shapes)}')
    if problems:
        raise PixelReferError('CHECKPOINT', f'{folder}: not a PixelRefer-Lite checkpoint of its '
                                            f'config.json; tensors ' + '; '.join(problems))


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:MOST_NAMES]
    return ', '.join(shown) + (f' and {len(names) - len(shown)} more'
                               if len(names) > len(shown) else '')


def _generation(folder: Path) -> dict:
    file = folder / 'generation_config.json'
    if not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding='utf-8'))
        float(values.get('repetition_penalty') or 1)
        ends = values.get('eos_token_id')
        if not all(isinstance(i, int | None) for i in (ends if isinstance(ends, list) else [ends])):
            raise ValueError(f'eos_token_id is {ends!r}; an id or a list of ids is needed')
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise PixelReferError('CHECKPOINT', f'{file}: not readable: {error}') from None
    return values


def save_checkpoint(model: PixelReferLite, folder: str | Path, *,
                    tokenizer: Tokenizer | None = None, dtype: torch.dtype | None = None,
                    generation: dict | None = None) -> Path:
    """See `PixelReferLite.save_checkpoint`. `dtype` is that of the stored weights."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config, tokenizer = model.config, tokenizer or model.tokenizer
    generation = model.generation if generation is None else generation
    if tokenizer is not None:
        config = replace(config, region_token_index=tokenizer.region_id)
        tokenizer.save(folder)
    stored = dtype or model.dtype
    tied = config.language.tie_word_embeddings
    tensors = {name: tensor.detach().to('cpu', stored).contiguous()
               for name, tensor in model.state_dict().items()
               if not (tied and name == 'lm_head.weight')}
    save_file(tensors, folder / 'model.safetensors', metadata={'format': 'pt'})
    values = {**config.to_dict(), 'torch_dtype': str(stored).removeprefix('torch.')}
    language = config.language
    generation = {'bos_token_id': language.bos_token_id, 'eos_token_id': language.eos_token_id,
                  **generation}
    for name, content in (('config.json', values), ('generation_config.json', generation)):
        (folder / name).write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    return folder


def digest(model: PixelReferLite) -> str:
    """Short fingerprint of the weights and sizes: part of the key of object tokens.

    Of each tensor of the encoders some 4,096 values evenly spread are looked at.
    """
    seen = hashlib.sha256(repr(model.config).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if '_encoder.' in name:
            flat = tensor.detach().flatten()
            some = flat[::max(1, flat.numel() // 4096)].float().cpu().numpy()
            seen.update(name.encode() + some.tobytes())
    return seen.hexdigest()[:16]
