# SPDX-License-Identifier: Apache-2.0
"""First weights of the tiny model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pixelrefer_model.language import Tokenizer
from pixelrefer_model.pixelrefer import PixelReferConfig, PixelReferLite
from training.refer.scenes import Scene

#: Noise floor of pixel values in -1..1; components below it are not blown up.
NOISE = 0.02
SCALE = 0.7
LANGUAGE_SPREAD = 0.08


def started_config(folder: Path) -> PixelReferConfig:
    """That of a run that begins with a checkpoint: it learns two looks, and what it makes object
    tokens look like is to be measured anew."""
    return replace(PixelReferConfig.from_folder(folder), now_looks=2,
                   now_likeness=PixelReferConfig.now_likeness)


def first_weights(config: PixelReferConfig, scenes: list[Scene]) -> PixelReferLite:
    """A new model; its patch embedding whitens the patches of `scenes`.

    In raw patches the mean brightness outweighs texture by far, and stripes stay invisible to the
    layers above for long. After whitening every component of the patches starts equally loud.
    """
    model = PixelReferLite.from_config(config)
    patches = np.concatenate([p for scene in scenes for p in scene.inputs.patches])
    values = torch.from_numpy(patches).double() / 127.5 - 1
    mean = values.mean(0)
    variance, vectors = torch.linalg.eigh(torch.cov((values - mean).T))
    width = config.vision.hidden_size
    strongest = vectors[:, -width:] / (variance[-width:].clamp(min=0) + NOISE ** 2).sqrt()
    projection = (SCALE * strongest.T).float()
    embedding = model.tower.embeddings.patch_embedding
    with torch.no_grad():
        embedding.weight[:len(projection)] = projection.view(-1, *embedding.weight.shape[1:])
        embedding.bias.zero_()
        embedding.bias[:len(projection)] = -projection @ mean.float()
        for name, parameter in model.named_parameters():
            if name.startswith(('model.layers', 'model.embed')) and parameter.dim() == 2:
                deep = name.endswith(('o_proj.weight', 'down_proj.weight'))
                spread = LANGUAGE_SPREAD / (
                    (2 * config.language.num_hidden_layers) ** 0.5 if deep else 1)
                parameter.normal_(0, spread)
    return model


@torch.no_grad()
def weights_of(folder: Path, config: PixelReferConfig, tokenizer: Tokenizer) -> PixelReferLite:
    """A model of `config` with the weights of a checkpoint of the same widths.

    Its language model has as many layers as the checkpoint's. Image sizes may differ, and the
    vocabulary: a token that the checkpoint does not have begins as
    the mean of the pieces that the checkpoint writes it with. Raises RuntimeError where a width
    differs.
    """
    old, pieces = PixelReferLite.from_checkpoint(folder), Tokenizer.from_folder(folder)
    rows = []
    for number in range(len(tokenizer)):
        same = pieces.backend.token_to_id(tokenizer.backend.id_to_token(number))
        rows.append([same] if same is not None else pieces.encode(tokenizer.decode([number])))
    weights = old.state_dict()
    for name in ('model.embed_tokens.weight', 'lm_head.weight'):
        weights[name] = torch.stack([weights[name][some].mean(0) for some in rows])
    layers = old.config.language.num_hidden_layers
    model = PixelReferLite.from_config(replace(config, language=replace(
        config.language, num_hidden_layers=layers, max_window_layers=layers)))
    model.load_state_dict(weights)
    return model
