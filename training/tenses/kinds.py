# SPDX-License-Identifier: Apache-2.0
"""Which questions about time a moment of a scene has, and what is true.

What keyframes and the history cannot tell is not asked: what falls off the table, whose edge is
seldom in view; where something stops that is pushed straight at another object; what moved and came
back.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from training.refer import answers
from training.refer.questions import Balance
from training.tenses.grading import OFF
from training.tenses.watching import STEP, Watched, everything, time_of
from training.world.events import NOTHING, SLIDING, TABLE, Move
from training.world.truth import direction

#: Tense of each kind, and the number of its objects.
PAST = {'was_side': 2, 'was_on': 1, 'was_held': 2, 'moved': 1, 'way': 1, 'which_moved': 2,
        'order': 2, 'how_many_moved': 3, 'when_moved': 1, 'last_seen': 1}
PRESENT = {'hidden': 1, 'now_side': 2, 'now_on': 1, 'moving': 1, 'purpose': 1}
FUTURE = {'next_way': 1, 'will_touch': 2, 'will_be_on': 2}
TENSES = {'past': PAST, 'present': PRESENT, 'future': FUTURE}
KINDS = {**PAST, **PRESENT, **FUTURE}
#: Kinds that rest on the last frames alone.
RECENTLY = ('moving', *FUTURE)
FIRST, SECOND = 'The first.', 'The second.'
#: What things are for.
PURPOSES = {'mug': 'To drink from.', 'bottle': 'To pour from.', 'can': 'To keep food in.',
            'bowl': 'To eat soup from.', 'plate': 'To put food on.', 'book': 'To read.',
            'box': 'To keep things in.', 'ball': 'To play with.'}
#: Metres between two places that are beyond doubt another one, and one and the same.
ELSEWHERE, SAME = 0.06, 0.01
#: Seconds between two beginnings of which one was clearly first.
APART = 3.0
#: Metres between footprints that touch at most, and that are clearly apart at least.
TOUCHING, CLEAR = 0.012, 0.05


@dataclass(frozen=True)
class Truth:
    """A true answer. cell, cells: what is balanced, and all that it may be. difference: what the
    answer compares, in metres, right, down or forward and forward or up, as `Asked` has it."""

    answer: str
    cell: str = ''
    cells: tuple[str, ...] = ()
    difference: tuple[float, float, float] | None = None


class Moment:
    """What is true at a frame of a watched scene."""

    def __init__(self, watched: Watched, frame: int) -> None:
        self.watched, self.plan, self.frame = watched, watched.plan, frame
        self.t = time_of(frame)
        self.things = [i for i in range(len(self.plan.objects))
                       if (first := watched.first(i)) is not None and first < frame]

    def truth(self, kind: str, things: Sequence[int]) -> Truth | None:
        """The answer to a question of a kind about some objects; None where it has none that is
        beyond doubt."""
        return getattr(self, f'_{kind}')(*things)

    # --- what was

    def _was_side(self, i: int, j: int) -> Truth | None:
        first = self.watched.first(i)
        if first != self.watched.first(j):
            return None
        return self._side(i, j, time_of(first), self.t)

    def _now_side(self, i: int, j: int) -> Truth | None:
        if not self._sees(i, j):
            return None
        return self._side(i, j, self.t, time_of(max(map(self.watched.first, (i, j)))))

    def _side(self, i: int, j: int, t: float, other: float) -> Truth | None:
        """Left or right at `t`; as often changed at the `other` time as not."""
        one, two = self.plan.relation(i, j, t), self.plan.relation(i, j, other)
        if not (one.side_clear and two.side_clear):
            return None
        cells = tuple(f'{side} {changed}' for side in answers.SIDES for changed in (True, False))
        apart = self.plan.camera_pose(t).to_camera(
            np.stack([self.plan.middle(i, t), self.plan.middle(j, t)]))
        return Truth(answers.SIDES[one.side], f'{one.side} {one.side != two.side}', cells,
                     tuple(map(float, apart[0] - apart[1])))

    def _was_on(self, i: int) -> Truth | None:
        return self._on(i, time_of(self.watched.first(i)), self.t)

    def _now_on(self, i: int) -> Truth | None:
        if not self._sees(i):
            return None
        return self._on(i, self.t, time_of(self.watched.first(i)))

    def _on(self, i: int, t: float, other: float) -> Truth | None:
        (below, how), (then, _) = self.plan.support(i, t), self.plan.support(i, other)
        if NOTHING in (below, then):
            return None
        cells = tuple(f'{kind} {changed}' for kind in ('table', 'object')
                      for changed in (True, False))
        said = 'On the table.' if below == TABLE else \
            f'{how.capitalize()} {answers.article(self.plan.objects[below].category)}.'
        return Truth(said, f'{"table" if below == TABLE else "object"} {below != then}', cells)

    def _was_held(self, i: int, j: int) -> Truth | None:
        first = self.watched.first(i)
        if first != self.watched.first(j):
            return None
        (below, _), (now, _) = self.plan.support(i, time_of(first)), self.plan.support(i, self.t)
        if NOTHING in (below, now):
            return None
        cells = tuple(f'{held} {changed}' for held in (True, False) for changed in (True, False))
        return Truth(answers.YES if below == j else answers.NO,
                     f'{below == j} {(below == j) != (now == j)}', cells)

    def _moved(self, i: int) -> Truth | None:
        moved = self._has_moved(i)
        return None if moved is None else _yes_no(moved, self._shift(i))

    def _way(self, i: int) -> Truth | None:
        last = self.watched.last(i, self.frame)
        if self._has_moved(i) is None or self._goes(i, last):
            return None
        word, clear = direction(self._step(i), self.plan.camera_pose(time_of(last)),
                                self.plan.contract)
        return Truth(answers.MOTION_ANSWERS[word], word, tuple(answers.MOTION_ANSWERS),
                     self._shift(i)) if clear else None

    def _which_moved(self, i: int, j: int) -> Truth | None:
        moved = self._has_moved(i), self._has_moved(j)
        return _which(bool(moved[0])) if set(moved) == {True, False} else None

    def _order(self, i: int, j: int) -> Truth | None:
        began = [self._began(k) for k in (i, j)]
        if not all(began) or abs(began[0][0] - began[1][0]) < APART:
            return None
        return _which(began[0][0] < began[1][0])

    def _how_many_moved(self, *things: int) -> Truth | None:
        moved = [self._has_moved(i) for i in things]
        if None in moved:
            return None
        cells = tuple(str(n) for n in range(len(things) + 1))
        return Truth(str(sum(moved)), str(sum(moved)), cells)

    def _when_moved(self, i: int) -> Truth | None:
        told = [one.stamp_ns / 1e9 for one in self.watched.within(everything(self.frame))
                if one.kind == 'moved' and one.object_id == str(i)]
        began = self._began(i)
        if not self._has_moved(i) or len(began) != 1 or len(told) != 1 \
                or not 0 <= told[0] - began[0] <= OFF['when_moved']:
            return None
        return Truth(f'At {round(told[0] - time_of(self.watched.first(i)), 1)}.')

    def _last_seen(self, i: int) -> Truth | None:
        since = time_of(self.watched.last(i, self.frame) - self.watched.first(i))
        return Truth(f'At {round(since, 1)}.', str(self._sees(i)), ('True', 'False'))

    # --- what is

    def _hidden(self, i: int) -> Truth | None:
        last = self.watched.last(i, self.frame)
        # Gone for a second, or there in this frame: in between nobody could tell.
        if 0 < self.frame - last < 2:
            return None
        return _yes_no(last == self.frame)

    def _moving(self, i: int) -> Truth | None:
        if not self._sees(i) or self.frame < 4:
            return None
        now = np.linalg.norm(self._at(i, self.t) - self._at(i, self.t - STEP))
        ahead = np.linalg.norm(self._at(i, self.t + 0.2) - self._at(i, self.t))
        if now >= 0.03 and ahead >= 0.004:
            return _yes_no(True)
        return _yes_no(False) if now < 0.001 and ahead < 0.001 else None

    def _purpose(self, i: int) -> Truth | None:
        category = self.plan.objects[i].category
        return Truth(PURPOSES[category], category, tuple(PURPOSES)) if self._sees(i) else None

    # --- what will be

    def _next_way(self, i: int) -> Truth | None:
        if not self._sees(i) or self.frame < 4:
            return None
        move = self._under_way(i)
        if move is None:
            still = not self._goes(i, self.frame) and np.linalg.norm(
                self._at(i, min(self.t + 2, self.plan.seconds)) - self._at(i, self.t)) < 1e-6
            return Truth(answers.MOTION_ANSWERS['still'], 'still', tuple(answers.MOTION_ANSWERS),
                         (0.0, 0.0, 0.0)) if still else None
        if not self._shows(i) or move.kind in ('carry_off', 'bring_back'):
            return None
        rest = self._at(i, move.t1) - self._at(i, self.t)
        pose = self.plan.camera_pose(self.t)
        level = rest * (1, 1, 0)
        word, clear = direction(level, pose, self.plan.contract)
        return Truth(answers.MOTION_ANSWERS[word], word, tuple(answers.MOTION_ANSWERS),
                     _level(rest, pose)) if clear and word != 'still' else None

    def _will_touch(self, i: int, j: int) -> Truth | None:
        move = self._under_way(i)
        if move is None or move.kind not in SLIDING or not (
                self._sees(i, j) and self._shows(i)) or self.plan.support(j, self.t)[0] != TABLE:
            return None
        ways = [self._apart(i, j, t) for t in np.linspace(self.t, move.t1, 9)]
        if ways[0] < 0.02:
            return None
        if ways[-1] <= TOUCHING:
            return _yes_no(True)
        # No only where it is not heading there: how far it will be pushed nobody knows.
        heading = np.subtract(move.end, move.start)[:2]
        heading = heading / np.linalg.norm(heading)
        between = (self._at(j, self.t) - self._at(i, self.t))[:2]
        aside = abs(heading[0] * between[1] - heading[1] * between[0])
        misses = between @ heading < 0 or aside > self._radius(i) + self._radius(j) + 0.02
        return _yes_no(False) if misses and min(ways) > CLEAR else None

    def _will_be_on(self, i: int, j: int) -> Truth | None:
        move = self._under_way(i)
        form = self.plan.objects[j].form
        if move is None or move.kind != 'lift' or form.carries is None or not self._sees(i, j) \
                or (self.t - move.t0) / (move.t1 - move.t0) < 0.5 \
                or self.plan.support(i, move.t0)[0] == j:
            return None
        if move.support == j:
            return _yes_no(True)
        far = np.linalg.norm((np.array(move.end) - self._at(j, self.t))[:2])
        return _yes_no(False) if far > 0.1 + self._radius(j) else None

    # --- what they rest on

    def _sees(self, *things: int) -> bool:
        return all(self.watched.seen(i, self.frame) for i in things)

    def _at(self, i: int, t: float) -> np.ndarray:
        return self.plan.position(i, max(0.0, t))

    def _radius(self, i: int) -> float:
        spec = self.plan.objects[i]
        return spec.form.radius * spec.scale

    def _apart(self, i: int, j: int, t: float) -> float:
        between = self._at(i, t) - self._at(j, t)
        return float(np.hypot(*between[:2])) - self._radius(i) - self._radius(j)

    def _under_way(self, i: int) -> Move | None:
        return next((m for m in self.plan.moves if m.index == i and m.t0 < self.t < m.t1), None)

    def _shows(self, i: int) -> bool:
        """Whether the last two frames show that it moves."""
        return self.watched.seen(i, self.frame - 1) and bool(
            np.linalg.norm(self._at(i, self.t) - self._at(i, self.t - STEP)) >= 0.02)

    def _step(self, i: int) -> np.ndarray:
        """From where it was seen first to where it was seen last."""
        last = self.watched.last(i, self.frame)
        return self._at(i, time_of(last)) - self._at(i, time_of(self.watched.first(i)))

    def _shift(self, i: int) -> tuple[float, float, float]:
        last = self.watched.last(i, self.frame)
        return _level(self._step(i), self.plan.camera_pose(time_of(last)))

    def _has_moved(self, i: int) -> bool | None:
        """Whether it was seen last at another place than first; None where that is in doubt: it
        moved and came back, or is in the air."""
        last = self.watched.last(i, self.frame)
        if last == self.watched.first(i) or self.plan.support(i, time_of(last))[0] == NOTHING:
            return None
        far = float(np.linalg.norm(self._step(i)))
        if not self._began(i):
            return False
        return True if far >= ELSEWHERE else None

    def _began(self, i: int) -> list[float]:
        """When it began to move, by itself or with what carries it, up to its last sighting."""
        last = time_of(self.watched.last(i, self.frame))
        first = time_of(self.watched.first(i))
        return [m.t0 for m in self.plan.moves if first <= m.t0 < last and (
            m.index == i or self.plan.support(i, m.t0)[0] == m.index and m.kind in SLIDING)]

    def _goes(self, i: int, frame: int) -> bool:
        t = time_of(frame)
        return bool(np.linalg.norm(self._at(i, t + 0.1) - self._at(i, t - 0.1)) > 1e-6)


def _level(step: np.ndarray, pose: object) -> tuple[float, float, float]:
    """A displacement in the world along the camera's level axes: right, forward, up."""
    right, forward = pose.horizontal()
    return float(step @ right), float(step @ forward), float(step[2])


def _yes_no(true: bool, difference: tuple[float, float, float] | None = None) -> Truth:
    return Truth(answers.YES if true else answers.NO, str(true), ('True', 'False'), difference)


def _which(first: bool) -> Truth:
    return Truth(FIRST if first else SECOND, str(first), ('True', 'False'))


def draw(moment: Moment, kind: str, balance: Balance, rng: Random, lead: int | None = None,
         asked: Container[tuple[int, str, tuple[int, ...]]] = ()
         ) -> tuple[tuple[int, ...], Truth] | None:
    """Objects of a moment with a true answer that is not ahead of the others, or None. lead: the
    object that most questions are about first. asked: frames, kinds and objects that were drawn
    before, and are not drawn again."""
    count = KINDS[kind]
    if len(moment.things) < count:
        return None
    for _ in range(12):
        things = tuple(rng.sample(moment.things, count))
        if lead in moment.things and rng.random() < 0.8:
            things = (lead, *[i for i in things if i != lead][:count - 1])
        truth = None if (moment.frame, kind, things) in asked else moment.truth(kind, things)
        if truth is not None and (not truth.cells or balance.allows(kind, truth.cell,
                                                                    truth.cells)):
            return things, truth
    return None
