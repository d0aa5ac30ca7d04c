# SPDX-License-Identifier: Apache-2.0
"""Which kernel the vision tower's attention runs on: PyTorch's own, or that of flash-attn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.pixelrefer.batch import Group

if TYPE_CHECKING:
    from pixelrefer_model.pixelrefer.modeling_pixelrefer import PixelReferModel

Attention = Literal['sdpa', 'flash']
#: What flash-attn is built for: Ampere and later.
LEAST_CAPABILITY = 8


class Sdpa:
    """PyTorch's attention, images of like length at a time. Runs everywhere."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, groups: Sequence[Group]
                 ) -> Tensor:
        """Attention inside each packed image; [N, heads, d] -> [N, heads, d]."""
        return torch.cat([_attend(query, key, value, group) for group in groups])


class Flash:
    """flash-attn's attention over packed images, none of them padded.

    Raises PixelReferError UNSUPPORTED if flash-attn cannot be imported.
    """

    def __init__(self) -> None:
        try:
            from flash_attn import flash_attn_varlen_func
        except ImportError as error:
            raise PixelReferError(
                'UNSUPPORTED', f'attention flash needs the package flash-attn, which cannot be '
                f'imported ({error}); pip install flash-attn --no-build-isolation, or take '
                'sdpa') from None
        self._kernel = flash_attn_varlen_func
        self._of: Sequence[Group] | None = None
        self._starts: Tensor | None = None

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, groups: Sequence[Group]
                 ) -> Tensor:
        """As Sdpa."""
        if self._of is not groups:
            # once for all layers of a pass; the list is held, so that it cannot be another's
            self._of, self._starts = groups, _starts(groups, query.device)
        longest = max(group.length for group in groups)
        return self._kernel(query, key, value, self._starts, self._starts, longest, longest)


def use_attention(model: 'PixelReferModel', attention: Attention) -> None:
    """Let a model's vision tower attend by this kernel. Answers are the same up to rounding.

    The language model attends by PyTorch either way: its prefill without a prefix is plain causal
    attention, for which PyTorch has a flash kernel of its own on CUDA.

    Raises PixelReferError UNSUPPORTED, changing nothing, for a kernel that there is not, that is
    not installed, or that the model's device and dtype do not suit.
    """
    if attention not in get_args(Attention):
        raise PixelReferError('UNSUPPORTED', f'attention {attention!r}; '
                              f'{", ".join(get_args(Attention))} are allowed')
    kernel = Flash() if attention == 'flash' else Sdpa()
    suits = model.device.type == 'cuda' and model.dtype != torch.float32 and (
        torch.cuda.get_device_capability(model.device)[0] >= LEAST_CAPABILITY)
    if attention == 'flash' and not suits:
        raise PixelReferError(
            'UNSUPPORTED', 'attention flash needs a CUDA device of compute capability '
            f'{LEAST_CAPABILITY}.0 or more, and bfloat16 or float16; the model '
            f'is on {model.device} in {str(model.dtype).removeprefix("torch.")}')
    model.tower.attention = kernel


def _attend(query: Tensor, key: Tensor, value: Tensor, group: Group) -> Tensor:
    """Attention inside each sequence of a group; [N, heads, d] -> [stop - start, heads, d]."""
    def spread(packed: Tensor) -> Tensor:
        rows = packed[group.start:group.stop]
        if group.pad is not None:
            rows = rows.index_select(0, group.pad)
        return rows.view(group.count, group.length, *rows.shape[1:]).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(spread(query), spread(key), spread(value),
                                           attn_mask=group.mask)
    mixed = mixed.transpose(1, 2).flatten(0, 1)
    return mixed if group.place is None else mixed.index_select(0, group.place)


def _starts(groups: Sequence[Group], device: torch.device) -> Tensor:
    """Where each packed image starts, and the end: int32 [images + 1]."""
    lengths = [torch.full((group.count,), group.length, device=device) if group.mask is None
               else group.mask.flatten(1).sum(dim=1) for group in groups]
    ends = torch.cat(lengths).cumsum(dim=0)
    return F.pad(ends, (1, 0)).to(torch.int32)
