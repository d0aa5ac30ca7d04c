# SPDX-License-Identifier: Apache-2.0
"""SAM 2 as four batched functions: encode, condition, decode, remember.

They call the modules of transformers' `Sam2VideoModel` and hold no state, so that training,
streaming inference and batching over objects are one implementation. N counts objects, B images,
C channels; the coarsest features are h x w (stride 16), mask logits 4h x 4w (stride 4), pixels
S x S (stride 1). The method is that of "SAM 2: Segment Anything in Images and Videos"
(arXiv:2408.00714, section 4 and appendix D).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: What an absent object's mask logits are set to.
ABSENT_LOGIT = -1024.0
#: A mask that is given becomes logits of +-10 (sigmoid 0.99995).
GIVEN_SCALE, GIVEN_BIAS = 20.0, -10.0


@dataclass(frozen=True)
class Features:
    """An encoded image: coarse [B, C, h, w]; fine [B, C/8, 4h, 4w] and [B, C/4, 2h, 2w]."""

    coarse: Tensor
    fine: tuple[Tensor, Tensor]

    def rows(self, index: Tensor | slice) -> 'Features':
        """The features of some of the images."""
        return Features(self.coarse[index], (self.fine[0][index], self.fine[1][index]))

    def for_objects(self, count: int) -> 'Features':
        """One image's features as those of `count` objects (views, no copy)."""
        return Features(self.coarse.expand(count, -1, -1, -1),
                        tuple(level.expand(count, -1, -1, -1) for level in self.fine))

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.coarse, *self.fine)


@dataclass(frozen=True)
class Selection:
    """What one object remembers of the past when one frame is decoded.

    spatial: (memory [hw, 64], place) with place 0 for a prompted frame and 1, 2, ... for the
    frames before this one. pointers: (pointer [C], age in frames).
    """

    spatial: Sequence[tuple[Tensor, int]]
    pointers: Sequence[tuple[Tensor, float]]


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

    def row(self, index: int) -> 'Decoded':
        at = slice(index, index + 1)
        return Decoded(self.logits[at], self.iou[at], self.score[at], self.pointer[at])

    @classmethod
    def joined(cls, parts: Sequence['Decoded']) -> 'Decoded':
        """Several batches as one."""
        return parts[0] if len(parts) == 1 else cls(*(
            torch.cat([getattr(part, name) for part in parts])
            for name in ('logits', 'iou', 'score', 'pointer')))


def sine_encoding(ages: Tensor, channels: int) -> Tensor:
    """Sine encoding of normalised ages [...] -> [..., channels] (arXiv:1706.03762, 3.5)."""
    half = channels // 2
    index = torch.arange(half, dtype=torch.float32, device=ages.device)
    angles = ages[..., None] / 10000 ** (2 * (index // 2) / half)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Sam2Network:
    """The four functions over one `Sam2VideoModel`; differentiable, no state of its own."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.config = model.config
        size = model.config.image_size
        self.size = size if isinstance(size, int) else size[0]
        self.grid = self.size // 16

    @property
    def device(self) -> torch.device:
        return self.model.no_memory_embedding.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.no_memory_embedding.dtype

    def encode(self, pixels: Tensor) -> Features:
        """Normalised pixels [B, 3, S, S] -> features, decoder projections of the fine included."""
        levels = self.model.vision_encoder(pixels, return_dict=True).fpn_hidden_states
        decoder = self.model.mask_decoder
        return Features(levels[2], (decoder.conv_s0(levels[0]), decoder.conv_s1(levels[1])))

    def unconditioned(self, coarse: Tensor) -> Tensor:
        """Coarse features [N, C, h, w] of a frame that is segmented without the past."""
        return coarse + self.model.no_memory_embedding.view(1, -1, 1, 1)

    def condition(self, coarse: Tensor, selections: Sequence[Selection]) -> Tensor:
        """Fuse coarse features [N, C, h, w] with what each object remembers -> [N, C, h, w].

        Objects that remember as many frames and as many pointers form one batch of the memory
        attention; no object ever attends to another's memory.
        """
        groups: dict[tuple[int, int], list[int]] = {}
        for row, selection in enumerate(selections):
            key = (len(selection.spatial), len(selection.pointers))
            groups.setdefault(key, []).append(row)
        rows, parts = [], []
        for members in groups.values():
            rows += members
            whole = len(members) == len(coarse)
            parts.append(self._attend(coarse if whole else coarse[members],
                                      [selections[row] for row in members]))
        if len(parts) == 1:
            return parts[0]
        order = torch.tensor(rows, device=coarse.device).argsort()
        return torch.cat(parts)[order]

    def _attend(self, coarse: Tensor, selections: Sequence[Selection]) -> Tensor:
        model, count = self.model, len(selections)
        device, dtype = coarse.device, coarse.dtype
        memory = torch.stack([torch.cat([m for m, _ in s.spatial]) for s in selections], dim=1)
        memory = memory.to(dtype)
        places = torch.tensor([[place for _, place in s.spatial] for s in selections],
                              device=device)
        # place 0 (prompted) is the last row of the table, place k the row k - 1
        temporal = model.memory_temporal_positional_encoding[places - 1].view(count, -1, 1, 64)
        where = model.memory_encoder.position_encoding(
            torch.Size((1, 64, self.grid, self.grid)), device, dtype)
        where = where.flatten(2).permute(0, 2, 1)[:, None]
        position = (where + temporal).flatten(1, 2).transpose(0, 1)
        excluded = 0
        if selections[0].pointers:
            pointers, encoded = self._pointers(selections)
            memory = torch.cat([memory, pointers.to(dtype)])
            position = torch.cat([position, encoded.to(dtype)])
            excluded = len(pointers)
        here = model.vision_encoder.neck.position_encoding(
            torch.Size((1, coarse.shape[1], self.grid, self.grid)), device, dtype)
        fused = model.memory_attention(
            current_vision_features=coarse.flatten(2).permute(2, 0, 1),
            current_vision_position_embeddings=here.flatten(2).permute(2, 0, 1),
            memory=memory, memory_posision_embeddings=position,
            num_object_pointer_tokens=excluded)
        # the attention layers carry a singleton axis: [1, N, hw, C]
        return fused.squeeze(0).transpose(1, 2).reshape(coarse.shape)

    def _pointers(self, selections: Sequence[Selection]) -> tuple[Tensor, Tensor]:
        model = self.model
        pointers = torch.stack([torch.stack([p for p, _ in s.pointers]) for s in selections], 1)
        total, count, channels = pointers.shape
        longest = float(self.config.max_object_pointers_in_encoder - 1)
        ages = torch.tensor([[age for _, age in s.pointers] for s in selections],
                            dtype=torch.float32, device=pointers.device).T / longest
        splits = channels // 64
        if self.config.enable_temporal_pos_encoding_for_object_pointers:
            encoded = model.temporal_positional_encoding_projection_layer(
                sine_encoding(ages, channels).to(pointers.dtype))
        else:
            encoded = pointers.new_zeros(total, count, 64)
        pointers = pointers.reshape(total, count, splits, 64).permute(0, 2, 1, 3).flatten(0, 1)
        return pointers, encoded.repeat_interleave(splits, dim=0)

    def candidates(self, image: Tensor, fine: tuple[Tensor, Tensor], points: Tensor | None,
                   labels: Tensor | None, masks: Tensor | None = None) -> Candidates:
        """Run the prompt encoder and the mask decoder on N objects.

        image [N, C, h, w]: coarse features, conditioned or not. points [N, P, 2]: pixels of the
        S x S input, float32 whatever the network's type (bfloat16 is 2 px off at 1024); labels
        [N, P]: 1 on, 0 off, 2 and 3 the corners of a box, -1 none; no points at all is the
        tracking case. masks [N, 1, 4h, 4w]: dense prompt.
        """
        model, decoder = self.model, self.model.mask_decoder
        count = len(image)
        if points is None:
            points = image.new_zeros(count, 1, 2)
            labels = -torch.ones(count, 1, dtype=torch.int32, device=image.device)
        sparse, dense = model.prompt_encoder(
            input_points=points[:, None], input_labels=labels[:, None], input_boxes=None,
            input_masks=masks)
        own = torch.cat([decoder.obj_score_token.weight, decoder.iou_token.weight,
                         decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(count, 1, -1, -1), sparse.to(own.dtype)], dim=2)
        where = model.get_image_wide_positional_embeddings().expand(count, -1, -1, -1)
        out, keys = decoder.transformer(
            point_embeddings=tokens, image_embeddings=image + dense,
            image_positional_embeddings=where, attention_similarity=None)
        grid = keys.transpose(2, 3).reshape(image.shape)
        grid = decoder.upscale_conv1(grid) + fine[1]
        grid = decoder.activation(decoder.upscale_layer_norm(grid))
        grid = decoder.activation(decoder.upscale_conv2(grid) + fine[0])
        mask_tokens = out[:, 0, 2:2 + decoder.num_mask_tokens]
        weights = torch.stack([mlp(mask_tokens[:, k]) for k, mlp in
                               enumerate(decoder.output_hypernetworks_mlps)], dim=1)
        logits = (weights @ grid.flatten(2)).view(count, -1, *grid.shape[-2:])
        return Candidates(logits, decoder.iou_prediction_head(out[:, 0, 1]), mask_tokens,
                          decoder.pred_obj_score_head(out[:, 0, 0])[:, 0])

    def choose(self, found: Candidates, multimask: bool, believe: bool = False) -> Decoded:
        """One mask per object: the best alternative by predicted IoU, or the single mask (with
        its fall-back to the alternatives when unstable, where the configuration asks for it).
        Where the score says that the object is absent the mask is blanked, unless `believe`."""
        decoder = self.model.mask_decoder
        if multimask:
            best = 1 + found.iou[:, 1:].argmax(1)
            row = torch.arange(len(best), device=best.device)
            logits, iou, token = found.logits[row, best], found.iou[row, best], \
                found.tokens[row, best]
        else:
            logits, iou, token = found.logits[:, 0], found.iou[:, 0], found.tokens[:, 0]
            if decoder.dynamic_multimask_via_stability:
                logits, iou = decoder._dynamic_multimask_via_stability(
                    found.logits[:, None], found.iou[:, None])
                logits, iou = logits[:, 0, 0], iou[:, 0, 0]
        present = (found.score > 0) | believe
        logits = torch.where(present[:, None, None], logits,
                             torch.full_like(logits, ABSENT_LOGIT))
        return Decoded(logits, iou, found.score, self.pointer(token, present))

    def pointer(self, token: Tensor, present: Tensor) -> Tensor:
        """The object pointer [N, C] of mask tokens [N, C], or the one that says: absent."""
        seen = present.to(token.dtype)[:, None]
        return seen * self.model.object_pointer_proj(token) + (1 - seen) * \
            self.model.no_object_pointer

    def multimask(self, prompted: bool, points: int) -> bool:
        """Whether the configuration asks for alternatives: prompted or not, so many points."""
        config = self.config
        return (config.multimask_output_in_sam
                and (prompted or config.multimask_output_for_tracking)
                and config.multimask_min_pt_num <= points <= config.multimask_max_pt_num)

    def given(self, features: Features, masks: Tensor) -> tuple[Decoded, Tensor]:
        """A mask prompt, bool or 0..1 [N, S, S], is its own answer; the decoder makes the pointer.

        Returns it as Decoded, and its logits at full size [N, S, S].
        """
        masks = masks.to(self.dtype)[:, None]
        full = masks * GIVEN_SCALE + GIVEN_BIAS
        small = F.interpolate(full.float(), size=(4 * self.grid, 4 * self.grid), mode='bilinear',
                              align_corners=False, antialias=True)
        prompt = self.model.mask_downsample(masks)
        if prompt.shape[-2:] != small.shape[-2:]:
            prompt = F.interpolate(prompt.float(), size=small.shape[-2:], mode='bilinear',
                                   align_corners=False, antialias=True).to(self.dtype)
        found = self.candidates(features.coarse, features.fine, None, None, prompt)
        pointer = self.choose(found, multimask=True).pointer
        present = masks.flatten(1).any(1)
        pointer = torch.where(present[:, None], pointer, self.model.no_object_pointer)
        score = GIVEN_SCALE * present.to(self.dtype) + GIVEN_BIAS
        return Decoded(small[:, 0].to(self.dtype), torch.ones_like(score), score, pointer), \
            full[:, 0]

    def full_size(self, logits: Tensor) -> Tensor:
        """Mask logits [N, 4h, 4w] -> [N, S, S], bilinear."""
        return F.interpolate(logits[:, None].float(), size=(self.size, self.size),
                             mode='bilinear', align_corners=False)[:, 0].to(logits.dtype)

    def remember(self, coarse: Tensor, full: Tensor, score: Tensor, binarise: Tensor) -> Tensor:
        """Encode a frame and its masks into memories [N, hw, 64].

        coarse [N, C, h, w]; full: mask logits [N, S, S]; score [N]; binarise [N] bool: true for
        objects that were prompted on this frame. Each object has its own, so that another's
        prompt never touches its memory.
        """
        masks = torch.where(binarise[:, None, None], (full > 0).to(full.dtype), full.sigmoid())
        masks = masks * self.config.sigmoid_scale_for_mem_enc + self.config.sigmoid_bias_for_mem_enc
        memory, _ = self.model.memory_encoder(coarse, masks[:, None].to(coarse.dtype))
        absent = self.model.occlusion_spatial_embedding_parameter
        if absent is not None:
            memory = memory + (score <= 0).to(memory.dtype)[:, None, None, None] \
                * absent[..., None, None]
        return memory.flatten(2).transpose(1, 2)
