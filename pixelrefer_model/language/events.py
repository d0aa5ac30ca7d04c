# SPDX-License-Identifier: Apache-2.0
"""What generation gives: a token at a time, or a whole answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Reason = Literal['', 'stop', 'length', 'cancelled', 'deadline']


@dataclass(frozen=True)
class TokenEvent:
    """One token of one answer.

    index: which prompt. token_id: None where the end came without a token (cancelled, deadline).
    text_delta: what the token completes; never part of a character or of a stop word.
    probability: of the token, before any repetition penalty, 0 to 1. finished: nothing follows for
    this prompt; reason says why.
    """

    index: int
    token_id: int | None
    text_delta: str
    probability: float
    finished: bool = False
    reason: Reason = ''


def least_sure(probabilities: Sequence[float]) -> float:
    """How sure an answer is: the least probability of its tokens, 0 where there are none.

    Most tokens are given by the form of the answer, and their mean hides the one that decides.
    """
    return min(probabilities, default=0.0)


@dataclass
class Generation:
    """All events of one prompt together."""

    text: str = ''
    token_ids: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    reason: str = ''

    def add(self, event: TokenEvent) -> None:
        """Take the next event of the prompt."""
        self.text += event.text_delta
        if event.token_id is not None:
            self.token_ids.append(event.token_id)
            self.probabilities.append(event.probability)
        self.reason = event.reason

    @property
    def confidence(self) -> float:
        """Probability of the least sure token, 0 to 1; 0 where there is no token."""
        return least_sure(self.probabilities)
