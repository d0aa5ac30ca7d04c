# SPDX-License-Identifier: Apache-2.0
"""A question about time as a prompt, with the text history or without."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Literal

import numpy as np
from torch import Tensor

from pixelrefer_model.language import Evidence
from pixelrefer_model.memory.history import tell_history
from pixelrefer_model.memory.observation import Whereabouts
from pixelrefer_model.memory.record import Happening
from training.refer.questions import Item
from training.refer.texts import Asked
from training.tenses.records import LongRecord, Query, origins_of, seconds_of
from training.tenses.watching import time_of
from training.tenses.wording import text_of


#: Events that are known of places alone.
PLACED = ('moved', 'at_rest')
#: Frames of places that a history may name.
FRAMES = ('map', 'odom', 'base_link', 'camera_link')


def asked_of(query: Query, record: LongRecord, offset: int, rng: Random, *, history: bool,
             last: bool = False, newest: int | None = None, places: bool = False,
             unplaced: bool = False,
             part: Literal['train', 'test', 'all'] = 'train') -> Asked:
    """A question whose record's first region has the number `offset`. last: it rests on the last
    sight of each object alone, without its time. newest: on so many of the newest moments. places:
    the history says where things happened, too. unplaced: see `facts_of_query`."""
    rows = {region: offset + n for n, region in enumerate(record.regions)}
    item = Item(query.kind, text_of(query.kind, query.now, rng, part), query.things, query.answer)
    begin = 0 if newest is None else -newest
    return Asked(item, [[rows[k, i] for k in (frames[-1:] if last else frames[begin:])]
                        for i, frames in zip(query.things, query.seen)],
                 None if last else [times[begin:] for times in seconds_of(query)],
                 query.difference,
                 facts_of_query(query, rng if places else None, unplaced=unplaced)
                 if history else ())


def facts_of_query(query: Query, rng: Random | None = None, *, unplaced: bool = False
                   ) -> tuple[str, ...]:
    """The sentences of a question's history; objects are called by their indices. With an `rng`
    they tell places too, made up: they are there to be read past. unplaced: they tell nothing that
    is known of places alone, and say so, as on a robot that knows none."""
    events = [one for one in query.events if not (unplaced and one.kind in PLACED)]
    where = None if rng is None or unplaced else made_up_places(events, rng)
    return tuple(tell_history(events, origins_of(query), where=where,
                              unplaced=list(map(str, query.things)) if unplaced else ()))


def made_up_places(events: Sequence[Happening], rng: Random) -> dict[Happening, Whereabouts]:
    """Places of most of the events, near one another in some frame."""
    frame, middle = rng.choice(FRAMES), [rng.uniform(-2, 2) for _ in range(3)]
    return {one: Whereabouts(frame, np.array([rng.gauss(m, 0.3) for m in middle]), np.eye(3))
            for one in events if rng.random() < 0.9}


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
