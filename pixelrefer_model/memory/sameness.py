# SPDX-License-Identifier: Apache-2.0
"""Whether an object that appears is one that is remembered: offers, never a decision.

    found = offers(store, observations_of_it, in_view, TINY)    # in Recorder.call: all is written
    [Offer('mug', 0.93)]                                        # may be joined by who asked for it

How alike two objects are is the cosine of the means of their tokens, so an offer says that they
look the same, never that they are: of two equal cups either is offered for the other.
docs/accuracy/sameness.md has what that is worth, for the packaged checkpoint.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from pixelrefer_model.memory.columns import likeness_of
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.finding import alike
from pixelrefer_model.memory.observation import Observation
from pixelrefer_model.memory.store import MemoryStore


@dataclass(frozen=True)
class Offer:
    """A remembered object that one which appeared may be, and the cosine of the two, to 1."""

    object_id: str
    likeness: float


@dataclass(frozen=True)
class SameGate:
    """What may be offered as the same object.

    likeness: the least cosine, above 0 and at most 1. lead: an object that is further than this
    behind the best one is not offered beside it, 0 to 1. Those that are nearer are all offered: one
    thing may be remembered under several names. How cosines of one checkpoint lie says nothing of
    another's: a gate holds for the checkpoint that it was measured with.
    """

    likeness: float
    lead: float

    def __post_init__(self) -> None:
        if not (0 < self.likeness <= 1 and 0 <= self.lead <= 1):
            raise PixelReferError(
                'BAD_BUDGET', f'a likeness of {self.likeness:g} and a lead of {self.lead:g}; above '
                '0 to 1, and 0 to 1, are allowed')

    def choose(self, candidates: Sequence[Offer]) -> list[Offer]:
        """Those of `candidates`, the best first, that may be offered."""
        return [one for one in candidates if one.likeness >= max(
            self.likeness, candidates[0].likeness - self.lead)]


#: Measured with the packaged PixelRefer-Lite, in docs/accuracy/sameness.md.
TINY = SameGate(0.85, 0.05)


def offers(store: MemoryStore, seen: Sequence[Observation], in_view: Collection[str],
           gate: SameGate) -> list[Offer]:
    """The remembered objects that the object which just appeared may be, the best first.

    seen: its observations since then, oldest first, written already; several say more than one.
    in_view: ids of the objects that are tracked now. Raises PixelReferError NO_OBSERVATION where
    `seen` is empty.
    """
    return gate.choose(candidates(store, seen, in_view))


def candidates(store: MemoryStore, seen: Sequence[Observation],
               in_view: Collection[str] = ()) -> list[Offer]:
    """What `offers` chooses from, the best first: every other object that is remembered with tokens
    of the same key, but those in view and those that were seen since this one appeared, which must
    be others."""
    like, newest = _likeness(seen), seen[-1]
    beside = {row[0] for row in store.query(
        'SELECT id FROM objects WHERE last_line = ? AND last_ns >= ?',
        (store.line, seen[0].stamp_ns))}
    others = {object_id: cosine for object_id, cosine in alike(store, like, newest.key).items()
              if object_id not in {newest.object_id, *in_view, *beside}}
    return [Offer(object_id, cosine) for object_id, cosine in sorted(
        others.items(), key=lambda one: (-one[1], one[0]))]


def agreement(store: MemoryStore, seen: Sequence[Observation]) -> float | None:
    """How alike an object that came back under its own id is to what was remembered under that id
    before `seen`; None where nothing with tokens of the same key was. Where it is below a gate's
    likeness, the id may have gone to another object. Raises PixelReferError NO_OBSERVATION where
    `seen` is empty."""
    like, newest = _likeness(seen), seen[-1]
    return alike(store, like, newest.key,
                 'AND o.object = ? AND (o.line, o.stamp_ns) < (?, ?)',
                 (newest.object_id, store.line, seen[0].stamp_ns)).get(newest.object_id)


def _likeness(seen: Sequence[Observation]) -> np.ndarray:
    """Of several observations: float32 [D] of length 1. Those of another key than the newest's are
    left out."""
    if not seen:
        raise PixelReferError('NO_OBSERVATION', 'no observation of the object that appeared; at '
                              'least one is allowed')
    total = np.sum([likeness_of(one.tokens) for one in seen if one.key == seen[-1].key], axis=0)
    return total / max(float(np.linalg.norm(total)), np.finfo(np.float32).tiny)
