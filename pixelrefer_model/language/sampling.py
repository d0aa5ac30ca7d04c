# SPDX-License-Identifier: Apache-2.0
"""Which token follows: the best one, or one drawn by chance from a seed."""

from dataclasses import dataclass

import torch
from torch import Tensor


#: Under this scores divided by it are no numbers any more.
LEAST_TEMPERATURE = 1e-3


@dataclass(frozen=True)
class Greedy:
    """The best token, always; of equals the one with the lowest id."""

    def noise(self, count: int) -> Tensor | None:
        """Nothing is left to chance."""
        return None

    def pick(self, scores: Tensor, noise: Tensor | None) -> Tensor:
        """scores float32 [B, V] -> int64 [B]."""
        return scores.argmax(dim=-1)


@dataclass(frozen=True)
class Sample:
    """A token drawn by its probability.

    temperature: scores are divided by it. top_k: only so many best tokens (0: all). top_p: only
    the best tokens that have this probability together, at least one. seed: every prompt draws
    its own numbers from it, so that an answer does not depend on what else is in the batch, and
    the same prompt with the same seed is answered in the same words. Raises ValueError for a
    value that is out of range.
    """

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperature >= LEAST_TEMPERATURE or not 0 < self.top_p <= 1 or self.top_k < 0:
            raise ValueError(f'{self}: temperature from {LEAST_TEMPERATURE:g} on, top_p over 0 and '
                             'up to 1, and top_k of at least 0 are allowed')

    def noise(self, count: int) -> Tensor | None:
        """A number from 0 to 1 for each token in turn, float32 [count] on the CPU."""
        return torch.rand(count, generator=torch.Generator().manual_seed(self.seed))

    def pick(self, scores: Tensor, noise: Tensor | None) -> Tensor:
        """scores float32 [B, V], noise [B] -> int64 [B]: where the running sum of the
        probabilities passes the noise."""
        likely, order = (scores / self.temperature).softmax(dim=-1).sort(
            dim=-1, descending=True, stable=True)
        if self.top_k:
            likely = likely.clone()
            likely[:, self.top_k:] = 0
            likely = likely / likely.sum(dim=-1, keepdim=True)
        before = likely.cumsum(dim=-1) - likely
        likely = torch.where(before < self.top_p, likely, 0)
        reach = likely.cumsum(dim=-1)
        # Rounding may leave the noise at or over the last sum; tokens without a chance stay out.
        passed = (reach <= noise[:, None] * reach[:, -1:]) & (likely > 0)
        place = passed.sum(dim=-1).clamp(max=(likely > 0).sum(dim=-1) - 1)
        return order.gather(1, place[:, None])[:, 0]


Sampling = Greedy | Sample


class Sampler:
    """Chooses the tokens of a batch; remembers which each row had, for the repetition penalty.

    All on the device of the scores: choosing waits for nothing.
    """

    def __init__(self, sampling: Sampling, penalty: float, rows: int, most: int, vocabulary: int,
                 device: torch.device) -> None:
        """most: tokens that an answer may have."""
        self._sampling, self._penalty = sampling, penalty
        noise = sampling.noise(most)
        self._noise = None if noise is None else noise.expand(rows, -1).to(device)
        self._seen = None if penalty == 1 else torch.zeros(
            rows, vocabulary, dtype=torch.bool, device=device)
        self._count = 0

    def choose(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The next token of each row and its probability before any penalty: scores [B, V] ->
        int64 [B], float32 [B].

        The penalty looks at the tokens made so far, never at the prompt.
        """
        scores = scores.float()
        judged = scores
        if self._seen is not None:
            punished = torch.where(scores < 0, scores * self._penalty, scores / self._penalty)
            judged = torch.where(self._seen, punished, scores)
        noise = None if self._noise is None else self._noise[:, self._count]
        chosen = self._sampling.pick(judged, noise)[:, None]
        if self._seen is not None:
            self._seen.scatter_(1, chosen, True)
        self._count += 1
        likely = (scores.gather(1, chosen) - scores.logsumexp(dim=-1, keepdim=True)).exp()
        return chosen[:, 0], likely[:, 0]

    def keep(self, index: Tensor) -> None:
        """Drop all rows but these (int64)."""
        self._noise = None if self._noise is None else self._noise[index]
        self._seen = None if self._seen is None else self._seen[index]
