# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of PixelRefer on disk: read strictly, written in the released layout."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

from pixelrefer_model.device import guarded
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language.tokenizer import IMAGE, Tokenizer
from pixelrefer_model.pixelrefer.configuration_pixelrefer import (
    FULL, LanguageConfig, PixelReferConfig, config_values)
from pixelrefer_model.pixelrefer.modeling_pixelrefer import VARIANTS, PixelReferModel
from pixelrefer_model.pixelrefer.weights import (
    Stored, read_tensors, stored_tensors, weight_files)

#: Most names that an error message lists of each kind of fault.
MOST_NAMES = 40


def load_checkpoint(folder: str | Path, kind: type[PixelReferModel] = PixelReferModel, *,
                    device: str | torch.device = 'cpu',
                    dtype: torch.dtype = torch.float32) -> PixelReferModel:
    """See `PixelReferModel.from_checkpoint`. Everything is checked before a weight is read, and
    each weight is cast by itself: the process never holds them twice."""
    folder = Path(folder)
    if not folder.is_dir():
        raise PixelReferError('CHECKPOINT', f'{folder}: there is no such folder')
    config_values(folder)
    stored = stored_tensors(weight_files(folder))
    config = PixelReferConfig.from_folder(folder, {n: one.shape for n, one in stored.items()})
    variant = VARIANTS[config.model_type]
    if not issubclass(variant, kind):
        raise PixelReferError('CHECKPOINT', f'{folder}: is a {variant.__name__}, but a '
                                            f'{kind.__name__} is needed')
    tokenizer = Tokenizer.from_folder(folder) if Tokenizer.is_in(folder) else None
    if tokenizer is not None:
        config = _with_ids(config, tokenizer, folder)
    model, rotary = _build(variant, config, folder / 'config.json')
    stored = {name: one for name, one in stored.items() if not _unused(name, variant, config)}
    _check(folder, model, stored)
    generation = _generation(folder)
    tensors = _read(folder, stored, device, dtype)
    if config.language.tie_word_embeddings:
        tensors['lm_head.weight'] = tensors['model.embed_tokens.weight']
    model.load_state_dict(tensors, strict=True, assign=True)
    model.tie()
    model.model.rotary_emb = rotary.to(device)
    model.tokenizer, model.generation, model.folder = tokenizer, generation, folder
    return model.eval()


def _with_ids(config: PixelReferConfig, tokenizer: Tokenizer, folder: Path) -> PixelReferConfig:
    """The tokenizer's ids of the tokens that stand for regions and images."""
    image = tokenizer.backend.token_to_id(IMAGE)
    if image is None:
        if config.model_type == FULL:
            raise PixelReferError('CHECKPOINT', f'{folder}: the tokenizer has no token {IMAGE}')
        image = config.image_token_index
    return replace(config, region_token_index=tokenizer.region_id, image_token_index=image)


def _build(variant: type[PixelReferModel], config: PixelReferConfig,
           file: Path) -> tuple[PixelReferModel, Qwen2RotaryEmbedding]:
    """The model without memory, and its rotary embedding with: its frequencies are in no state
    dict. Raises PixelReferError CHECKPOINT naming `file` where a setting cannot be built."""
    try:
        with torch.device('meta'):
            model = variant(config)
        return model, Qwen2RotaryEmbedding(model.model.config)
    except Exception as error:  # transformers raises its own plain ones besides KeyError and others
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        raise PixelReferError('CHECKPOINT', f'{file}: no model can be built: {reason}') from error


def _unused(name: str, variant: type[PixelReferModel], config: PixelReferConfig) -> bool:
    """Whether a name that released files hold is of no use, be it there or not."""
    return name.startswith(variant.dead) or (
        name == 'lm_head.weight' and config.language.tie_word_embeddings)


def _check(folder: Path, model: PixelReferModel, stored: Mapping[str, Stored]) -> None:
    """Every name, shape and type, before anything is read."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()
              if not _unused(name, type(model), model.config)}
    shared = set(wanted) & set(stored)
    faults = {
        'missing': set(wanted) - set(stored),
        'unknown': set(stored) - set(wanted),
        'of another shape': {f'{name} {list(stored[name].shape)} instead of {list(wanted[name])}'
                             for name in shared if stored[name].shape != wanted[name]},
        'of a type that is no weight': {f'{name} {stored[name].dtype}' for name in shared
                                        if isinstance(stored[name].dtype, str)}}
    problems = [f'{len(names)} {what}: {_listed(names)}' for what, names in faults.items() if names]
    if problems:
        raise PixelReferError('CHECKPOINT', f'{folder}: not a {type(model).__name__} checkpoint of '
                                            f'its config.json; tensors ' + '; '.join(problems))


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:MOST_NAMES]
    return ', '.join(shown) + (f' and {len(names) - len(shown)} more'
                               if len(names) > len(shown) else '')


def _read(folder: Path, stored: Mapping[str, Stored], device: str | torch.device,
          dtype: torch.dtype) -> dict[str, Tensor]:
    count = sum(one.bytes // one.dtype.itemsize for one in stored.values())
    return guarded(
        lambda: {name: tensor.to(device, dtype, copy=True)
                 for name, tensor in read_tensors(stored)},
        device=torch.device(device), what=f'for {folder}: {count / 1e9:.2f} billion weights in '
        f'{str(dtype).removeprefix("torch.")} ({count * dtype.itemsize / 2 ** 30:.1f} GiB)')


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


def save_checkpoint(model: PixelReferModel, folder: str | Path, *,
                    tokenizer: Tokenizer | None = None, dtype: torch.dtype | None = None,
                    generation: dict | None = None) -> Path:
    """See `PixelReferModel.save_checkpoint`. `dtype` is that of the stored weights."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config, tokenizer = model.config, tokenizer or model.tokenizer
    generation = model.generation if generation is None else generation
    if tokenizer is not None:
        config = _with_ids(config, tokenizer, folder)
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


def digest(model: PixelReferModel) -> str:
    """Short fingerprint of the encoders' weights and sizes: part of the key of object tokens.

    The language model has no part in it: what was remembered with one is read by a later one
    that was trained on the same encoders. Of each tensor some 4,096 values evenly spread are looked
    at.
    """
    width = model.config.language.hidden_size
    made_with = replace(model.config, language=LanguageConfig(hidden_size=width),
                        region_token_index=0, image_token_index=0)
    seen = hashlib.sha256(repr(made_with).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if '_encoder.' in name or '.mm_projector.' in name:
            flat = tensor.detach().flatten()
            some = flat[::max(1, flat.numel() // 4096)].float().cpu().numpy()
            seen.update(name.encode() + some.tobytes())
    return seen.hexdigest()[:16]
