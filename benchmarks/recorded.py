# SPDX-License-Identifier: Apache-2.0
"""Recorded cases of PixelRefer: read from a folder, and asked for by name, so that it shows what
was recorded and never compared."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

#: Recorded names that are no results: what goes in, and how clear each greedy choice was.
GIVEN = frozenset({'in.images', 'in.mask_frames', 'in.masks', 'step_margin'})


class Unreadable(Exception):
    """A case that cannot be read, with its file and the reason."""


@dataclass(frozen=True)
class Case:
    """One recorded case: its description and its tensors. asked: names that were looked for."""

    name: str
    meta: dict
    tensors: dict[str, torch.Tensor]
    asked: set[str] = field(default_factory=set, repr=False)

    @classmethod
    def read(cls, file: Path) -> 'Case':
        """From NAME.json and NAME.safetensors beside it. Raises Unreadable."""
        try:
            meta = json.loads(file.read_text(encoding='utf-8'))
            tensors = load_file(file.with_suffix('.safetensors'))
            needed = (meta['question'], meta['mask_ids'], tensors['in.images'],
                      tensors['in.masks'])
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            raise Unreadable(f'{file}: {error}') from None
        except KeyError as error:
            raise Unreadable(f'{file}: {error} is missing') from None
        _, owners, images, masks = needed
        images = tensors.get('in.mask_frames', images)
        if images.ndim != 4 or masks.ndim != 3 or len(owners) != len(masks) or \
                any(not 0 <= i < len(images) for i in owners):
            raise Unreadable(f'{file}: {len(owners)} mask_ids do not fit masks '
                             f'{list(masks.shape)} and images {list(images.shape)}')
        return cls(file.stem, meta, tensors)

    @property
    def masked(self) -> torch.Tensor:
        """The images that the masks are of: of a video it may be others than are shown."""
        return self.tensors.get('in.mask_frames', self.tensors['in.images'])

    def tensor(self, name: str) -> torch.Tensor | None:
        """A recorded tensor; None where it was not recorded."""
        self.asked.add(name)
        return self.tensors.get(name)

    def sha256(self, name: str) -> str | None:
        """The recorded digest of an image; None where it was not recorded."""
        self.asked.add(f'sha256 {name}')
        entry = self.meta.get('sha256', {}).get(name)
        return entry['sha256'] if isinstance(entry, dict) else entry

    @property
    def results(self) -> set[str]:
        """Names of everything recorded that can be compared; digests as `sha256 NAME`."""
        return set(self.tensors) - GIVEN | {f'sha256 {n}' for n in self.meta.get('sha256', {})}
