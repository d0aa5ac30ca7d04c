# SPDX-License-Identifier: Apache-2.0
"""Long scenes without a renderer: outlines for masks, and tokens of nothing."""

from types import SimpleNamespace

import cv2
import numpy as np
import torch

from training.world import Contract, ScenePlan

CONTRACT = Contract.load()
K, DIM = 16, 128


class Outlines:
    """A world that draws the objects' outlines, far ones first, and boards before them."""

    contract = CONTRACT

    def segment(self, plan: ScenePlan, t: float) -> np.ndarray:
        """uint8 [H, W], i + 1 for object i."""
        seg = np.zeros((CONTRACT.height, CONTRACT.width), np.uint8)
        far = [one.camera[2] for one in plan.truth(t).objects]
        for i in sorted(range(len(far)), key=lambda i: -far[i]):
            if plan.present(i, t) and not plan.hidden(i, t) and far[i] > 0.1:
                hull = cv2.convexHull(plan.hull(i, t).astype(np.float32)).astype(np.int32)
                cv2.fillConvexPoly(seg, hull, i + 1)
        return seg

    def render(self, plan: ScenePlan, t: float) -> SimpleNamespace:
        """A picture without anything."""
        return SimpleNamespace(rgb=np.full((CONTRACT.height, CONTRACT.width, 3), 127, np.uint8))


class Counting:
    """An encoder whose tokens are the number of the call, so that no two are alike."""

    config, key = SimpleNamespace(mask_num=K), 'counted'

    def __init__(self) -> None:
        self.calls = 0

    def encode_regions(self, images: list[np.ndarray], masks: list[np.ndarray],
                       image_of: list[int]) -> SimpleNamespace:
        """Its `tokens` are [R, K, D]."""
        numbers = self.calls + 1 + torch.tensor(image_of)
        self.calls += len(images)
        return SimpleNamespace(tokens=(numbers / 64)[:, None, None].expand(-1, K, DIM).clone())
