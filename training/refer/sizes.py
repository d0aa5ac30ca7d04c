# SPDX-License-Identifier: Apache-2.0
"""Sizes of the tiny PixelRefer-Lite: the released architecture, small numbers."""

from dataclasses import replace
from pathlib import Path

import torch

from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import (
    LanguageConfig, PixelReferConfig, PixelReferLite, VisionConfig)
from training.refer.tokenizer import write_extra_files


def tiny_config(tokenizer: Tokenizer) -> PixelReferConfig:
    """Patches of 7 pixels at the scale of a 320x240 camera, 16 tokens per object.

    A patch of 7 keeps stripes and checks of a far object apart where one of 14 averages over them.
    On the global image of 20 x 20 patches a step of 2 cm at arm's length is more than half a patch.
    What begins from nothing has these sizes; the packaged checkpoint has smaller ones, and keeps
    them where a run begins with it.
    """
    ids = {token: number for number, token in tokenizer.added.items()}
    return PixelReferConfig(
        VisionConfig(hidden_size=192, intermediate_size=576, num_hidden_layers=5,
                     num_attention_heads=6, patch_size=7),
        LanguageConfig(vocab_size=len(tokenizer), hidden_size=128, intermediate_size=384,
                       num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                       max_position_embeddings=4096, max_window_layers=3, rope_theta=1e4,
                       bos_token_id=ids['<|endoftext|>'], eos_token_id=tokenizer.end_id),
        mask_num=16, mm_max_length=4096, region_token_index=tokenizer.region_id,
        image_token_index=ids['<image>'], global_image_size=140, local_image_size=42,
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
