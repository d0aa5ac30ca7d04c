# SPDX-License-Identifier: Apache-2.0
"""Between a frame's pixels and the network's: images in, prompts in, masks out; torch only."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrefer_model.prompt import Box, Click, Scribble

#: Mean and standard deviation of ImageNet, which SAM 2's image encoder was trained with.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalise(images: Tensor) -> Tensor:
    """uint8 or float 0..255 [..., 3, H, W] -> float32 of zero mean and unit variance."""
    mean = torch.tensor(MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(STD, device=images.device).view(3, 1, 1)
    return torch.addcmul(-mean / std, images.float(), 1 / (255 * std))


def to_pixels(image: np.ndarray, size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """RGB uint8 [H, W, 3] -> [1, 3, S, S]; squeezed, the aspect ratio is not kept."""
    # a copy, since images that come from messages are not writable and torch warns of that
    tensor = torch.from_numpy(np.array(image)).to(device).permute(2, 0, 1)[None]
    tensor = F.interpolate(tensor.float(), size=(size, size), mode='bilinear',
                           align_corners=False, antialias=True)
    return normalise(tensor).to(dtype)


def to_points(prompt: Click | Box | Scribble, width: int, height: int, size: int,
              device: torch.device) -> tuple[Tensor, Tensor]:
    """A prompt in frame pixels -> points [1, P, 2] in input pixels and labels [1, P].

    Labels: 1 on, 0 off, 2 and 3 the top left and bottom right corner of a box, corners first.
    The prompt encoder counts from pixel centres and adds one half, which is taken off here.
    """
    points, labels = [], []
    if isinstance(prompt, Scribble):
        prompt = prompt.clicks()
    if isinstance(prompt, Box):
        points += [(prompt.x0, prompt.y0), (prompt.x1, prompt.y1)]
        labels += [2, 3]
        prompt = prompt.clicks
    if prompt is not None:
        points += [tuple(point) for point in np.asarray(prompt.points, float)]
        labels += [int(label) for label in prompt.labels]
    scale = torch.tensor([size / width, size / height], dtype=torch.float64)
    scaled = torch.tensor(points, dtype=torch.float64) * scale - 0.5
    return (scaled.float()[None].to(device),
            torch.tensor(labels, dtype=torch.int32, device=device)[None])


def to_mask_prompt(mask: np.ndarray, size: int, device: torch.device) -> Tensor:
    """bool [H, W] -> float 0 or 1 [1, S, S]. Never empty when `mask` is not: where so small a
    mask would vanish, the pixel that it covers most is set."""
    tensor = torch.from_numpy(np.array(mask)).to(device).float()[None, None]
    cover = F.interpolate(tensor, size=(size, size), mode='bilinear', align_corners=False,
                          antialias=True)[0]
    prompt = (cover >= 0.5).float()
    if not prompt.any():
        prompt.view(-1)[cover.reshape(-1).argmax()] = 1.0
    return prompt


def to_masks(logits: Tensor, height: int, width: int) -> Tensor:
    """Mask logits [N, h, w] -> logits at frame size [N, H, W], float32 on the CPU."""
    return F.interpolate(logits[:, None].float().cpu(), size=(height, width), mode='bilinear',
                         align_corners=False)[:, 0]


def without_islands(mask: np.ndarray, least: float) -> np.ndarray:
    """Drop connected parts smaller than `least` of the whole area; bool [H, W] -> bool [H, W]."""
    if least <= 0:
        return mask
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), 8)
    if count <= 2:
        return mask
    sizes = stats[:, cv2.CC_STAT_AREA]
    keep = sizes >= least * sizes[1:].sum()
    keep[0] = False
    return keep[parts]


def box_of(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Half-open bounding box (x, y, width, height) of a bool mask, None where it is empty."""
    rows, columns = mask.any(1), mask.any(0)
    if not rows.any():
        return None
    y0, x0 = int(rows.argmax()), int(columns.argmax())
    y1, x1 = len(rows) - int(rows[::-1].argmax()), len(columns) - int(columns[::-1].argmax())
    return x0, y0, x1 - x0, y1 - y0
