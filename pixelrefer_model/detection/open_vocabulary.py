# SPDX-License-Identifier: Apache-2.0
"""Open-vocabulary detectors of transformers: Grounding DINO (arXiv:2303.05499) and OWLv2
(arXiv:2306.09683), read from a local folder."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixelrefer_model.detection.match import Match, MatchPolicy, apart
from pixelrefer_model.detection.preparing import read_preparation
from pixelrefer_model.detection.words import check_words
from pixelrefer_model.device import guarded
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import Box

#: Boxes of this IoU show one thing: these networks have no suppression of their own.
SAME = 0.7


class OpenVocabularyDetector(ABC):
    """A network, its tokenizer and its preparation of images, from a checkpoint's folder."""

    #: Of the model's config.json.
    model_type: str
    policy: MatchPolicy

    def __init__(self, folder: Path, device: str, dtype: torch.dtype) -> None:
        self._prepare = read_preparation(folder)
        self._tokenizer = _tokenizer(folder)
        self.model = _model(folder, device, dtype)
        self._device = torch.device(device)
        self._dtype = dtype

    def detect(self, image: np.ndarray, words: str) -> list[Match]:
        """See Detector. Matches under `policy.floor` are left out."""
        inputs = self._tokens(check_words(words))
        pixels = torch.from_numpy(self._prepare.pixels(image))[None]
        scores, boxes = guarded(
            self._run, pixels, inputs, device=self._device,
            what='to look for words; a smaller detector may do')
        height, width = image.shape[:2]
        rows, columns = self._prepare.extent(height, width)
        corners = corners_of(boxes) * torch.tensor([columns, rows, columns, rows])
        least = torch.tensor([width, height, width, height])
        corners = torch.minimum(corners.clamp(min=0), least)
        found = [Match(Box(*box), score) for score, box in zip(
            scores.tolist(), corners.tolist(), strict=True)
            if score >= self.policy.floor and box[2] - box[0] >= 1 and box[3] - box[1] >= 1]
        return apart(found, SAME)

    @torch.inference_mode()
    def _run(self, pixels: Tensor, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Of every query its score [Q] and its relative box [Q, 4] (middle, size), float32 on the
        CPU."""
        out = self.model(pixel_values=pixels.to(self._device, self._dtype),
                         **{name: each.to(self._device) for name, each in inputs.items()})
        # of the tokens, or of the one phrase, that a box fits best
        scores = out.logits[0].float().sigmoid().amax(-1)
        return scores.cpu(), out.pred_boxes[0].float().cpu()

    @abstractmethod
    def _tokens(self, words: str) -> dict[str, Tensor]:
        """The words as the network's other inputs. Raises PixelReferError QUESTION_TOO_LONG."""

    def _encode(self, text: str, most: int, **options: Any) -> dict[str, Tensor]:
        made = self._tokenizer(text, return_tensors='pt', **options)
        count = made['input_ids'].shape[1]
        if count > most:
            raise PixelReferError(
                'QUESTION_TOO_LONG', f'the text has {count} tokens; {most} are allowed by this '
                'detector')
        return dict(made)


class GroundingDino(OpenVocabularyDetector):
    """One phrase, ended by the full stop that ends phrases for it."""

    model_type = 'grounding-dino'
    policy = MatchPolicy(least=0.35, margin=0.1, floor=0.15)

    def _tokens(self, words: str) -> dict[str, Tensor]:
        # inner ones would make several phrases of one
        phrase = ' '.join(words.lower().replace('.', ' ').replace('?', ' ').split())
        return self._encode(f'{phrase}.', self.model.config.max_text_len,
                            return_token_type_ids=True)


class Owlv2(OpenVocabularyDetector):
    """One query, padded to the length that the text encoder was trained with."""

    model_type = 'owlv2'
    policy = MatchPolicy(least=0.2, margin=0.07, floor=0.08)

    def _tokens(self, words: str) -> dict[str, Tensor]:
        most = self.model.config.text_config.max_position_embeddings
        return self._encode(words.lower(), most, padding='max_length', max_length=most)


KINDS = {kind.model_type: kind for kind in (GroundingDino, Owlv2)}


def open_vocabulary_detector(folder: Path, device: str, dtype: torch.dtype
                             ) -> OpenVocabularyDetector:
    """The detector of a checkpoint's folder, as its config.json says. Raises PixelReferError
    CHECKPOINT naming the file and the reason."""
    file = folder / 'config.json'
    try:
        kind = json.loads(file.read_text(encoding='utf-8')).get('model_type')
    except OSError as error:
        raise PixelReferError('CHECKPOINT', f'{file}: cannot be read ({error.strerror})') from error
    except (ValueError, AttributeError) as error:
        raise PixelReferError('CHECKPOINT', f'{file}: is not JSON ({error})') from error
    if kind not in KINDS:
        raise PixelReferError('CHECKPOINT', f'{file}: model_type is {kind!r}; a detector has '
                              + ' or '.join(f'"{known}"' for known in KINDS))
    return KINDS[kind](folder, device, dtype)


def corners_of(boxes: Tensor) -> Tensor:
    """Boxes [N, 4] of middle and size -> left, top, right, bottom."""
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([middle - half, middle + half], dim=1)


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True,
                                             trust_remote_code=False)
    except Exception as error:  # the libraries raise many kinds at a file that they cannot read
        raise _refused(folder, 'no tokenizer can be read', error) from error


def _model(folder: Path, device: str, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForZeroShotObjectDetection
    if not any(folder.glob('*.safetensors')):
        raise PixelReferError('CHECKPOINT', f'{folder}: holds no weights in a .safetensors file; a '
                                            'detector is read from no other')
    try:
        model, told = AutoModelForZeroShotObjectDetection.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True,
            dtype=dtype, output_loading_info=True)
    except Exception as error:  # as above, and whatever a wrong configuration makes them raise
        raise _refused(folder, 'no detector can be read', error) from error
    missing = sorted([*told['missing_keys'], *(key[0] if isinstance(key, tuple) else key
                                               for key in told['mismatched_keys'])])
    if missing:
        raise PixelReferError('CHECKPOINT', f'{folder}: {len(missing)} tensors are missing or of '
                                            f'another shape, the first is {missing[0]}')
    return model.to(device).eval()


def _refused(folder: Path, what: str, error: Exception) -> PixelReferError:
    reason = ' '.join(f'{type(error).__name__}: {error}'.split())[:400]
    return PixelReferError('CHECKPOINT', f'{folder}: {what} ({reason})')
