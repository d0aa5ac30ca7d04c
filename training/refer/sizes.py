# SPDX-License-Identifier: Apache-2.0
"""Sizes of the tiny PixelRefer-Lite: the released architecture, small numbers."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import (
    LanguageConfig, PixelReferConfig, PixelReferLite, VisionConfig)
from training.refer.tokenizer import write_extra_files


@dataclass(frozen=True)
class Tower:
    """Sizes of the vision tower, and the px of a side of the whole image that it sees."""

    width: int
    layers: int
    heads: int
    image: int


#: Of the packaged checkpoint: on the whole image, of 16 x 16 patches, a step of 2 cm at arm's
#: length is half a patch.
PACKAGED = Tower(128, 4, 4, 112)
LARGER = Tower(192, 5, 6, 140)
#: What begins from nothing, by device: the larger takes 2.7 times as long on a core.
TOWERS = {'cpu': PACKAGED, 'cuda': LARGER}


def tiny_config(tokenizer: Tokenizer, tower: Tower = PACKAGED) -> PixelReferConfig:
    """Patches of 7 pixels at the scale of a 320x240 camera, 16 tokens per object.

    A patch of 7 keeps stripes and checks of a far object apart where one of 14 averages over them.
    These are the sizes of what begins from nothing; a checkpoint that a run begins with keeps its
    own.
    """
    ids = {token: number for number, token in tokenizer.added.items()}
    return PixelReferConfig(
        VisionConfig(hidden_size=tower.width, intermediate_size=3 * tower.width,
                     num_hidden_layers=tower.layers, num_attention_heads=tower.heads,
                     patch_size=7),
        LanguageConfig(vocab_size=len(tokenizer), hidden_size=128, intermediate_size=384,
                       num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                       max_position_embeddings=4096, max_window_layers=3, rope_theta=1e4,
                       bos_token_id=ids['<|endoftext|>'], eos_token_id=tokenizer.end_id),
        mask_num=16, mm_max_length=4096, region_token_index=tokenizer.region_id,
        image_token_index=ids['<image>'], global_image_size=tower.image, local_image_size=42,
        context_patches=2, shrink_patches=50, crop_patches=144, now_looks=2)


def with_words(config: PixelReferConfig, tokenizer: Tokenizer) -> PixelReferConfig:
    """The same sizes with the vocabulary of `tokenizer`; questions about now rest on two looks, as
    training asks them."""
    ids = {token: number for number, token in tokenizer.added.items()}
    return replace(
        config, region_token_index=tokenizer.region_id, image_token_index=ids['<image>'],
        now_looks=2,
        language=replace(config.language, vocab_size=len(tokenizer), eos_token_id=tokenizer.end_id,
                         bos_token_id=ids['<|endoftext|>']))


def export(model: PixelReferLite, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the checkpoint as the released ones are laid out, weights in bfloat16.

    Rounding to bfloat16 changes no figure beyond its interval and halves the file.
    """
    ids = {token: number for number, token in tokenizer.added.items()}
    model.save_checkpoint(folder, tokenizer=tokenizer, dtype=torch.bfloat16, generation={
        'do_sample': False, 'pad_token_id': ids['<|endoftext|>']})
    write_extra_files(Path(folder), tokenizer)
