# SPDX-License-Identifier: Apache-2.0
"""Detectors of the real architectures in a tiny size with random weights."""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import (
    BertConfig, BertTokenizer, CLIPTokenizer, GroundingDinoConfig, GroundingDinoForObjectDetection,
    Owlv2Config, Owlv2ForObjectDetection, SwinConfig)

WORDS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '.', '?', 'the', 'red', 'blue', 'mug')
#: As the released checkpoints have them.
GROUNDING_IMAGES = {'size': {'shortest_edge': 64, 'longest_edge': 96},
                    'image_mean': [0.485, 0.456, 0.406], 'image_std': [0.229, 0.224, 0.225]}
OWL_IMAGES = {'size': {'height': 64, 'width': 64},
              'image_mean': [0.48145466, 0.4578275, 0.40821073],
              'image_std': [0.26862954, 0.26130258, 0.27577711]}


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An image, uint8 [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_grounding_dino(folder: Path) -> Path:
    """A checkpoint of Grounding DINO."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    (folder / 'vocab.txt').write_text('\n'.join(WORDS) + '\n')
    BertTokenizer(str(folder / 'vocab.txt')).save_pretrained(folder)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
            out_features=['stage2', 'stage3', 'stage4']),
        text_config=BertConfig(
            vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=16),
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
        encoder_attention_heads=2, decoder_attention_heads=2, num_queries=10, max_text_len=16)
    GroundingDinoForObjectDetection(config).eval().save_pretrained(folder)
    _write(folder, GROUNDING_IMAGES)
    return folder


def make_owlv2(folder: Path) -> Path:
    """A checkpoint of OWLv2."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    letters = 'abcdefghijklmnopqrstuvwxyz'
    pieces = ['!', *letters, *(f'{one}</w>' for one in letters), '<|startoftext|>', '<|endoftext|>']
    (folder / 'vocab.json').write_text(json.dumps({one: n for n, one in enumerate(pieces)}))
    (folder / 'merges.txt').write_text('#version: 0.2\n')
    CLIPTokenizer(str(folder / 'vocab.json'), str(folder / 'merges.txt'), pad_token='!'
                  ).save_pretrained(folder)
    text = {'vocab_size': len(pieces), 'hidden_size': 16, 'intermediate_size': 16,
            'num_hidden_layers': 1, 'num_attention_heads': 2, 'max_position_embeddings': 16,
            'bos_token_id': len(pieces) - 2, 'eos_token_id': len(pieces) - 1, 'pad_token_id': 0}
    vision = {'hidden_size': 16, 'intermediate_size': 16, 'num_hidden_layers': 1,
              'num_attention_heads': 2, 'image_size': 64, 'patch_size': 16}
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=16)
    model = Owlv2ForObjectDetection(config).eval()
    with torch.no_grad():  # so that most boxes lie within the image
        model.box_head.dense2.weight.mul_(0.1)
    model.save_pretrained(folder)
    _write(folder, OWL_IMAGES)
    return folder


def _write(folder: Path, images: dict) -> None:
    (folder / 'preprocessor_config.json').write_text(json.dumps(images))
