# SPDX-License-Identifier: Apache-2.0
"""What a question becomes before the language model reads it, and what comes back."""

from dataclasses import dataclass, field

from pixelrefer_model.language.chat import RenderedPrompt
from pixelrefer_model.memory import Observation
from pixelrefer_model.memory.record import Told


@dataclass(frozen=True)
class Question:
    """A checked question with the observations it rests on: only text is left to be made.

    observations: for each object of the request, oldest first. left_out: observations within the
    window that did not fit the budget of frames or the positions of the model; of now, newer ones
    that show something else. max_new_tokens: the answer's budget. facts: sentences that the prompt
    carries besides. about_now: whether it is asked of now rather than of a window.
    """

    text: str
    object_ids: list[str]
    observations: list[list[Observation]]
    left_out: int
    prompt: RenderedPrompt = field(repr=False)
    max_new_tokens: int
    facts: tuple[str, ...] = ()
    about_now: bool = False

    @property
    def stamps_ns(self) -> list[int]:
        """Every stamp the answer will rest on, oldest first, each once."""
        return sorted({o.stamp_ns for kept in self.observations for o in kept})


@dataclass(frozen=True)
class Answer:
    """Text made from observations and a question.

    confidence: probability of the least sure token, 0 to 1. abstained: too little was seen, the
    confidence was under the threshold or the model said nothing, and `text` says that it cannot
    tell. states: each object's track state when the answer was made, as the engine's own `track`
    and `process` saw it. left_out: see Question. reason: 'stop', 'length', 'cancelled' or
    'deadline'. tokens: how many were decoded. facts: see Question.
    """

    text: str
    confidence: float
    abstained: bool
    object_ids: list[str]
    states: list[str]
    stamps_ns: list[int]
    left_out: int
    reason: str
    tokens: int
    facts: tuple[str, ...] = ()

    def told(self, question: str, epoch: int, model: str) -> Told:
        """It, as the memory keeps it: of the newest stamp that it rests on. What is said of several
        objects, or that nothing can be told, says of none of them what it is."""
        return Told(tuple(self.object_ids), question, self.text, self.confidence, model, epoch,
                    max(self.stamps_ns, default=0),
                    words=len(self.object_ids) == 1 and not self.abstained,
                    since_ns=min(self.stamps_ns, default=0))


@dataclass(frozen=True)
class Progress:
    """What came of one of several questions, a token at a time.

    index: which question. text: what came since the last time. tokens: decoded so far. answer: the
    whole of it, once it is done; it counts, since one that is not sure enough becomes "I cannot
    tell." only then.
    """

    index: int
    text: str
    tokens: int
    answer: Answer | None = None
