# SPDX-License-Identifier: Apache-2.0
"""Region encoders: scale-adaptive object tokenizer (paper, eq. 2 to 4), and in Lite the
object-centric infusion (Algorithm 1) behind it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrefer_model.pixelrefer.batch import Context, RegionBatch
from pixelrefer_model.pixelrefer.configuration_pixelrefer import PixelReferConfig
from pixelrefer_model.pixelrefer.kmeans import kmeans

#: Attention heads of the infusion; not in any configuration file.
HEADS = 8


@dataclass(frozen=True)
class RegionStages:
    """What a region encoder computes on the way; all [R, K, C] but `tokens` [R, K, D]. Of region
    i the first `counts[i]` tokens of its batch are meant; in Lite all K are, zeros too."""

    pooled: Tensor
    tokens: Tensor
    after_local: Tensor | None = None
    after_global: Tensor | None = None


class ObjectTokenizer(nn.Module):
    """Features of crops to K object tokens per region, as PixelRefer has it."""

    #: Rounds of clustering; not in any configuration file.
    rounds = 5

    def __init__(self, config: PixelReferConfig) -> None:
        super().__init__()
        width, out = config.vision.hidden_size, config.language.hidden_size
        self.pos_linear = nn.Linear(2, width)
        self.feat_linear = nn.Sequential(nn.Linear(width, out), nn.GELU(), nn.Linear(out, out))

    def forward(self, features: Tensor, batch: RegionBatch) -> RegionStages:
        """Packed features [N, C] of all images of the batch -> the stages of its R regions."""
        pooled = self.pool(self.select(features, batch), batch)
        return RegionStages(pooled, self.feat_linear(pooled))

    def select(self, features: Tensor, batch: RegionBatch) -> Tensor:
        """Features of the selected cells with their position added, [M, C]."""
        if batch.weights is None:
            cells = features.index_select(0, batch.cells[:, 0])
        else:
            taps = features[batch.cells].float() * batch.weights[..., None]
            cells = taps.sum(1).to(features.dtype)
        return cells + self.pos_linear(batch.coordinates.to(features.dtype))

    def pool(self, cells: Tensor, batch: RegionBatch) -> Tensor:
        """Cells [M, C] to K tokens per region: as they are with zeros behind, or clustered."""
        made = [cells.new_zeros(0, batch.k, cells.shape[1])]
        if len(batch.few):
            kept = cells[batch.few] if len(cells) else cells.new_zeros(
                *batch.few.shape, cells.shape[1])
            made.append(kept * batch.few_valid[..., None])
        made += [kmeans(cells[c.index], c.valid, c.first, self.rounds) for c in batch.clusters]
        return torch.cat(made).index_select(0, batch.order)


class ObjectEncoder(ObjectTokenizer):
    """The same with context images that the tokens look at before the last layers, as
    PixelRefer-Lite has it."""

    rounds = 3

    def __init__(self, config: PixelReferConfig) -> None:
        super().__init__(config)
        width = config.vision.hidden_size
        self.ln_local, self.ln_global = nn.LayerNorm(width), nn.LayerNorm(width)
        self.fusion_attention_local = Infusion(width)
        self.fusion_attention_global = Infusion(width)

    def forward(self, features: Tensor, batch: RegionBatch) -> RegionStages:
        pooled = self.pool(self.select(features, batch), batch)
        local = pooled + self.fusion_attention_local(
            self.ln_local(pooled), features, batch.local)
        global_ = local + self.fusion_attention_global(
            self.ln_global(local), features, batch.global_)
        return RegionStages(pooled, self.feat_linear(global_), local, global_)


class Infusion(nn.Module):
    """Tokens look at a context image: multi-head attention with torch's packed weight names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, tokens: Tensor, features: Tensor, context: Context) -> Tensor:
        """tokens [R, K, C], packed features [N, C] -> [R, K, C].

        Keys and values of an image are computed and read once however many regions look at it:
        the tokens of all of them are its queries.
        """
        width, k = tokens.shape[-1], tokens.shape[1]
        query = F.linear(tokens, self.in_proj_weight[:width], self.in_proj_bias[:width])
        query = query[context.regions].flatten(1, 2)
        key, value = F.linear(features[context.rows], self.in_proj_weight[width:],
                              self.in_proj_bias[width:]).chunk(2, dim=-1)
        query, key, value = (x.unflatten(-1, (HEADS, -1)).transpose(1, 2)
                             for x in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=context.mask)
        mixed = mixed.transpose(1, 2).flatten(2).unflatten(1, (-1, k)).flatten(0, 1)
        return self.out_proj(mixed[context.place])
