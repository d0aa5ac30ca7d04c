# SPDX-License-Identifier: Apache-2.0
"""PixelRefer and PixelRefer-Lite: vision tower, region encoder and Qwen2, under the released
state-dict names."""

from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers import Qwen2Model

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language.tokenizer import Tokenizer
from pixelrefer_model.pixelrefer.batch import RegionBatch
from pixelrefer_model.pixelrefer.configuration_pixelrefer import FULL, LITE, PixelReferConfig
from pixelrefer_model.pixelrefer.modeling_region import (
    ObjectEncoder, ObjectTokenizer, RegionStages)
from pixelrefer_model.pixelrefer.modeling_vision import VisionEncoder, VisionTower

Model = TypeVar('Model', bound='PixelReferModel')


class PixelReferModel(nn.Module):
    """What both variants share: a vision tower, a region encoder beside Qwen2's layers, and
    prompts in which rows of another modality stand at marked places."""

    #: `model_type` of the configurations that a class is for.
    model_type: str
    #: Parts that a released state dict holds and nothing uses: beginnings of their names.
    dead: tuple[str, ...] = ()

    def __init__(self, config: PixelReferConfig, region_encoder: ObjectTokenizer) -> None:
        super().__init__()
        if config.model_type != self.model_type:
            raise PixelReferError('CHECKPOINT', f'{type(self).__name__} is {self.model_type}; the '
                                                f'configuration is of {config.model_type}')
        self.config = config
        #: transformers' Qwen2 with the encoders beside its layers.
        self.model = Qwen2Model(config.language.to_qwen2())
        self.model.vision_encoder = VisionEncoder(config.vision)
        self.model.region_encoder = region_encoder
        self.lm_head = nn.Linear(config.language.hidden_size, config.language.vocab_size,
                                 bias=False)
        self.tie()
        #: The checkpoint's folder and what it holds beside the weights; None and empty in a new
        #: model.
        self.folder: Path | None = None
        self.tokenizer: Tokenizer | None = None
        self.generation: dict = {}

    @classmethod
    def from_config(cls: type[Model], config: PixelReferConfig) -> Model:
        """A new model with random weights, in training mode."""
        return cls(config).train()

    @classmethod
    def from_checkpoint(cls: type[Model], folder: str | Path, *,
                        device: str | torch.device = 'cpu',
                        dtype: torch.dtype = torch.float32) -> Model:
        """Load a released (or `save_checkpoint`'s) folder, strictly, in evaluation mode.

        PixelReferModel takes both variants and returns the class of the one it is. Raises
        PixelReferError CHECKPOINT naming the file and the reason, OUT_OF_MEMORY.
        """
        from pixelrefer_model.pixelrefer.loading import load_checkpoint
        return load_checkpoint(folder, cls, device=device, dtype=dtype)

    def save_checkpoint(self, folder: str | Path, *, tokenizer: Tokenizer | None = None,
                        dtype: torch.dtype | None = None,
                        generation: dict | None = None) -> Path:
        """Write config.json, generation_config.json, model.safetensors and the tokenizer files.

        tokenizer, generation: the model's own where not given. dtype: that of the stored weights,
        the model's own where not given.
        """
        from pixelrefer_model.pixelrefer.loading import save_checkpoint
        return save_checkpoint(self, folder, tokenizer=tokenizer, dtype=dtype,
                               generation=generation)

    def tie(self) -> None:
        """Let the output layer be the embedding, where the configuration says so."""
        if self.config.language.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def tower(self) -> VisionTower:
        """The vision tower, whose counters tell how often it was called."""
        return self.model.vision_encoder.vision_encoder

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.lm_head.weight.dtype

    def features(self, batch: RegionBatch) -> Tensor:
        """One packed pass of the vision tower over every image of the batch: [N, C]."""
        return self.model.vision_encoder(batch.patches, batch.positions, batch.groups)

    def region_stages(self, batch: RegionBatch) -> RegionStages:
        """Object tokens of a batch with the intermediate results."""
        return self.model.region_encoder(self.features(batch), batch)

    def region_tokens(self, batch: RegionBatch) -> Tensor:
        """Object tokens [R, K, D] of a batch on the model's device."""
        return self.region_stages(batch).tokens

    @property
    def places(self) -> tuple[int, ...]:
        """Ids of the tokens whose embeddings are overwritten."""
        return (self.config.region_token_index,)

    def embed(self, input_ids: Tensor, tokens: Tensor) -> Tensor:
        """Embeddings [..., D] of ids [...], with `tokens` at the marked places in order.

        tokens: [..., D]; flattened they must be as many as the places (ValueError).
        """
        embeds = self.model.embed_tokens(input_ids)
        marked = torch.stack([input_ids == place for place in self.places]).any(dim=0)
        tokens = tokens.reshape(-1, embeds.shape[-1]).to(embeds)
        if int(marked.sum()) != len(tokens):
            raise ValueError(f'{int(marked.sum())} places for {len(tokens)} tokens')
        return embeds.masked_scatter(marked[..., None], tokens)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary of hidden states [..., D]."""
        return self.lm_head(hidden)

    def forward(self, input_ids: Tensor, tokens: Tensor, attention_mask: Tensor | None = None,
                position_ids: Tensor | None = None) -> Tensor:
        """Logits [B, N, V] of prompts with their object tokens (teacher forcing)."""
        hidden = self.model(inputs_embeds=self.embed(input_ids, tokens),
                            attention_mask=attention_mask, position_ids=position_ids,
                            use_cache=False).last_hidden_state
        return self.logits(hidden)


class PixelReferLite(PixelReferModel):
    """Objects alone, their surroundings infused (Object-Only). Differentiable throughout;
    inference wraps it in `inference_mode`.

    Training:  tokens = model.region_tokens(collate(inputs))        # [R, K, D]
               embeds = model.embed(input_ids, tokens)              # [B, N, D]
               hidden = model.model(inputs_embeds=embeds, attention_mask=...).last_hidden_state
               logits = model.logits(hidden[...])                   # only where they are needed
    """

    model_type = LITE
    dead = ('model.region_encoder.mask_embedding.', 'model.mm_projector.')

    def __init__(self, config: PixelReferConfig) -> None:
        super().__init__(config, ObjectEncoder(config))


class PixelRefer(PixelReferModel):
    """Objects beside the tokens of the whole image or video (Vision-Object).

    Prompts hold a row for each `<image>` and each `<REGION>`, in the order of the text.
    """

    model_type = FULL

    def __init__(self, config: PixelReferConfig) -> None:
        super().__init__(config, ObjectTokenizer(config))
        self.model.mm_projector = Projector(config)

    @property
    def places(self) -> tuple[int, ...]:
        return (self.config.image_token_index, self.config.region_token_index)

    def image_tokens(self, features: Tensor, rows: Tensor) -> Tensor:
        """Tokens [S, D] of a whole image: of each row of `rows` [S, T] the mean of its patches'
        features, brought to the width of the language model."""
        mean = features[rows].float().mean(dim=1).to(features.dtype)
        return self.model.mm_projector(mean)

    def encode(self, batch: RegionBatch) -> tuple[Tensor, Tensor]:
        """Object tokens [R, K, D], of region i the first `batch.counts[i]`, and the kept tokens
        [S, D] of all whole images one after the other, with one packed pass of the tower."""
        features, pictures = self.features(batch), batch.pictures
        rows = pictures.rows[pictures.kept]
        return (self.model.region_encoder(features, batch).tokens,
                self.image_tokens(features, rows))


class Projector(nn.Module):
    """Vision features to the width of the language model, under the released names."""

    def __init__(self, config: PixelReferConfig) -> None:
        super().__init__()
        width, out = config.vision.hidden_size, config.language.hidden_size
        self.readout = nn.Sequential(nn.Linear(width, out), nn.GELU(), nn.Linear(out, out))

    def forward(self, features: Tensor) -> Tensor:
        return self.readout(features)


#: Which class a checkpoint is, by the `model_type` of its config.json.
VARIANTS = {kind.model_type: kind for kind in (PixelReferLite, PixelRefer)}
