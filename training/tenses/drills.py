# SPDX-License-Identifier: Apache-2.0
"""Made-up histories with questions that they answer: what has to be read, without any scene.

Scenes give some hundred questions a minute, and reading, finding the right sentence and saying its
time again, takes tens of thousands to learn. Object tokens stand for themselves alone here. Kinds
mean what they mean in `kinds`; three more are only trained: what happened to an object, or to two,
and at which times one was seen, whose answers repeat much of the prompt and so teach most.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from pixelrefer_model.memory.history import tell_history
from pixelrefer_model.memory.record import Happening
from training.refer import answers
from training.refer.paraphrases import vary_surface
from training.refer.questions import Asker, Item
from training.refer.texts import Asked
from training.tenses.kinds import APART, FIRST, SECOND
from training.tenses.prompts import made_up_places
from training.tenses.wording import text_of

#: How often each kind is drilled: at first mostly what repeats the prompt, later what compares.
SHARES = {'happened': 20, 'happened_both': 24, 'times': 10, 'moved': 4, 'which_moved': 14,
          'order': 14, 'how_many_moved': 8, 'when_moved': 14, 'hidden': 8, 'moving': 4,
          'last_seen': 12}
LATER = {'happened': 6, 'happened_both': 24, 'times': 4, 'moved': 4, 'which_moved': 22,
         'order': 28, 'how_many_moved': 14, 'when_moved': 6, 'hidden': 10, 'moving': 4,
         'last_seen': 6}
COUNT = {'happened_both': 2, 'which_moved': 2, 'order': 2, 'how_many_moved': 3}
#: Answers that are wanted equally often.
EVEN = {**dict.fromkeys(('moved', 'hidden', 'moving'), (answers.YES, answers.NO)),
        **dict.fromkeys(('which_moved', 'order'), (FIRST, SECOND)),
        'how_many_moved': ('0', '1', '2', '3')}
WORDINGS = {
    'happened': ('What happened to {a}?', 'What has happened to {a}?', 'What was done with {a}?',
                 'Tell me what happened to {a}.',
                 'Say what happened to {a} since it was first seen.'),
    'happened_both': (
        'What happened to {a} and {b}?', 'What has happened to {a} and to {b}?',
        'What was done with {a} and {b}?', 'Tell me what happened to {a} and {b}.'),
    'times': ('When was {a} seen?', 'At which times was {a} seen?', 'Say when you have seen {a}.',
              'Tell me the times at which {a} was seen.')}
#: Seconds that a made-up object has been known, at most, and between two things that happen to it;
#: and how many times slower it may all go.
KNOWN, GAPS, PACES = (10.0, 30.0, 90.0), (1.0, 20.0), (1, 1, 1, 1, 8, 60)
#: How often a step of an object is that it is moved, hidden, or lost and found.
HAPPENS = {'move': 5, 'hide': 4, 'lose': 1}


@dataclass(frozen=True)
class Life:
    """What happened to an object, as (seconds, event), and when it was seen. now: the end."""

    events: list[tuple[float, str]]
    seen: list[float]
    now: float

    @property
    def visible(self) -> bool:
        """Whether it can be seen at the end."""
        return self.seen[-1] == self.now

    def moves(self) -> list[float]:
        """When it began to move."""
        return [time for time, event in self.events if event == 'moved']


def draw_life(rng: Random, now: float, still: bool, rate: float = 0.1, pace: float = 1.0) -> Life:
    """What may happen to an object from 0 until `now`, at multiples of `rate` seconds. still: it
    is never moved. pace: so many times slower."""
    def later(time: float) -> float:
        return round(round((time + pace * rng.uniform(*GAPS)) / rate) * rate, 1)

    events, seen, time = [(0.0, 'appeared')], [0.0], 0.0
    shares = {**HAPPENS, 'move': 0 if still else HAPPENS['move']}
    while (begin := later(time)) < now:
        end = later(begin)
        what = rng.choices(list(shares), list(shares.values()))[0]
        first, last = {'move': ('moved', 'at_rest'), 'hide': ('occluded', 'back'),
                       'lose': ('lost', 'back')}[what]
        before = round(max(seen[-1], begin - 0.5), 1)
        events.append((begin, first))
        seen.append(begin if what == 'move' else before)
        if end < now:
            events.append((end, last))
            seen.append(end)
        elif what != 'move':
            return Life(events, _some(seen, rng), now)
        time = end
    return Life(events, _some([*seen, now], rng), now)


def _some(times: Sequence[float], rng: Random) -> list[float]:
    """A few of the times, always the last."""
    known = sorted(set(times))
    kept = rng.sample(known[:-1], min(len(known) - 1, rng.randint(0, 2)))
    return [*sorted(kept), known[-1]]


def _answer(kind: str, lives: Sequence[Life], told: Sequence[str]) -> str | None:
    """The true answer about the first object or about all, None where it has none."""
    first, moves = lives[0], [life.moves() for life in lives]
    if kind == 'happened_both':
        return ' '.join(one.replace('<object:0>', 'The first').replace('<object:1>', 'the second')
                        if one.startswith('<object:0>') else one.replace('<object:1>', 'The second')
                        for one in told)
    if kind == 'happened':
        return ' '.join(one.replace('<object:0>', 'It') for one in told)
    if kind == 'times':
        return f'At {", ".join(map(str, first.seen))}.'
    if kind == 'last_seen':
        return f'At {first.seen[-1]}.'
    if kind in ('moved', 'hidden', 'moving'):
        if kind == 'moving' and not first.visible:
            return None
        last = [event for _, event in first.events if event in ('moved', 'at_rest')]
        return answers.YES if {
            'moved': bool(moves[0]), 'hidden': first.visible,
            'moving': last[-1:] == ['moved']}[kind] else answers.NO
    if kind == 'how_many_moved':
        return str(sum(map(bool, moves)))
    if kind == 'when_moved':
        return f'At {moves[0][0]}.' if len(moves[0]) == 1 else None
    if kind == 'which_moved':
        return None if bool(moves[0]) == bool(moves[1]) else FIRST if moves[0] else SECOND
    if not all(moves) or abs(moves[0][0] - moves[1][0]) < APART:
        return None
    return FIRST if moves[0][0] < moves[1][0] else SECOND


def draw_drill(rng: Random, row: Callable[[], int], placed: float,
               shares: Mapping[str, int] = SHARES) -> Asked:
    """A question about a made-up history. row: gives some region; placed: how often places are
    told; shares: how often each kind is drawn."""
    kind = rng.choices(list(shares), list(shares.values()))[0]
    count, wanted = COUNT.get(kind, 1), rng.choice(EVEN.get(kind, (None,)))
    while True:
        pace, rate = rng.choice(PACES), rng.choice((0.1, 0.5))
        now = round(pace * rng.uniform(3, rng.choice(KNOWN)), 1)
        lives = [draw_life(rng, now, rng.random() < 0.3, rate, pace) for _ in range(count)]
        events = [Happening(str(n), event, 0, round(time * 1e9))
                  for n, life in enumerate(lives) for time, event in life.events]
        if count == 2 and rng.random() < 0.2:
            tenths = round(rng.uniform(0, now) * 10)
            events.append(Happening('0', 'touched', 0, tenths * 10 ** 8, '1'))
        told = tell_history(events, {str(n): 0 for n in range(count)},
                            where=made_up_places(events, rng) if rng.random() < placed else None)
        answer = _answer(kind, lives, told)
        if answer is not None and wanted in (None, answer):
            break
    if kind in WORDINGS:
        text = vary_surface(Asker.named(rng.choice(WORDINGS[kind])), rng)
    else:
        text = text_of(kind, now, rng)
    # Times can be read without the history, what happened cannot.
    facts = () if kind in ('times', 'last_seen') and rng.random() < 0.5 else tuple(told)
    return Asked(Item(kind, text, tuple(range(count)), answer),
                 [[row() for _ in life.seen] for life in lives], [life.seen for life in lives],
                 None, facts)
