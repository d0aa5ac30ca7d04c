# SPDX-License-Identifier: Apache-2.0
"""The mask decoder, batched over objects, and the choice among its candidates.

Doubling a map by a 2 x 2 transposed convolution of stride 2 is a matrix per cell; cells are kept
together with what they become, and only the finished logits are laid out as an image. "Segment
Anything" (arXiv:2304.02643, appendix A) and "SAM 2" (arXiv:2408.00714, appendix D.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrefer_model.sam2.rows import apply_rows
from pixelrefer_model.sam2.tables import Tables


@dataclass(frozen=True)
class Candidates:
    """All that the decoder says: logits [N, 4, 4h, 4w], iou [N, 4] in 0..1, tokens [N, 4, C],
    score [N] (logit that the object is in view). Candidate 0 is the single mask, 1 to 3 the
    alternatives for an ambiguous prompt."""

    logits: Tensor
    iou: Tensor
    tokens: Tensor
    score: Tensor


@dataclass(frozen=True)
class Decoded:
    """The chosen mask: logits [N, 4h, 4w], iou [N] in 0..1, score [N], pointer [N, C]."""

    logits: Tensor
    iou: Tensor
    score: Tensor
    pointer: Tensor

    def rows(self, index: Tensor | slice) -> 'Decoded':
        """Those of some of the objects."""
        return Decoded(self.logits[index], self.iou[index], self.score[index],
                       self.pointer[index])

    @classmethod
    def joined(cls, parts: Sequence['Decoded']) -> 'Decoded':
        """Several batches as one."""
        return parts[0] if len(parts) == 1 else cls(*(
            torch.cat([getattr(part, name) for part in parts])
            for name in ('logits', 'iou', 'score', 'pointer')))


class MaskDecoder:
    """Coarse features of N objects and their prompts -> Candidates."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.tables = Tables()

    def __call__(self, image: Tensor, fine: tuple[Tensor, Tensor], points: Tensor | None,
                 labels: Tensor | None, masks: Tensor | None = None) -> Candidates:
        """See Sam2Network.candidates."""
        model, decoder = self.model, self.model.mask_decoder
        count = len(image)
        if points is None:
            points = image.new_zeros(1, 1, 2)
            labels = -torch.ones(1, 1, dtype=torch.int32, device=image.device)
        sparse, dense = model.prompt_encoder(
            input_points=points[:, None], input_labels=labels[:, None], input_boxes=None,
            input_masks=masks)
        own = torch.cat([decoder.obj_score_token.weight, decoder.iou_token.weight,
                         decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(count, 1, -1, -1),
                            sparse.to(own.dtype).expand(count, -1, -1, -1)], dim=2)
        out, cells = decoder.transformer(
            point_embeddings=tokens, image_embeddings=image + dense.to(image.dtype),
            image_positional_embeddings=self._where(image), attention_similarity=None)
        out, cells = out[:, 0], cells[:, 0]
        mask_tokens = out[:, 2:2 + decoder.num_mask_tokens]
        weights = torch.stack([apply_rows(mlp, mask_tokens[:, k]) for k, mlp in
                               enumerate(decoder.output_hypernetworks_mlps)], dim=2)
        return Candidates(self._logits(cells, fine, weights, image.shape[2:]),
                          apply_rows(decoder.iou_prediction_head, out[:, 1]), mask_tokens,
                          apply_rows(decoder.pred_obj_score_head, out[:, 0])[:, 0])

    def _where(self, image: Tensor) -> Tensor:
        """The encoding of every cell's position, [1, C, h, w]."""
        return self.tables.get(
            (image.shape[2:], image.device, image.dtype),
            lambda: self.model.get_image_wide_positional_embeddings().to(image.dtype))

    def _logits(self, cells: Tensor, fine: tuple[Tensor, Tensor], weights: Tensor,
                size: Sequence[int]) -> Tensor:
        """Cells [N, hw, C] and the masks' weights [N, C/8, 4] -> logits [N, 4, 4h, 4w]."""
        decoder = self.model.mask_decoder
        x = _double(decoder.upscale_conv1, cells) + fine[1]
        x = decoder.activation(F.layer_norm(
            x, x.shape[-1:], decoder.upscale_layer_norm.weight, decoder.upscale_layer_norm.bias,
            decoder.upscale_layer_norm.eps))
        x = decoder.activation(_double(decoder.upscale_conv2, x).flatten(2, 3) + fine[0])
        logits = x.flatten(1, 2) @ weights
        height, width = size
        logits = logits.view(len(cells), height, width, 2, 2, 2, 2, -1)
        return logits.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(
            len(cells), -1, 4 * height, 4 * width)

    def choose(self, found: Candidates, multimask: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [N, 4h, 4w], iou [N] and token [N, C]: the best alternative by predicted IoU, or
        the single mask (with its fall-back to the alternatives when unstable, where the
        configuration asks for it)."""
        decoder = self.model.mask_decoder
        if multimask:
            best = 1 + found.iou[:, 1:].argmax(1)
            row = torch.arange(len(best), device=best.device)
            return found.logits[row, best], found.iou[row, best], found.tokens[row, best]
        logits, iou = found.logits[:, 0], found.iou[:, 0]
        if decoder.dynamic_multimask_via_stability:
            logits, iou = decoder._dynamic_multimask_via_stability(
                found.logits[:, None], found.iou[:, None])
            logits, iou = logits[:, 0, 0], iou[:, 0, 0]
        return logits, iou, found.tokens[:, 0]


def _double(conv: nn.ConvTranspose2d, cells: Tensor) -> Tensor:
    """A transposed convolution of kernel and stride 2 on cells [..., C] -> [..., 4, C']: the upper
    left, upper right, lower left and lower right cell that each one becomes."""
    weight = conv.weight.permute(2, 3, 1, 0).flatten(0, 2)
    return F.linear(cells, weight, conv.bias.repeat(4)).unflatten(-1, (4, -1))
