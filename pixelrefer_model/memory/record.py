# SPDX-License-Identifier: Apache-2.0
"""What is remembered, as plain values: events, answers, objects."""

from dataclasses import dataclass

from pixelrefer_model.memory.observation import Observation

#: What happened to an object, as far as the tracker can tell.
EVENTS = ('appeared', 'occluded', 'back', 'lost', 'moved', 'at_rest', 'touched')


@dataclass(frozen=True)
class Happening:
    """An event. kind: a word of EVENTS; other: the second object of 'touched'."""

    object_id: str
    kind: str
    epoch: int
    stamp_ns: int
    other: str = ''
    text: str = ''


@dataclass(frozen=True)
class Told:
    """An answer that was given. stamp_ns: of the newest image that it rests on; since_ns: of the
    oldest. words: whether it says what the objects are or look like, so that they may be found by
    it."""

    object_ids: tuple[str, ...]
    question: str
    text: str
    confidence: float
    model: str
    epoch: int
    stamp_ns: int
    words: bool = True
    since_ns: int | None = None


Record = Observation | Happening | Told


@dataclass(frozen=True)
class Moment:
    """A stored observation without its tokens. number: in the database; line: of time."""

    number: int
    object_id: str
    line: int
    stamp_ns: int
    reason: str
    key: str


@dataclass(frozen=True)
class Remembered:
    """An object that is remembered: when it was seen first and last."""

    object_id: str
    camera: str
    first_line: int
    first_ns: int
    last_line: int
    last_ns: int
    observations: int
