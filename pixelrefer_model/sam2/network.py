# SPDX-License-Identifier: Apache-2.0
"""SAM 2 as four batched functions: encode, condition, decode, remember.

They run over the weights of transformers' `Sam2VideoModel` and hold no state, so that training,
streaming inference and batching over objects are one implementation. N counts objects, B images,
C channels; the coarsest features are h x w (stride 16), mask logits 4h x 4w (stride 4), pixels
S x S (stride 1). The method is that of "SAM 2: Segment Anything in Images and Videos"
(arXiv:2408.00714, section 4 and appendix D).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrefer_model.sam2.attention import MemoryAttention, Selection
from pixelrefer_model.sam2.decoder import Candidates, Decoded, MaskDecoder
from pixelrefer_model.sam2.encoder import Features, ImageEncoder
from pixelrefer_model.sam2.memory_encoder import remember
from pixelrefer_model.sam2.policy import ComputePolicy
from pixelrefer_model.sam2.rows import apply_rows

#: What an absent object's mask logits are set to.
ABSENT_LOGIT = -1024.0
#: A mask that is given becomes logits of +-10 (sigmoid 0.99995).
GIVEN_SCALE, GIVEN_BIAS = 20.0, -10.0


class Sam2Network:
    """The four functions over one `Sam2VideoModel` in eval mode; differentiable, without state but
    tables of constants."""

    def __init__(self, model: torch.nn.Module, compute: ComputePolicy = ComputePolicy()) -> None:
        self.model = model
        self.config = model.config
        size = model.config.image_size
        self.size = size if isinstance(size, int) else size[0]
        self.grid = self.size // 16
        self._encoder = ImageEncoder(
            model, compute.compile_encoder and self.device.type == 'cuda')
        self._attention = MemoryAttention(model, self.grid)
        self._decoder = MaskDecoder(model)

    @property
    def device(self) -> torch.device:
        return self.model.no_memory_embedding.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.no_memory_embedding.dtype

    def encode(self, pixels: Tensor) -> Features:
        """Normalised pixels [B, 3, S, S] -> features, decoder projections of the fine included."""
        return self._encoder(pixels)

    def unconditioned(self, coarse: Tensor) -> Tensor:
        """Coarse features [N, C, h, w] of a frame that is segmented without the past."""
        return coarse + self.model.no_memory_embedding.view(1, -1, 1, 1)

    def condition(self, coarse: Tensor, selections: Sequence[Selection]) -> Tensor:
        """Fuse coarse features with what each of N objects remembers -> [N, C, h, w].

        coarse: [N, C, h, w], or [1, C, h, w] where all look at one image. One pass for all; no
        object ever attends to another's memory.
        """
        return self._attention(coarse, selections)

    def candidates(self, image: Tensor, fine: tuple[Tensor, Tensor], points: Tensor | None,
                   labels: Tensor | None, masks: Tensor | None = None) -> Candidates:
        """Run the prompt encoder and the mask decoder on N objects.

        image [N, C, h, w]: coarse features, conditioned or not. fine: of N images or of the one.
        points [N, P, 2]: pixels of the S x S input, float32 whatever the network's type (bfloat16
        is 2 px off at 1024); labels [N, P]: 1 on, 0 off, 2 and 3 the corners of a box, -1 none; no
        points at all is the tracking case. masks [N, 1, 4h, 4w]: dense prompt.
        """
        return self._decoder(image, fine, points, labels, masks)

    def choose(self, found: Candidates, multimask: bool, believe: bool = False) -> Decoded:
        """One mask per object: the best alternative by predicted IoU, or the single mask. Where
        the score says that the object is absent the mask is blanked, unless `believe`."""
        logits, iou, token = self._decoder.choose(found, multimask)
        present = (found.score > 0) | believe
        logits = logits.masked_fill(~present[:, None, None], ABSENT_LOGIT)
        return Decoded(logits, iou, found.score, self.pointer(token, present))

    def pointer(self, token: Tensor, present: Tensor) -> Tensor:
        """The object pointer [N, C] of mask tokens [N, C], or the one that says: absent."""
        seen = present.to(token.dtype)[:, None]
        return seen * apply_rows(self.model.object_pointer_proj, token) + (1 - seen) * \
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

    def remember(self, coarse: Tensor, full: Tensor, score: Tensor,
                 binarise: Tensor | None = None) -> Tensor:
        """Encode a frame and its masks into memories [N, hw, 64].

        coarse [N, C, h, w], or [1, C, h, w] for one image; full: mask logits [N, S, S]; score [N];
        binarise [N] bool: true for objects that were prompted on this frame, None where none was.
        Each object has its own, so that another's prompt never touches its memory.
        """
        masks = full.sigmoid()
        if binarise is not None:
            masks = torch.where(binarise[:, None, None], (full > 0).to(full.dtype), masks)
        masks = masks * self.config.sigmoid_scale_for_mem_enc + self.config.sigmoid_bias_for_mem_enc
        memory = remember(self.model, coarse, masks)
        absent = self.model.occlusion_spatial_embedding_parameter
        if absent is not None:
            memory = memory + (score <= 0).to(memory.dtype)[:, None, None] * absent
        return memory
