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
from training.tenses.watching import time_of
from training.tenses.wording import text_of


def asked_of(query: Query, record: LongRecord, offset: int, rng: Random, *, history: bool,
             last: bool = False, part: Literal['train', 'test', 'all'] = 'train') -> Asked:
    """A question whose record's first region has the number `offset`. last: it rests on the last
    sight of each object alone, without its time."""
    rows = {region: offset + n for n, region in enumerate(record.regions)}
    item = Item(query.kind, text_of(query.kind, query.now, rng, part), query.things, query.answer)
    return Asked(item, [[rows[k, i] for k in (frames[-1:] if last else frames)]
                        for i, frames in zip(query.things, query.seen)],
                 None if last else seconds_of(query), query.difference,
                 facts_of_query(query) if history else ())


def facts_of_query(query: Query) -> tuple[str, ...]:
    """The sentences of a question's history; objects are called by their indices."""
    return tuple(tell_history(query.events, origins_of(query)))


def postponed(query: Query, frames: int) -> Query:
    """The same question had its objects been in sight so many frames longer before: all its times,
    and an answer that is one, count from earlier on."""
    answer, now, more = query.answer, query.now, time_of(frames)
    if answer.startswith('At '):
        answer = f'At {round(float(answer[3:-1]) + more, 1)}.'
    return replace(query, answer=answer, now=None if now is None else round(now + more, 1),
                   firsts=tuple(first - frames for first in query.firsts),
                   events=tuple(one for one in query.events if one.kind != 'appeared'))


def evidence_of(query: Query, record: LongRecord, *, last: bool = False) -> list[Evidence]:
    """The object tokens that a question rests on: of all its frames with their times, or of the
    last sight of each object alone."""
    rows = {region: n for n, region in enumerate(record.regions)}
    made = []
    for i, frames, seconds in zip(query.things, query.seen, seconds_of(query)):
        tokens: Tensor = record.tokens[[rows[k, i] for k in frames]]
        made.append(Evidence(str(i), tokens[-1:] if last else tokens, None if last else seconds))
    return made
