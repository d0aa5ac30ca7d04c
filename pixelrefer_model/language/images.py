# SPDX-License-Identifier: Apache-2.0
"""Prompts that hold whole images beside object tokens, as PixelRefer was trained on them."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pixelrefer_model.language.chat import RenderedPrompt, chat_text
from pixelrefer_model.language.tokenizer import IMAGE

#: What stands for the frames in a published question about a video; an image's is IMAGE.
VIDEO = '<video>'
#: How the user's turn begins.
_OPENING = chat_text('').partition('\n')[0] + '\n'


def image_text(count: int) -> str:
    """What stands for one image of `count` tokens."""
    return IMAGE * count + '\n'


def video_text(counts: Sequence[int], seconds: Sequence[float]) -> str:
    """What stands for a video of frames with so many tokens each, at these times."""
    return ','.join(f'Time {round(float(s), 1)}s:{IMAGE * n}'
                    for n, s in zip(counts, seconds, strict=True)) + '\n'


def fill_images(text: str, shown: Sequence[str], tag: str = IMAGE) -> str:
    """Replace each `tag` of a published question by what stands for an image or the video, left
    to right; all come first where the text has none.

    Raises ValueError if the numbers differ.
    """
    parts = text.split(tag)
    if len(parts) == 1:
        parts = [''] * len(shown) + parts
    if len(parts) != len(shown) + 1:
        raise ValueError(f'{len(parts) - 1} {tag} in the text for {len(shown)}')
    return parts[0].strip() + ''.join(
        one + part.strip() for one, part in zip(shown, parts[1:], strict=True))


def with_images(prompt: RenderedPrompt, images: Sequence[Tensor],
                seconds: Sequence[float] | None = None) -> RenderedPrompt:
    """The prompt with whole images in front of its question.

    images: tokens [S, D] of each image, or of each frame of a video at `seconds` since its first.
    """
    if not images:
        return prompt
    counts = [len(tokens) for tokens in images]
    shown = ''.join(map(image_text, counts)) if seconds is None else video_text(counts, seconds)
    return replace(prompt, text=_OPENING + shown + prompt.text.removeprefix(_OPENING),
                   tokens=torch.cat([*images, prompt.tokens.to(images[0])]))
