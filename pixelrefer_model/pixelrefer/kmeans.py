# SPDX-License-Identifier: Apache-2.0
"""Batched k-means over the cells of regions (the clustering of the object tokenizer)."""

import torch
from torch import Tensor


def kmeans(points: Tensor, valid: Tensor, first: Tensor, rounds: int = 3) -> Tensor:
    """Cluster each row of `points` [B, n, C] into K centroids [B, K, C].

    valid: bool [B, n], false where a row is padding. first: int64 [B, K], index of the points that
    the centroids start from. Squared Euclidean distance, nearest centroid, then the mean of its
    members; a centroid without members stays. A row whose centroids no longer move (relative 1e-5,
    absolute 1e-6) keeps those of the round before, as the published code does. Computed in
    float32; gradients flow through the means, not through the assignment.
    """
    exact = points.float()
    batch, count, width = exact.shape
    size = first.shape[1]
    centroids = exact.gather(1, first[..., None].expand(-1, -1, width))
    settled = torch.zeros(batch, 1, 1, dtype=torch.bool, device=points.device)
    clusters = torch.arange(size, device=points.device)
    for _ in range(rounds):
        with torch.no_grad():
            # Not by way of a matrix product: its cancellation moves cells between clusters.
            distance = torch.cdist(
                exact, centroids, compute_mode='donot_use_mm_for_euclid_dist')
            nearest = distance.argmin(dim=2, keepdim=True)
            member = ((nearest == clusters) & valid[..., None]).to(exact.dtype)
            members = member.sum(dim=1)[..., None]
        means = member.transpose(1, 2) @ exact / members.clamp(min=1)
        moved = torch.where(members > 0, means, centroids)
        with torch.no_grad():
            close = (centroids - moved).abs() <= 1e-6 + 1e-5 * moved.abs()
            settled = settled | close.flatten(1).all(dim=1).view(batch, 1, 1)
        centroids = torch.where(settled, centroids, moved)
    return centroids.to(points.dtype)
