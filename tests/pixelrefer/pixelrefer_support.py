# SPDX-License-Identifier: Apache-2.0
"""What the tests of PixelRefer share: recorded results, masks, and the plain reading of the paper
(one image at a time, one region at a time)."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

GOLDEN = Path(__file__).parents[1] / 'golden'
CHECKPOINT, FULL_CHECKPOINT = GOLDEN / 'pixelrefer-lite', GOLDEN / 'pixelrefer'


def boxed(x: int, y: int, w: int, h: int, *, height: int = 120, width: int = 160) -> np.ndarray:
    """A mask of a filled box, pixels."""
    mask = np.zeros((height, width), bool)
    mask[y:y + h, x:x + w] = True
    return mask


def outline(x: int, y: int, w: int, h: int) -> np.ndarray:
    """A mask of a box's border, one pixel wide."""
    return boxed(x, y, w, h) & ~boxed(x + 1, y + 1, w - 2, h - 2)


def tower_alone(model, patches, grid):
    """Features of one image, with attention spelled out."""
    tower = model.tower
    heads = tower.config.num_attention_heads
    embed = tower.embeddings.patch_embedding
    rows, columns = grid
    x = F.linear(torch.from_numpy(patches).float() / 127.5 - 1, embed.weight.flatten(1), embed.bias)
    size = x.shape[1] // heads
    step = 10000 ** (-torch.arange(size // 4) * 4 / size)
    at = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    angle = torch.cat([at[:, :1] * step, at[:, 1:] * step], dim=1)
    turn = torch.polar(torch.ones_like(angle), angle)[:, None]

    def rotated(v):
        low, high = v.view(len(v), heads, size).chunk(2, dim=-1)
        out = torch.complex(low, high) * turn
        return torch.cat([out.real, out.imag], dim=-1)

    for layer in tower.encoder.layers:
        a = layer.self_attn
        y = layer.layer_norm1(x)
        q, k = rotated(a.q_proj(y)), rotated(a.k_proj(y))
        v = a.v_proj(y).view(len(y), heads, size)
        weight = torch.einsum('qhd,khd->hqk', q, k).div(size ** 0.5).softmax(dim=-1)
        x = x + a.out_proj(torch.einsum('hqk,khd->qhd', weight, v).flatten(1))
        x = x + layer.mlp.fc2(F.gelu(layer.mlp.fc1(layer.layer_norm2(x)), approximate='tanh'))
    return tower.post_layernorm(x)


def clustered(cells, first, rounds=3):
    """k-means of one region with loops over its clusters."""
    centroids = cells[first]
    for _ in range(rounds):
        nearest = ((cells[:, None] - centroids[None]) ** 2).sum(-1).argmin(1)
        new = torch.stack([cells[nearest == c].mean(0) if (nearest == c).any() else centroids[c]
                           for c in range(len(centroids))])
        if torch.allclose(centroids, new, atol=1e-6, rtol=1e-5):
            break
        centroids = new
    return centroids
