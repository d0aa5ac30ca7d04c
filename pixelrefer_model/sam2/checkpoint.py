# SPDX-License-Identifier: Apache-2.0
"""SAM 2 checkpoints, loaded strictly: a folder with config.json and model.safetensors (or .bin,
.pt), or a .pt file as the authors of SAM 2 publish it."""

import json
import os
import pickle
import struct
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import Sam2VideoConfig, Sam2VideoModel

from pixelrefer_model.device import guarded
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.sam2 import official
from pixelrefer_model.sam2.policy import LookPolicy

#: Looked for in this order; the last ones are read with `weights_only`.
WEIGHT_FILES = ('model.safetensors', 'pytorch_model.bin', 'model.bin', 'model.pt')
#: The encoding of positions, which a model holds twice; a file may hold it once.
_ONE_TABLE = ('shared_image_embedding.positional_embedding',
              'prompt_encoder.shared_embedding.positional_embedding')
#: What the libraries raise at a file that is cut off, damaged, or more than tensors.
DAMAGED = (SafetensorError, OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError,
           AssertionError, AttributeError, struct.error, pickle.UnpicklingError)
#: At most so many names of missing or unexpected tensors are put in a message.
_NAMED = 40


def _refuse(file: Path, reason: str) -> PixelReferError:
    return PixelReferError('CHECKPOINT', f'{file}: {reason}')


def _one_line(error: Exception) -> str:
    return ' '.join(f'{type(error).__name__}: {error}'.split())


def read_config(folder: Path) -> Sam2VideoConfig:
    """The configuration in `folder`; raises PixelReferError CHECKPOINT naming file and reason."""
    file = folder / 'config.json'
    try:
        values = json.loads(file.read_text(encoding='utf-8'))
    except OSError as error:
        raise _refuse(file, f'cannot be read ({error.strerror})') from error
    except ValueError as error:
        raise _refuse(file, f'is not JSON ({error})') from error
    kind = values.get('model_type') if isinstance(values, dict) else None
    if kind not in ('sam2_video', 'sam2'):
        raise _refuse(file, f'model_type is {kind!r}; a SAM 2 checkpoint has "sam2_video"')
    values['model_type'] = 'sam2_video'
    try:
        return Sam2VideoConfig.from_dict(values)
    except Exception as error:  # as when the model is built
        raise _refuse(file, f'is not a SAM 2 configuration ({_one_line(error)})') from error


def weight_file(folder: Path) -> Path:
    """The weight file of `folder`: the first of WEIGHT_FILES, or else its only .pt file; raises
    PixelReferError CHECKPOINT."""
    for name in WEIGHT_FILES:
        if (folder / name).exists():
            return folder / name
    others = sorted(folder.glob('*.pt'))
    if len(others) == 1:
        return others[0]
    if others:
        raise _refuse(folder, f'holds {len(others)} .pt files; name the one that is meant')
    raise _refuse(folder, 'holds no weights; config.json and one of ' + ', '.join(WEIGHT_FILES) +
                  ' are needed, or a .pt file as the authors of SAM 2 publish it')


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of `file`, nothing else of it is run; raises PixelReferError CHECKPOINT."""
    try:
        if file.suffix == '.safetensors':
            return load_file(file)
        tensors = torch.load(file, map_location='cpu', weights_only=True)
    except DAMAGED as error:
        reason = str(error).strip().split('\n')[0]
        raise _refuse(file, f'is damaged or not a weight file ({reason})') from error
    tensors = tensors.get('model', tensors) if isinstance(tensors, dict) else {}
    if not tensors or not all(isinstance(t, torch.Tensor) for t in tensors.values()):
        raise _refuse(file, 'holds no table of tensors')
    return tensors


def _read(path: Path) -> tuple[Path, Sam2VideoConfig, dict[str, torch.Tensor]]:
    """The weight file, the configuration and the tensors under transformers' names."""
    file = path if path.is_file() else weight_file(path)
    described = file.suffix != '.pt' or (file.parent / 'config.json').exists()
    config = read_config(file.parent) if described else None
    tensors = read_weights(file)
    if official.MARK not in tensors:
        return file, config or read_config(file.parent), tensors
    try:
        return file, config or official.read_sizes(tensors), official.translate(tensors)
    except official.Unknown as error:
        raise _refuse(file, f'is of another architecture: {error}') from error


def set_input_size(model: Sam2VideoModel, size: int) -> None:
    """Make `model` take `size` x `size` pixels. No weight changes: position tables are resampled.

    Raises PixelReferError CHECKPOINT unless `size` suits the patches and windows of the encoder.
    """
    config, vision = model.config, model.config.vision_config
    backbone = vision.backbone_config
    step = 4 * max(backbone.window_size_per_stage[0], 4)
    if size < 2 * step or size % step:
        raise PixelReferError(
            'CHECKPOINT', f'input size {size} px; a multiple of {step} from {2 * step} is allowed')
    levels = [[size // stride] * 2 for stride in (4, 8, 16)]
    config.image_size = model.image_size = size
    config.prompt_encoder_config.image_size = size
    config.memory_attention_rope_feat_sizes = levels[2]
    vision.backbone_feature_sizes = model.backbone_feature_sizes = levels
    backbone.image_size = [size, size]
    prompts = model.prompt_encoder
    prompts.image_embedding_size = (size // 16, size // 16)
    prompts.mask_input_size = (size // 4, size // 4)
    prompts.input_image_size = size
    attention = model.memory_attention
    attention.position_ids = attention.precompute_positions(config).to(
        attention.position_ids.device)


def load_model(path: str | os.PathLike, *, device: str = 'cpu',
               dtype: torch.dtype = torch.float32, input_size: int | None = None
               ) -> Sam2VideoModel:
    """Load a SAM 2 checkpoint strictly, in eval mode.

    path: a folder as `save_pretrained` writes it, or a .pt file with the names of the authors of
    SAM 2 (or a folder with one); of a released size that needs no config.json. input_size: another
    input size than the checkpoint's own, for example 512 for the released ones (a quarter of the
    work, small objects suffer). The encoding of positions stays float32 whatever `dtype`, since in
    bfloat16 a click would be pixels off. Raises PixelReferError CHECKPOINT naming the file and the
    reason when it is missing, truncated or of another architecture, OUT_OF_MEMORY.
    """
    path = Path(path)
    if not path.exists():
        raise _refuse(path, 'is not a folder or a .pt file')
    file, config, tensors = _read(path)
    for name, same in zip(_ONE_TABLE, reversed(_ONE_TABLE)):
        if name not in tensors and same in tensors:
            tensors[name] = tensors[same].clone()
    try:
        with torch.device('meta'):
            expected = {name: t.shape for name, t in Sam2VideoModel(config).state_dict().items()}
    except Exception as error:  # transformers raises its own plain ones besides KeyError and others
        raise _refuse(file.parent / 'config.json',
                      f'cannot be built ({_one_line(error)})') from error
    missing = sorted(set(expected) - set(tensors))
    surplus = sorted(set(tensors) - set(expected))
    wrong = [name for name in expected if name in tensors
             and tensors[name].shape != expected[name]]
    if missing or surplus or wrong:
        told = [f'{len(names)} {what} ({", ".join(names[:_NAMED])})' for what, names in
                (('missing', missing), ('unexpected', surplus), ('of another shape', wrong))
                if names]
        raise _refuse(file, 'is of another architecture: ' + '; '.join(told))
    model = Sam2VideoModel(config)
    model.load_state_dict(tensors, strict=True)
    if input_size is not None and input_size != config.image_size:
        set_input_size(model, input_size)
    model = guarded(lambda: model.to(device=device, dtype=dtype).eval(),
                    device=torch.device(device), what=f'for the weights of {path}')
    for name in _ONE_TABLE:
        owner, _, buffer = name.rpartition('.')
        setattr(model.get_submodule(owner), buffer, tensors[name].to(device, torch.float32))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def look_of(path: str | os.PathLike, config: Sam2VideoConfig) -> LookPolicy:
    """How closely prompts are to be looked at with this checkpoint: `prompt_look` of its
    configuration, fields of LookPolicy by name; never where there is none. Raises PixelReferError
    CHECKPOINT for fields or values that there are not."""
    said = getattr(config, 'prompt_look', None)
    if said is None:
        return LookPolicy.never()
    try:
        return LookPolicy(**said)
    except (TypeError, ValueError) as error:
        raise _refuse(Path(path), f'prompt_look {said!r} is not a LookPolicy ({error})') from error


def save_model(model: Sam2VideoModel, folder: str | os.PathLike,
               dtype: torch.dtype = torch.float32) -> None:
    """Write config.json and model.safetensors into `folder`; each file appears whole or not."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    values = model.config.to_diff_dict()
    values['architectures'] = ['Sam2VideoModel']
    for name, write in (
            ('config.json', lambda part: part.write_text(
                json.dumps(values, indent=2, sort_keys=True) + '\n', encoding='utf-8')),
            ('model.safetensors', lambda part: save_file(
                {key: value.detach().to('cpu', dtype).contiguous() for key, value
                 in model.state_dict().items()}, part))):
        part = folder / (name + '.part')
        write(part)
        part.chmod(0o644)
        part.replace(folder / name)
