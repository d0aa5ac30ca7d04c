# SPDX-License-Identifier: Apache-2.0
"""SAM 2 checkpoints: a folder with config.json and model.safetensors (or .bin, .pt); strict."""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import Sam2VideoConfig, Sam2VideoModel

from pixelrefer_model.errors import PixelReferError

#: Looked for in this order; the last ones are read with `weights_only`.
WEIGHT_FILES = ('model.safetensors', 'pytorch_model.bin', 'model.bin', 'model.pt')
#: At most so many names of missing or unexpected tensors are put in a message.
_NAMED = 3


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


def read_weights(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """The weight file of `folder` and its tensors; raises PixelReferError CHECKPOINT."""
    for name in WEIGHT_FILES:
        file = folder / name
        if not file.exists():
            continue
        try:
            if file.suffix == '.safetensors':
                return file, load_file(file)
            tensors = torch.load(file, map_location='cpu', weights_only=True)
        except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, KeyError,
                torch.serialization.pickle.UnpicklingError) as error:
            reason = str(error).strip().split('\n')[0]
            raise _refuse(file, f'is damaged or not a weight file ({reason})') from error
        tensors = tensors.get('model', tensors) if isinstance(tensors, dict) else {}
        if not tensors or not all(isinstance(t, torch.Tensor) for t in tensors.values()):
            raise _refuse(file, 'holds no table of tensors')
        return file, tensors
    raise _refuse(folder, 'holds no weights; one of ' + ', '.join(WEIGHT_FILES) + ' is needed')


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

    path: a folder as `save_pretrained` writes it. input_size: another input size than the
    checkpoint's own, for example 512 for the released ones (a quarter of the work, small objects
    suffer). Raises PixelReferError CHECKPOINT naming the file and the reason when it is missing,
    truncated or of another architecture.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise _refuse(folder, 'is not a folder')
    config = read_config(folder)
    file, tensors = read_weights(folder)
    try:
        with torch.device('meta'):
            expected = {name: t.shape for name, t in Sam2VideoModel(config).state_dict().items()}
    except Exception as error:  # transformers raises its own plain ones besides KeyError and others
        raise _refuse(folder / 'config.json', f'cannot be built ({_one_line(error)})') from error
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
    model = model.to(device=device, dtype=dtype).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


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
