# SPDX-License-Identifier: Apache-2.0
"""A question about time as a prompt, with the text history or without."""

from dataclasses import replace
from random import Random
from typing import Literal

from torch import Tensor

from pixelrefer_model.language import Evidence
from pixelrefer_model.memory.history import tell_history
from training.refer.questions import Item
from training.refer.texts import Asked
from training.tenses.records import LongRecord, Query, origins_of, seconds_of
from training.tenses.wording import text_of


def asked_of(query: Query, record: LongRecord, offset: int, rng: Random, *, history: bool,
             part: Literal['train', 'test', 'all'] = 'train', later: float = 0.0) -> Asked:
    """A question whose record's first region has the number `offset`. later: added to all times, as
    if its objects were first seen so many seconds earlier."""
    rows = {region: offset + n for n, region in enumerate(record.regions)}
    now = None if query.now is None else round(query.now + later, 1)
    item = Item(query.kind, text_of(query.kind, now, rng, part), query.things, query.answer)
    return Asked(item, [[rows[k, i] for k in frames]
                        for i, frames in zip(query.things, query.seen)],
                 [[round(s + later, 1) for s in one] for one in seconds_of(query)],
                 query.difference, facts_of_query(query, later) if history else ())


def facts_of_query(query: Query, later: float = 0.0) -> tuple[str, ...]:
    """The sentences of a question's history; objects are called by their indices."""
    origins = {i: origin - round(later * 1e9) for i, origin in origins_of(query).items()}
    return tuple(tell_history(query.events, origins))


def postponed(query: Query, later: float) -> Query:
    """The same question where the answer is a time that is counted from earlier on."""
    if not query.answer.startswith('At '):
        return query
    since = float(query.answer[3:-1])
    return replace(query, answer=f'At {round(since + later, 1)}.')


def evidence_of(query: Query, record: LongRecord, *, last: bool = False) -> list[Evidence]:
    """The object tokens that a question rests on: of all its frames with their times, or of the last
    sight of each object alone."""
    rows = {region: n for n, region in enumerate(record.regions)}
    made = []
    for i, frames, seconds in zip(query.things, query.seen, seconds_of(query)):
        tokens: Tensor = record.tokens[[rows[k, i] for k in frames]]
        made.append(Evidence(str(i), tokens[-1:] if last else tokens, None if last else seconds))
    return made
