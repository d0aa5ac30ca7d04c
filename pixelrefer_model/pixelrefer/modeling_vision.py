# SPDX-License-Identifier: Apache-2.0
"""Vision tower (SigLIP-NaViT): images of any size packed in one pass, attention inside each."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrefer_model.pixelrefer.attention import Flash, Sdpa
from pixelrefer_model.pixelrefer.batch import Group
from pixelrefer_model.pixelrefer.configuration_pixelrefer import VisionConfig
from pixelrefer_model.pixelrefer.processing_image import normalised


class VisionEncoder(nn.Module):
    """Wrapper level that the released names have."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.vision_encoder = VisionTower(config)

    def forward(self, patches: Tensor, positions: Tensor, groups: list[Group]) -> Tensor:
        return self.vision_encoder(patches, positions, groups)


class VisionTower(nn.Module):
    """Patches to features. `calls` and `patches` count what was asked of it; `attention` is the
    kernel that it attends by."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = PatchEmbedding(config)
        self.encoder = Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention: Sdpa | Flash = Sdpa()
        self.calls = 0
        self.patches = 0

    def forward(self, patches: Tensor, positions: Tensor, groups: list[Group]) -> Tensor:
        """uint8 patches [N, 3*P*P], positions [N, 2] (row, column) -> features [N, C]."""
        self.calls += 1
        self.patches += len(patches)
        turn = rotation(positions, self.config.hidden_size // self.config.num_attention_heads)
        hidden = self.embeddings(patches)
        for layer in self.encoder.layers:
            hidden = layer(hidden, turn, groups, self.attention)
        return self.post_layernorm(hidden)


class PatchEmbedding(nn.Module):
    """Linear embedding of pixel values in -1..1, stored as a convolution."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(config.num_channels, config.hidden_size,
                                         config.patch_size, config.patch_size)

    def forward(self, patches: Tensor) -> Tensor:
        weight = self.patch_embedding.weight
        return F.linear(normalised(patches, weight.dtype), weight.flatten(1),
                        self.patch_embedding.bias)


class Encoder(nn.Module):
    """The stack of layers, under its released name."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(config) for _ in range(config.num_hidden_layers))


class VisionLayer(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.self_attn = VisionAttention(config)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = VisionMLP(config)

    def forward(self, hidden: Tensor, turn: tuple[Tensor, Tensor],
                groups: list[Group], attention: Sdpa | Flash) -> Tensor:
        hidden = hidden + self.self_attn(self.layer_norm1(hidden), turn, groups, attention)
        return hidden + self.mlp(self.layer_norm2(hidden))


class VisionMLP(nn.Module):
    """Two linear layers with the tanh form of GELU."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(hidden), approximate='tanh'))


class VisionAttention(nn.Module):
    """Attention among the patches of one image, with 2-D rotary positions."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        width = config.hidden_size
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, hidden: Tensor, turn: tuple[Tensor, Tensor],
                groups: list[Group], attention: Sdpa | Flash) -> Tensor:
        shape = (len(hidden), self.heads, -1)
        query = rotate(self.q_proj(hidden).view(shape), turn)
        key = rotate(self.k_proj(hidden).view(shape), turn)
        value = self.v_proj(hidden).view(shape)
        return self.out_proj(attention(query, key, value, groups).flatten(1))


def rotation(positions: Tensor, head_size: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine [N, 1, d] of the rotary angles: rows in the first half, then columns."""
    quarter = head_size // 4
    step = torch.arange(quarter, dtype=torch.float32, device=positions.device)
    frequency = 10000 ** (-step / quarter)
    angle = (positions.float()[:, :, None] * frequency).flatten(1)
    angle = torch.cat([angle, angle], dim=1)[:, None]
    return angle.cos(), angle.sin()


def rotate(vectors: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate element i with element i + d/2, in float32."""
    exact = vectors.float()
    low, high = exact.chunk(2, dim=-1)
    return (exact * turn[0] + torch.cat([-high, low], dim=-1) * turn[1]).to(vectors.dtype)
