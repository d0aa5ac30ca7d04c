# SPDX-License-Identifier: Apache-2.0
"""The small world's detector: what SAM 2 takes for a thing, scored by PixelRefer-Lite.

A word fits an object as well as the model would give it as the answer to one of a few questions
about that object; a name fits as well as its words do together. It knows the words that the
packaged checkpoint was trained on, and nothing of places or relations: what it does not know is
like nothing in the image.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pixelrefer_model.detection.likelihood import log_likelihood
from pixelrefer_model.detection.match import Match, MatchPolicy, area, intersection
from pixelrefer_model.detection.proposals import Proposal, ProposalPolicy, propose
from pixelrefer_model.detection.words import check_words
from pixelrefer_model.device import guarded
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language import LanguageModel
from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder
from pixelrefer_model.prompt import Box
from pixelrefer_model.sam2 import ObjectTracker
from pixelrefer_model.sam2.network import Sam2Network
from pixelrefer_model.weights import TINY

#: What a word of a name may be the answer to.
QUESTIONS = ('What is <object1>?', 'What colour is <object1>?',
             'What pattern does <object1> have?', 'Is <object1> small or large?')
#: Words that restrict nothing.
_EMPTY = frozenset({'a', 'an', 'the', 'this', 'that', 'one', 'thing', 'object', 'item'})
MOST_WORDS = 8
#: A proposal is never less sure than that, so that there is a logarithm.
LEAST_SURE = 1e-6


@dataclass(frozen=True)
class Calibration:
    """Log odds that a proposal is what a name means: `bias` + `words` x the log likelihood of its
    words + `sure` x the log of how sure the proposal is.

    The values were fitted on scenes of the training split, by `training/words.py --calibrate
    --scenes 50`.
    """

    bias: float = 3.2
    words: float = 1.5
    sure: float = 4.6

    def score(self, log_likelihood: float, sure: float) -> float:
        """0 to 1."""
        odds = self.bias + self.words * log_likelihood + self.sure * math.log(max(sure, LEAST_SURE))
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, odds))))


class ReferringDetector:
    """See Detector. The networks are its own: one thread uses them."""

    def __init__(self, network: Sam2Network, model: PixelReferLite, *,
                 proposals: ProposalPolicy = ProposalPolicy(),
                 calibration: Calibration = Calibration(),
                 policy: MatchPolicy = MatchPolicy(least=0.4, margin=0.4, floor=0.1)) -> None:
        self._network = network
        self._encoder = RegionEncoder(model)
        self._language = LanguageModel(model)
        self._proposals = proposals
        self._calibration = calibration
        self.policy = policy

    @classmethod
    def packaged(cls, device: str = 'cpu', dtype: torch.dtype = torch.float32
                 ) -> 'ReferringDetector':
        """Of the packaged checkpoints. Raises PixelReferError CHECKPOINT."""
        tracker = ObjectTracker.from_checkpoint(TINY['tracker'], device=device, dtype=dtype)
        return cls(tracker.network,
                   PixelReferLite.from_checkpoint(TINY['refer'], device=device, dtype=dtype))

    def detect(self, image: np.ndarray, words: str) -> list[Match]:
        """See Detector."""
        wanted = content_words(words)
        proposals, objects = self.look(image)
        return self.matches(proposals, self.fit(objects, wanted).sum(1).tolist())

    def matches(self, proposals: Sequence[Proposal], fits: Sequence[float]) -> list[Match]:
        """Matches best first, of proposals and the log likelihood of all words for each."""
        scored = [(self._calibration.score(fit, one.sure), one)
                  for fit, one in zip(fits, proposals, strict=True)]
        return [Match(_box(one), score) for score, one in distinct(
            [pair for pair in scored if pair[0] >= self.policy.floor])]

    def look(self, image: np.ndarray) -> tuple[list[Proposal], Tensor]:
        """The things in an image and their object tokens [R, K, D]."""
        proposals = guarded(
            propose, self._network, image, self._proposals, device=self._network.device,
            what='to look for things; a smaller detector may do')
        return proposals, self._encoder.encode(image, [one.mask for one in proposals])

    def fit(self, objects: Tensor, words: Sequence[str]) -> Tensor:
        """How well each word fits each object: log likelihood [R, W], at most 0."""
        made = torch.zeros(len(objects), len(words))
        for column, word in enumerate(words):
            answers = [log_likelihood(self._language, question, objects, word)
                       for question in QUESTIONS]
            made[:, column] = torch.stack(answers).amax(0)
        return made


def content_words(words: str) -> list[str]:
    """The words of a name that say what it is, in small letters. Raises PixelReferError NO_PROMPT,
    QUESTION_TOO_LONG or SPECIAL_TOKEN."""
    found = [word for word in re.findall(r"[\w'-]+", check_words(words).lower())
             if word not in _EMPTY]
    if not found:
        raise PixelReferError('NO_PROMPT', f'the text {words!r} names everything; words that tell '
                                           'an object from others are allowed')
    if len(found) > MOST_WORDS:
        raise PixelReferError('QUESTION_TOO_LONG', f'the text has {len(found)} words beside '
                              f'articles; {MOST_WORDS} are allowed by this detector')
    return found


def distinct(scored: Sequence[tuple[float, Proposal]]) -> list[tuple[float, Proposal]]:
    """Best first, without those that show a part of a better one, or more than it: boxes that share
    half of the smaller of the two, or more."""
    kept: list[tuple[float, Proposal]] = []
    for score, one in sorted(scored, key=lambda pair: (-pair[0], -pair[1].sure)):
        box = _box(one)
        if all(2 * intersection(box, _box(other)) < min(area(box), area(_box(other)))
               for _, other in kept):
            kept.append((score, one))
    return kept


def _box(proposal: Proposal) -> Box:
    x, y, width, height = proposal.box
    return Box(float(x), float(y), float(x + width), float(y + height))
