# SPDX-License-Identifier: Apache-2.0
"""Sizes of a PixelRefer checkpoint, read from the flat config.json it is released with."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from transformers import Qwen2Config

from pixelrefer_model.errors import PixelReferError

#: Values of `model_type` in config.json: objects alone (PixelRefer-Lite), and objects beside the
#: whole image (PixelRefer).
LITE, FULL = 'pixelreferlite_qwen2', 'pixelrefer_qwen2'
ARCHITECTURES = {LITE: 'PixelreferliteQwen2ForCausalLM', FULL: 'PixelreferQwen2ForCausalLM'}
#: An object larger than so many patches is shrunk to it, unless a configuration says otherwise.
SHRINK_PATCHES = {LITE: 50, FULL: 100}
#: Width of a head of Qwen2: how many heads there are where config.json does not say.
HEAD_SIZE = 128


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of the vision tower; the defaults are those of VL3-SigLIP-NaViT."""

    hidden_size: int = 1152
    intermediate_size: int = 4304
    num_hidden_layers: int = 27
    num_attention_heads: int = 16
    num_channels: int = 3
    patch_size: int = 14
    layer_norm_eps: float = 1e-6


@dataclass(frozen=True)
class LanguageConfig:
    """Sizes of the Qwen2 language model; the defaults are those of the 2B checkpoint."""

    vocab_size: int = 151669
    hidden_size: int = 1536
    intermediate_size: int = 8960
    num_hidden_layers: int = 28
    num_attention_heads: int = 12
    num_key_value_heads: int = 2
    max_position_embeddings: int = 32768
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1e6
    rope_scaling: dict | None = None
    tie_word_embeddings: bool = True
    hidden_act: str = 'silu'
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    use_sliding_window: bool = False
    sliding_window: int | None = None
    max_window_layers: int = 28
    bos_token_id: int | None = 151643
    eos_token_id: int | None = 151645

    def to_qwen2(self) -> Qwen2Config:
        """The same as transformers' own configuration."""
        qwen2 = Qwen2Config(**asdict(self))
        qwen2._attn_implementation = 'sdpa'
        return qwen2


@dataclass(frozen=True)
class PixelReferConfig:
    """Everything that fixes the architecture and the image arithmetic.

    model_type: LITE or FULL. mask_num: K, object tokens per region, the most where they vary.
    mm_max_length: pixel budget of a call, in patches. spatial_merge_size: patches of a video frame
    along a side that make one image token (FULL). global_image_size, local_image_size: side of
    the two context images, pixels (LITE). context_patches: margin round a mask's box, in patches
    of the original image. shrink_patches: an object larger than so many patches is shrunk to it.
    crop_patches: most patches of one crop that the robot encode policy allows. now_looks,
    now_likeness: which observations of an object a question about now rests on, see `Now`; -1: the
    newest, whatever it shows. The last seven are not in released files; the defaults are what the
    released models were made with (crop_patches apart, which the published policy ignores;
    shrink_patches is 100 for FULL).
    """

    vision: VisionConfig = field(default_factory=VisionConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    model_type: str = LITE
    mask_num: int = 32
    mm_max_length: int = 8192
    spatial_merge_size: int = 2
    region_token_index: int = 151668
    image_token_index: int = 151665
    global_image_size: int = 336
    local_image_size: int = 224
    context_patches: int = 2
    shrink_patches: int = 50
    crop_patches: int = 1024
    # Not in the repr: that makes the key of object tokens, which are the same.
    now_looks: int = field(default=1, repr=False)
    now_likeness: float = field(default=-1.0, repr=False)

    @property
    def patch_size(self) -> int:
        """Side of a patch, pixels."""
        return self.vision.patch_size

    @classmethod
    def from_dict(cls, values: Mapping[str, Any],
                  shapes: Mapping[str, tuple[int, ...]] | None = None) -> 'PixelReferConfig':
        """The configuration in a released config.json; fields of no meaning here are left out.

        shapes: of the stored tensors. They decide on the vision tower and the vocabulary, and on
        sizes of the language model that config.json does not give. Raises PixelReferError
        CHECKPOINT for another architecture or impossible sizes.
        """
        model_type = values.get('model_type')
        if model_type not in ARCHITECTURES:
            raise PixelReferError(
                'CHECKPOINT', f'model_type is {model_type!r}; '
                f'{" and ".join(map(repr, ARCHITECTURES))} are supported')
        shapes = shapes or {}
        vision = _known(VisionConfig, values.get('vision_encoder_config') or {})
        if 'hidden_size' not in vision and values.get('mm_hidden_size'):
            vision['hidden_size'] = values['mm_hidden_size']
        vision |= vision_sizes(shapes)
        own = {name: value for name, value in _known(cls, values).items()
               if name not in ('vision', 'language')}
        own.setdefault('shrink_patches', SHRINK_PATCHES[model_type])
        if 'mm_max_length' not in own:
            own['mm_max_length'] = 9477 // int(values.get('spatial_merge_size') or 2) ** 2
        language = _known(LanguageConfig, values)
        # transformers 5 writes the rotary base inside rope_parameters.
        rope = values.get('rope_parameters') or {}
        if rope.get('rope_type', 'default') != 'default':
            language.setdefault('rope_scaling', {key: value for key, value in rope.items()
                                                 if key != 'rope_theta'})
        language.setdefault('rope_theta', rope.get('rope_theta', LanguageConfig.rope_theta))
        language = language_sizes(shapes, language)
        config = cls(VisionConfig(**vision), LanguageConfig(**language), **own)
        config._check()
        return config

    @classmethod
    def from_folder(cls, folder: str | Path,
                    shapes: Mapping[str, tuple[int, ...]] | None = None) -> 'PixelReferConfig':
        """Read `folder`/config.json; see `from_dict`.

        Raises PixelReferError CHECKPOINT naming file and reason.
        """
        file, values = Path(folder) / 'config.json', config_values(folder)
        try:
            return cls.from_dict(values, shapes)
        except PixelReferError as error:
            raise PixelReferError('CHECKPOINT', f'{file}: {error.message}') from None
        except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise PixelReferError('CHECKPOINT', f'{file}: {error}') from None

    def to_dict(self) -> dict[str, Any]:
        """The flat dictionary that `from_dict` reads, laid out as in the released files."""
        own = {name: value for name, value in asdict(self).items()
               if name not in ('vision', 'language')}
        return {
            'architectures': [ARCHITECTURES[self.model_type]],
            'mm_hidden_size': self.vision.hidden_size, 'mm_projector_type': 'mlp2x_gelu',
            'mm_vision_encoder': 'DAMO-NLP-SG/VL3-SigLIP-NaViT', 'use_token_compression': True,
            **asdict(self.language), **own,
            'vision_encoder_config': {'model_type': 'videollama3_vision_encoder',
                                      **asdict(self.vision)}}

    def _check(self) -> None:
        vision, language = self.vision, self.language
        for what, width, heads, step in (
                ('vision hidden_size', vision.hidden_size, vision.num_attention_heads, 4),
                ('region encoder width', vision.hidden_size, 8, 1),
                ('hidden_size', language.hidden_size, language.num_attention_heads, 2)):
            if width <= 0 or heads <= 0 or width % (heads * step):
                raise PixelReferError(
                    'CHECKPOINT', f'{what} {width} does not divide into {heads} heads')
        if language.num_attention_heads % max(language.num_key_value_heads, 1):
            raise PixelReferError('CHECKPOINT', 'num_attention_heads is no multiple of '
                                                'num_key_value_heads')
        for name in ('mask_num', 'mm_max_length', 'spatial_merge_size', 'global_image_size',
                     'local_image_size', 'context_patches', 'shrink_patches', 'crop_patches'):
            least, value = 0 if name == 'context_patches' else 1, getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise PixelReferError('CHECKPOINT', f'{name} is {value!r}; a whole number of at '
                                                    f'least {least} is needed')
        if self.now_looks not in (1, 2):
            raise PixelReferError('CHECKPOINT', f'now_looks is {self.now_looks!r}; 1 and 2 are '
                                                'allowed')
        if not (isinstance(self.now_likeness, (int, float)) and -1 <= self.now_likeness <= 1):
            raise PixelReferError('CHECKPOINT', f'now_likeness is {self.now_likeness!r}; -1 to 1 is '
                                                'allowed')


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of `values` that `kind` has a field for, without nulls of non-optional ones."""
    optional = {'rope_scaling', 'sliding_window', 'bos_token_id', 'eos_token_id'}
    return {name: values[name] for name in kind.__dataclass_fields__
            if name in values and (values[name] is not None or name in optional)}


def config_values(folder: str | Path) -> dict[str, Any]:
    """What `folder`/config.json holds. Raises PixelReferError CHECKPOINT naming the file."""
    file = Path(folder) / 'config.json'
    try:
        values = json.loads(file.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise PixelReferError('CHECKPOINT', f'{file}: there is no such file') from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PixelReferError('CHECKPOINT', f'{file}: not readable as JSON: {error}') from None
    if not isinstance(values, dict):
        raise PixelReferError('CHECKPOINT', f'{file}: a JSON object is needed')
    return values


def vision_sizes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Sizes of the vision tower that stored tensors prove."""
    tower, sizes = 'model.vision_encoder.vision_encoder.', {}
    patch = shapes.get(tower + 'embeddings.patch_embedding.weight', ())
    if len(patch) == 4:
        sizes.update(hidden_size=patch[0], num_channels=patch[1], patch_size=patch[2])
    inner = shapes.get(tower + 'encoder.layers.0.mlp.fc1.weight', ())
    if len(inner) == 2:
        sizes['intermediate_size'] = inner[0]
    if depth := _depth(shapes, tower + 'encoder.layers.'):
        sizes['num_hidden_layers'] = depth
    return sizes


def language_sizes(shapes: Mapping[str, tuple[int, ...]],
                   stated: Mapping[str, Any]) -> dict[str, Any]:
    """`stated` sizes of the language model with what it leaves out, where stored tensors prove
    it. The rows of the vocabulary are always the tensor's: training resizes them."""
    embedding = shapes.get('model.embed_tokens.weight', ())
    if len(embedding) != 2:
        return dict(stated)
    layer, width = 'model.layers.0.', embedding[1]
    sizes = {
        'hidden_size': width, 'num_hidden_layers': _depth(shapes, 'model.layers.'),
        'num_attention_heads': width // HEAD_SIZE,
        'intermediate_size': shapes.get(layer + 'mlp.gate_proj.weight', (0,))[0]} | dict(stated)
    heads = sizes['num_attention_heads']
    if 'num_key_value_heads' not in sizes and heads:
        key = shapes.get(layer + 'self_attn.k_proj.weight', (0,))[0]
        sizes['num_key_value_heads'] = key // (width // heads)
    found = {name: size for name, size in sizes.items() if name in stated or size}
    found.setdefault('tie_word_embeddings', 'lm_head.weight' not in shapes)
    return found | {'vocab_size': embedding[0]}


def _depth(shapes: Mapping[str, tuple[int, ...]], layers: str) -> int:
    """How many layers there are whose names begin with `layers`."""
    return len({name[len(layers):].split('.')[0] for name in shapes if name.startswith(layers)})
