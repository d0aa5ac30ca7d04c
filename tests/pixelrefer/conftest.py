# SPDX-License-Identifier: Apache-2.0
"""A small model with another patch size and K than the released ones, and pictures to look at."""

import cv2
import numpy as np
import pytest
import torch

from pixelrefer_model.pixelrefer import (
    LanguageConfig, PixelRefer, PixelReferConfig, PixelReferLite, VisionConfig)
from pixelrefer_support import CHECKPOINT, FULL_CHECKPOINT


@pytest.fixture(scope='session')
def golden() -> PixelReferLite:
    return PixelReferLite.from_checkpoint(CHECKPOINT)


@pytest.fixture(scope='session')
def golden_full() -> PixelRefer:
    return PixelRefer.from_checkpoint(FULL_CHECKPOINT)


@pytest.fixture(scope='session')
def small_config() -> PixelReferConfig:
    return PixelReferConfig(
        vision=VisionConfig(32, 64, 2, 2, 3, 7),
        language=LanguageConfig(
            vocab_size=64, hidden_size=48, intermediate_size=64, num_hidden_layers=1,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
            bos_token_id=None, eos_token_id=2),
        mask_num=16, mm_max_length=900, region_token_index=63, global_image_size=84,
        local_image_size=56, crop_patches=150)


@pytest.fixture(scope='session')
def small(small_config) -> PixelReferLite:
    torch.manual_seed(3)
    return PixelReferLite.from_config(small_config).eval()


@pytest.fixture(scope='session')
def picture() -> np.ndarray:
    noise = np.random.default_rng(5).integers(0, 255, (40, 53, 3), dtype=np.uint8)
    return cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC)

