# SPDX-License-Identifier: Apache-2.0
"""A small SAM 2 with random weights that sees objects, and a picture stream with known motion."""

import numpy as np
import pytest
import torch
from transformers import Sam2VideoModel

from pixelrefer_model.frame import Frame
from training.tracker.config import tiny_config, tiny_model

SIZE, WIDTH, HEIGHT = 128, 160, 120
STEP_NS = 100_000_000


def small_model(seed: int = 0, size: int = SIZE, width: int = 128,
                stages: tuple[int, ...] = (24, 48, 96, 192)) -> Sam2VideoModel:
    """Random weights; object score and predicted IoU are lifted so that objects count as seen."""
    config = tiny_config(size, width, stages)
    config.prompt_look = None
    if size < SIZE:
        config.memory_attention_num_layers = 1
        config.vision_config.backbone_config.blocks_per_stage = [1, 1, 1, 1]
        config.vision_config.backbone_config.global_attention_blocks = []
    model = tiny_model(config, seed)
    with torch.no_grad():
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(6.0)
        model.mask_decoder.iou_prediction_head.proj_out.bias.fill_(2.0)
        model.memory_temporal_positional_encoding.normal_(std=0.2)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def say(model: Sam2VideoModel, score: float, iou: float = 2.0) -> None:
    """Make `model` say of every frame: object score (logit) about `score`, IoU logit `iou`."""
    with torch.no_grad():
        for head, value in ((model.mask_decoder.pred_obj_score_head, score),
                            (model.mask_decoder.iou_prediction_head, iou)):
            head.proj_out.weight.zero_()
            head.proj_out.bias.fill_(value)


def picture(t: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Frame `t`: two discs that move over a textured ground."""
    rng = np.random.default_rng(5)
    image = rng.integers(60, 120, (height, width, 3)).astype(np.uint8)
    y, x = np.mgrid[:height, :width]
    image[np.hypot(x - 40 - 2 * t, y - 50) < 16] = (220, 40, 30)
    image[np.hypot(x - 110 + t, y - 70 - t // 2) < 12] = (30, 60, 220)
    return image


def frame(t: int, width: int = WIDTH, height: int = HEIGHT) -> Frame:
    return Frame(picture(t, width, height), stamp_ns=1_000_000_000 + t * STEP_NS)


def disc_mask(t: int = 0) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.hypot(x - 40 - 2 * t, y - 50) < 16


@pytest.fixture(scope='session')
def model() -> Sam2VideoModel:
    torch.set_num_threads(1)
    return small_model()


@pytest.fixture
def narrow() -> Sam2VideoModel:
    """The smallest that the architecture allows: 64 px, for tests of rules rather than numbers."""
    torch.set_num_threads(1)
    return small_model(size=64, width=64, stages=(8, 16, 32, 64))
