# SPDX-License-Identifier: Apache-2.0
"""PixelRefer-Lite: vision tower, region encoder and Qwen2, under the released state-dict names."""

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import Qwen2Model

from pixelrefer_model.language.tokenizer import Tokenizer
from pixelrefer_model.pixelrefer.batch import RegionBatch
from pixelrefer_model.pixelrefer.configuration_pixelrefer import PixelReferConfig
from pixelrefer_model.pixelrefer.modeling_region import ObjectEncoder, RegionStages
from pixelrefer_model.pixelrefer.modeling_vision import VisionEncoder, VisionTower


class PixelReferLite(nn.Module):
    """The whole model. Differentiable throughout; inference wraps it in `inference_mode`.

    Training:  tokens = model.region_tokens(collate(inputs))        # [R, K, D]
               embeds = model.embed(input_ids, tokens)              # [B, N, D]
               hidden = model.model(inputs_embeds=embeds, attention_mask=...).last_hidden_state
               logits = model.logits(hidden[...])                   # only where they are needed
    """

    def __init__(self, config: PixelReferConfig) -> None:
        super().__init__()
        self.config = config
        #: transformers' Qwen2 with the two encoders beside its layers.
        self.model = Qwen2Model(config.language.to_qwen2())
        self.model.vision_encoder = VisionEncoder(config.vision)
        self.model.region_encoder = ObjectEncoder(config)
        self.lm_head = nn.Linear(config.language.hidden_size, config.language.vocab_size,
                                 bias=False)
        self.tie()
        #: The checkpoint's folder and what it holds beside the weights; None and empty in a new
        #: model.
        self.folder: Path | None = None
        self.tokenizer: Tokenizer | None = None
        self.generation: dict = {}

    @classmethod
    def from_config(cls, config: PixelReferConfig) -> 'PixelReferLite':
        """A new model with random weights, in training mode."""
        return cls(config).train()

    @classmethod
    def from_checkpoint(cls, folder: str | Path, *, device: str | torch.device = 'cpu',
                        dtype: torch.dtype = torch.float32) -> 'PixelReferLite':
        """Load a released (or `save_checkpoint`'s) folder, strictly, in evaluation mode.

        Raises PixelReferError CHECKPOINT naming the file and the reason.
        """
        from pixelrefer_model.pixelrefer.loading import load_checkpoint
        return load_checkpoint(folder, device=device, dtype=dtype)

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

    def embed(self, input_ids: Tensor, tokens: Tensor) -> Tensor:
        """Embeddings [..., D] of ids [...], with object tokens at the `<REGION>` places in order.

        tokens: [..., D]; flattened they must be as many as the places (ValueError).
        """
        embeds = self.model.embed_tokens(input_ids)
        places = input_ids == self.config.region_token_index
        tokens = tokens.reshape(-1, embeds.shape[-1]).to(embeds)
        if int(places.sum()) != len(tokens):
            raise ValueError(f'{int(places.sum())} places for {len(tokens)} object tokens')
        return embeds.masked_scatter(places[..., None], tokens)

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
