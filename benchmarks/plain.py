# SPDX-License-Identifier: Apache-2.0
"""The baseline of the benchmarks: PixelRefer-Lite done plainly, as its description reads.

Each region by itself: its crop, its global and its local image go through the vision tower one
after another, nothing is shared and nothing is kept, clusters are made region by region, and
transformers' own `generate` answers one prompt at a time with the scores of all its positions.
Weights and image arithmetic are those of the model it is compared with. What is fast without any
design is left fast: scaled_dot_product_attention, and no gradients.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen2ForCausalLM
from transformers.generation.streamers import BaseStreamer

from pixelrefer_model.language.tokenizer import Tokenizer
from pixelrefer_model.pixelrefer import EncodePolicy, PixelReferLite
from pixelrefer_model.pixelrefer.processing_pixelrefer import prepare_regions

TOWER = 'model.vision_encoder.vision_encoder.'
REGION = 'model.region_encoder.'
#: Attention heads of the infusion, and rounds of k-means.
HEADS, ROUNDS = 8, 3


@dataclass(frozen=True)
class PlainAnswer:
    """token_ids of an answer, and when its first and its last token were there (seconds of
    `time.perf_counter`)."""

    token_ids: list[int]
    first: float
    last: float


class _Times(BaseStreamer):
    """Notes when tokens come. The first call brings the prompt, which has no ids here."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def put(self, value: Tensor) -> None:
        """A token, or the prompt."""
        if value.numel() == 1:
            self.at.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is left to do."""


class PlainModel:
    """The baseline on the weights of a PixelRefer-Lite model (the same memory, no copy)."""

    def __init__(self, model: PixelReferLite, tokenizer: Tokenizer) -> None:
        self.config, self._tokenizer = model.config, tokenizer
        self._weights = model.state_dict()
        with torch.device('meta'):
            self._language = Qwen2ForCausalLM(model.model.config)
        own = {name: tensor for name, tensor in self._weights.items()
               if not name.startswith((TOWER, REGION))}
        self._language.load_state_dict(own, strict=True, assign=True)
        self._language.tie_weights()
        self._language.model.rotary_emb = model.model.rotary_emb
        self._language.eval()

    @torch.inference_mode()
    def encode(self, image: np.ndarray, mask: np.ndarray, seed: int = 0) -> Tensor:
        """Object tokens [1, K, D] of one region: image uint8 [H, W, 3], mask bool [H, W]."""
        inputs = prepare_regions([image], [mask], [0], self.config, EncodePolicy.published(seed))
        crop, global_, local = (
            self.tower(self._there(inputs.patches[i[0]]), tuple(inputs.grids[i[0]]))
            for i in (inputs.crop, inputs.global_, inputs.local))
        cells, weights, places = (self._there(each[0]) for each in (
            inputs.cells, inputs.weights, inputs.coordinates))
        seen = (crop[cells.long()] * weights[..., None].to(crop)).sum(dim=1)
        seen = seen + self._linear(places.to(crop), REGION + 'pos_linear')
        pooled = self._pool(seen, seed)[None]
        for name, features in (('local', local), ('global', global_)):
            pooled = pooled + self._infuse(pooled, features, name)
        hidden = F.gelu(self._linear(pooled, REGION + 'feat_linear.0'))
        return self._linear(hidden, REGION + 'feat_linear.2')

    @torch.inference_mode()
    def answer(self, text: str, tokens: Sequence[Tensor], count: int) -> PlainAnswer:
        """Exactly `count` greedy tokens, whatever they are. tokens: [K, D] for each run of
        `<REGION>` in the text."""
        ids = torch.tensor(self._tokenizer.encode(text), device=self.device)
        embeds = self._language.model.embed_tokens(ids)
        embeds[ids == self.config.region_token_index] = torch.cat(list(tokens)).to(embeds)
        times = _Times()
        made = self._language.generate(
            inputs_embeds=embeds[None], attention_mask=torch.ones_like(ids)[None],
            max_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=0,
            logits_to_keep=0, streamer=times, repetition_penalty=1.0)
        return PlainAnswer(made[0].tolist(), times.at[0], times.at[-1])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._weights[TOWER + 'post_layernorm.weight'].device

    def tower(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Features [h*w, C] of one image's uint8 patches [h*w, 3*P*P]."""
        vision = self.config.vision
        weight = self._weights[TOWER + 'embeddings.patch_embedding.weight']
        heads, size = vision.num_attention_heads, vision.hidden_size // vision.num_attention_heads
        turn = self._angles(grid, size)
        values = ((patches.float() / 255 - 0.5) / 0.5).to(weight.dtype)
        hidden = F.linear(values, weight.flatten(1),
                          self._weights[TOWER + 'embeddings.patch_embedding.bias'])
        for number in range(vision.num_hidden_layers):
            layer = f'{TOWER}encoder.layers.{number}.'
            normed = self._norm(hidden, layer + 'layer_norm1', vision.layer_norm_eps)
            query, key, value = (
                self._linear(normed, f'{layer}self_attn.{one}_proj').view(-1, heads, size)
                for one in 'qkv')
            mixed = F.scaled_dot_product_attention(*(
                x.transpose(0, 1)[None] for x in (_turned(query, turn), _turned(key, turn), value)))
            hidden = hidden + self._linear(
                mixed[0].transpose(0, 1).flatten(1), layer + 'self_attn.out_proj')
            normed = self._norm(hidden, layer + 'layer_norm2', vision.layer_norm_eps)
            inner = F.gelu(self._linear(normed, layer + 'mlp.fc1'), approximate='tanh')
            hidden = hidden + self._linear(inner, layer + 'mlp.fc2')
        return self._norm(hidden, TOWER + 'post_layernorm', vision.layer_norm_eps)

    def _angles(self, grid: tuple[int, int], size: int) -> Tensor:
        """Rotary angles [h*w, 1, size]: rows in the first quarter, columns in the second, again."""
        step = 10000 ** (-torch.arange(0, size // 2, 2) / (size / 2))
        rows = torch.arange(grid[0]).repeat_interleave(grid[1])
        columns = torch.arange(grid[1]).repeat(grid[0])
        angle = torch.cat([rows[:, None] * step, columns[:, None] * step], dim=1)
        return torch.cat([angle, angle], dim=1)[:, None].to(self.device)

    def _pool(self, cells: Tensor, seed: int) -> Tensor:
        """Cells [n, C] to K tokens, as they are with zeros behind or as means of clusters."""
        count = self.config.mask_num
        if len(cells) <= count:
            return F.pad(cells, (0, 0, 0, count - len(cells)))
        points = cells.float()
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
        means = points[order[:count].to(self.device)]
        for _ in range(ROUNDS):
            nearest = ((points[:, None] - means[None]) ** 2).sum(dim=2).argmin(dim=1)
            # as a product, which a GPU does without asking the host about each cluster; on a CPU
            # it takes as long as one cluster after the other
            member = F.one_hot(nearest, count).to(points)
            members = member.sum(dim=0)[:, None]
            moved = torch.where(members > 0, member.T @ points / members.clamp(min=1), means)
            if torch.allclose(means, moved, atol=1e-6):
                break
            means = moved
        return means.to(cells)

    def _infuse(self, tokens: Tensor, features: Tensor, name: str) -> Tensor:
        """Tokens [1, K, C] look at the features [n, C] of a context image."""
        query = self._norm(tokens, f'{REGION}ln_{name}', 1e-5).transpose(0, 1)
        at = f'{REGION}fusion_attention_{name}.'
        keys = features[:, None]
        mixed, _ = F.multi_head_attention_forward(
            query, keys, keys, query.shape[-1], HEADS, self._weights[at + 'in_proj_weight'],
            self._weights[at + 'in_proj_bias'], None, None, False, 0.0,
            self._weights[at + 'out_proj.weight'], self._weights[at + 'out_proj.bias'],
            training=False, need_weights=True)
        return mixed.transpose(0, 1)

    def _there(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _linear(self, values: Tensor, name: str) -> Tensor:
        return F.linear(values, self._weights[name + '.weight'], self._weights[name + '.bias'])

    def _norm(self, values: Tensor, name: str, eps: float) -> Tensor:
        return F.layer_norm(values, values.shape[-1:], self._weights[name + '.weight'],
                            self._weights[name + '.bias'], eps)


def _turned(vectors: Tensor, angle: Tensor) -> Tensor:
    """Rotate element i of [n, heads, d] with element i + d/2, in float32."""
    low, high = vectors.float().chunk(2, dim=-1)
    turned = torch.cat([-high, low], dim=-1)
    return (vectors.float() * angle.cos() + turned * angle.sin()).to(vectors.dtype)
