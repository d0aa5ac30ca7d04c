# SPDX-License-Identifier: Apache-2.0
"""What is asked about time is true of the poses, and no answer is the usual one."""

from collections import Counter, defaultdict
from itertools import permutations
from random import Random

import numpy as np
import pytest
from tenses_support import K

from training.refer.answers import NO, YES, motion_claim
from training.refer.facts import CATEGORIES
from training.refer.questions import Balance
from training.tenses.grading import OFF, right
from training.tenses.kinds import (
    ELSEWHERE, FIRST, FUTURE, KINDS, PAST, PRESENT, PURPOSES, RECENTLY, SAME, Moment, draw)
from training.tenses.records import MEASURED, TAUGHT, queries_of
from training.tenses.watching import BUDGET, LOST_S, RECENT, STEP, time_of
from training.world.truth import direction


def asked(watched, kind, frames=None):
    """Every question of a kind at some frames of every scene: moment, objects, truth."""
    for scene in watched:
        for frame in frames(scene) if frames else (len(scene) // 2, len(scene) - 1):
            moment = Moment(scene, frame)
            for things in permutations(moment.things, KINDS[kind]):
                truth = moment.truth(kind, things)
                if truth is not None:
                    yield moment, things, truth


def under_way(scene):
    """Frames in the midst of moves."""
    return [round((m.t0 + m.t1) / 2 / STEP) for m in scene.plan.moves
            if m.t0 > 2 and m.t1 < scene.plan.seconds - 1]


def at(moment, i, frame):
    return moment.plan.position(i, time_of(frame))


def seen_from_to(moment, i):
    return moment.watched.first(i), moment.watched.last(i, moment.frame)


def test_sides_are_those_of_the_first_and_of_the_asked_frame(watched):
    for kind in ('was_side', 'now_side'):
        said = Counter()
        for moment, (i, j), truth in asked(watched, kind):
            t = moment.t if kind == 'now_side' else time_of(moment.watched.first(i))
            pose = moment.plan.camera_pose(t)
            a, b = pose.to_camera(np.stack([moment.plan.middle(k, t) for k in (i, j)]))
            assert truth.answer == ('To the left.' if a[0] < b[0] else 'To the right.')
            assert truth.difference == pytest.approx(a - b)
            said[truth.answer] += 1
        assert min(said.values()) > 5 and len(said) == 2


def test_what_it_is_on_is_what_is_under_it(watched):
    for kind in ('was_on', 'now_on'):
        said = Counter()
        for moment, (i,), truth in asked(watched, kind):
            t = moment.t if kind == 'now_on' else time_of(moment.watched.first(i))
            height = moment.plan.position(i, t)[2]
            assert (truth.answer == 'On the table.') == (height < 1e-6)
            said[truth.answer] += 1
        assert len(said) > 2


def test_what_was_held_stood_above_what_held_it(watched):
    said = Counter()
    for moment, (i, j), truth in asked(watched, 'was_held'):
        first = moment.watched.first(i)
        apart = at(moment, i, first) - at(moment, j, first)
        holder = moment.plan.objects[j]
        # By height and place, whatever the plan says of who carries whom.
        above = apart[2] > 1e-6 and np.hypot(*apart[:2]) < holder.form.radius * holder.scale
        assert (truth.answer == 'Yes.') == above
        said[truth.answer] += 1
    assert said['Yes.'] > 2 and said['No.'] > 2


def test_what_it_is_for_is_what_its_kind_is_for(watched):
    said = {moment.plan.objects[i].category: truth.answer
            for moment, (i,), truth in asked(watched, 'purpose')}
    assert len(said) > 4 and said == {kind: PURPOSES[kind] for kind in said}
    assert len(set(PURPOSES.values())) == len(PURPOSES) == len(CATEGORIES)


def test_what_has_moved_was_seen_at_another_place(watched):
    moved = defaultdict(dict)
    for moment, (i,), truth in asked(watched, 'moved'):
        first, last = seen_from_to(moment, i)
        far = np.linalg.norm(at(moment, i, last) - at(moment, i, first))
        assert far >= ELSEWHERE if truth.answer == 'Yes.' else far < SAME
        moved[moment.watched.plan.seed, moment.frame][i] = truth.answer == 'Yes.'
    for moment, (i, j), truth in asked(watched, 'which_moved'):
        known = moved[moment.watched.plan.seed, moment.frame]
        assert known[i] != known[j] and known[i] == (truth.answer == FIRST)
    for moment, things, truth in asked(watched, 'how_many_moved'):
        known = moved[moment.watched.plan.seed, moment.frame]
        assert truth.answer == str(sum(known[i] for i in things))


def test_the_way_it_went_is_that_of_its_places(watched):
    said = set()
    for moment, (i,), truth in asked(watched, 'way'):
        first, last = seen_from_to(moment, i)
        word, clear = direction(at(moment, i, last) - at(moment, i, first),
                                moment.plan.camera_pose(time_of(last)), moment.plan.contract)
        assert clear and motion_claim(truth.answer) == word
        said.add(word)
    assert len(said) == 5


def test_what_moved_first_was_on_its_way_while_the_other_stood(watched):
    count = 0
    for moment, (i, j), truth in asked(watched, 'order'):
        begun = []
        for k in (i, j):
            frames = range(moment.watched.first(k), moment.frame + 1)
            begun.append(next(f for f in frames if np.linalg.norm(
                at(moment, k, f) - at(moment, k, frames[0])) > SAME))
        assert (begun[0] < begun[1]) == (truth.answer == FIRST)
        count += 1
    assert count > 4


def test_times_are_those_of_the_events_since_the_first_sighting(watched):
    count = 0
    for moment, (i,), truth in asked(watched, 'when_moved'):
        first = moment.watched.first(i)
        said = float(truth.answer[3:-1]) + time_of(first)
        moves = [f for f in range(first, moment.frame) if np.linalg.norm(
            at(moment, i, f + 1) - at(moment, i, f)) > SAME]
        assert abs(said - time_of(moves[0])) <= OFF['when_moved'] + STEP
        count += 1
    for moment, (i,), truth in asked(watched, 'last_seen'):
        frame = round((float(truth.answer[3:-1]) + time_of(moment.watched.first(i))) / STEP)
        assert moment.watched.seen(i, frame)
        assert not any(moment.watched.seen(i, f) for f in range(frame + 1, moment.frame + 1))
    assert count > 2


def test_what_is_hidden_has_not_been_seen_for_a_second(watched):
    said = Counter()
    for moment, (i,), truth in asked(watched, 'hidden', lambda scene: range(4, len(scene), 3)):
        seen = [moment.watched.seen(i, moment.frame - n) for n in range(2)]
        assert seen[0] if truth.answer == 'Yes.' else not any(seen)
        said[truth.answer] += 1
    assert min(said.values()) > 10


def test_what_moves_now_is_on_its_way(watched):
    said = Counter()
    for moment, (i,), truth in asked(watched, 'moving', under_way):
        moves = any(m.t0 < moment.t < m.t1 and m.index in (i, moment.plan.support(i, moment.t)[0])
                    for m in moment.plan.moves)
        assert moves == (truth.answer == 'Yes.')
        said[truth.answer] += 1
    assert min(said.values()) > 10


def test_where_it_goes_next_is_where_its_move_ends(watched):
    said = set()
    for moment, (i,), truth in asked(watched, 'next_way', under_way):
        word = motion_claim(truth.answer)
        ahead = moment.plan.position(i, moment.t + 2) - moment.plan.position(i, moment.t)
        said.add(word)
        if word == 'still':
            assert np.linalg.norm(ahead) < 1e-6
        else:
            move, = (m for m in moment.plan.moves if m.index == i and m.t0 < moment.t < m.t1)
            rest = np.array(move.end) - moment.plan.position(i, moment.t)
            right_, forward = moment.plan.camera_pose(moment.t).horizontal()
            along = {'left': -rest @ right_, 'right': rest @ right_, 'closer': -rest @ forward,
                     'away': rest @ forward}
            assert word == max(along, key=along.get)
    assert len(said) >= 4


def test_what_will_touch_ends_there_and_what_will_not_misses_it_however_far_it_goes(watched):
    said = Counter()
    for moment, (i, j), truth in asked(watched, 'will_touch', under_way):
        plan = moment.plan
        move, = (m for m in plan.moves if m.index == i and m.t0 < moment.t < m.t1)
        reach = sum(plan.objects[k].form.radius * plan.objects[k].scale for k in (i, j))
        here, there = plan.position(i, moment.t), plan.position(j, moment.t)
        heading = np.subtract(move.end, move.start)
        onward = [here + heading / np.linalg.norm(heading) * s for s in np.linspace(0, 1, 101)]
        nearest = min(np.hypot(*(place - there)[:2]) for place in onward)
        assert (nearest < reach + 0.01) == (truth.answer == 'Yes.')
        said[truth.answer] += 1
    assert min(said.values()) > 2


def test_what_will_be_on_another_is_above_it_in_the_end(watched):
    said = Counter()
    for moment, (i, j), truth in asked(watched, 'will_be_on', lambda scene: [
            frame + 1 for frame in under_way(scene)]):
        move, = (m for m in moment.plan.moves if m.index == i and m.t0 < moment.t < m.t1)
        assert (moment.plan.support(i, move.t1)[0] == j) == (truth.answer == 'Yes.')
        said[truth.answer] += 1
    assert sum(said.values()) > 3


def test_no_answer_is_ahead_of_the_others(watched):
    balance, rng, given = Balance(slack=2), Random(0), defaultdict(Counter)
    for scene in watched:
        for frame in range(8, len(scene), 10):
            moment = Moment(scene, frame)
            for kind in KINDS:
                drawn = draw(moment, kind, balance, rng)
                if drawn and drawn[1].cells:
                    given[kind][drawn[1].cell] += 1
                    assert set(drawn[1].cells) >= {drawn[1].cell}
    for kind in ('moved', 'hidden', 'which_moved', 'was_side', 'now_side', 'now_on', 'last_seen'):
        counts = given[kind]
        assert max(counts.values()) - min(counts.values()) <= 2 and sum(counts.values()) > 7, kind


def test_a_question_rests_on_what_the_memory_chooses_and_on_nothing_later(watched):
    kinds = Counter()
    for n, scene in enumerate(watched):
        queries, windows = queries_of(scene, Balance(slack=2), Random(n), K, MEASURED)
        for query in queries:
            kinds[query.kind] += 1
            most = RECENT if query.kind in RECENTLY else BUDGET.moments(len(query.things), K)
            for i, frames, first in zip(query.things, query.seen, query.firsts):
                assert 1 <= len(frames) <= most and list(frames) == sorted(set(frames))
                assert all(scene.seen(i, k) for k in frames) and frames[-1] == scene.last(
                    i, query.frame) and first == scene.first(i)
                if query.kind in RECENTLY:
                    assert frames[0] > query.frame - RECENT
                else:
                    assert frames[0] == first
            # As the node tells a history: of the window, and of nothing before it.
            begin = query.frame - RECENT + 1 if query.kind in RECENTLY else 0
            assert all(time_of(begin) <= one.stamp_ns / 1e9 <= time_of(query.frame)
                       for one in query.events)
            assert {one.object_id for one in query.events} <= set(map(str, query.things))
        assert queries_of(scene, Balance(slack=2), Random(n), K, MEASURED) == (queries, windows)
    assert set(kinds) == set(KINDS) == {*PAST, *PRESENT, *FUTURE}


def test_what_is_taught_is_asked_at_more_moments_of_what_goes_on_than_what_is_measured(watched):
    def asked(moments):
        queries = [query for n, scene in enumerate(watched) for query in queries_of(
            scene, Balance(slack=2), Random(n), K, moments)[0]]
        return Counter(query.kind in RECENTLY for query in queries)

    taught, measured = asked(TAUGHT), asked(MEASURED)
    assert taught[True] > 1.5 * measured[True] and taught[False] < 1.5 * measured[False]


def test_what_is_taught_has_every_answer_as_often(watched):
    """However often a kind is tried: what was drawn before counts once."""
    balance, given = Balance(slack=2), defaultdict(Counter)
    for n, scene in enumerate(watched):
        queries = queries_of(scene, balance, Random(n), K, TAUGHT)[0]
        assert len({(q.frame, q.kind, q.things) for q in queries}) == len(queries)
        for query in queries:
            given[query.kind][query.answer] += 1
    for kind in ('moving', 'will_touch'):
        yes, no = given[kind][YES], given[kind][NO]
        assert abs(yes - no) <= 3 and yes > 5, (kind, yes, no)


def test_what_is_out_of_sight_is_occluded_then_lost_and_then_back(watched):
    told = Counter(one.kind for scene in watched for one in scene.happenings)
    assert {'appeared', 'occluded', 'back', 'lost', 'moved', 'at_rest', 'touched'} == set(told)
    for scene in watched:
        for one in scene.happenings:
            frame, i = round(one.stamp_ns / 1e9 / STEP), int(one.object_id)
            if one.kind in ('back', 'occluded'):
                assert scene.seen(i, frame) == (one.kind == 'back') != scene.seen(i, frame - 1)
            if one.kind == 'lost':
                assert time_of(frame - scene.last(i, frame)) > LOST_S


@pytest.mark.parametrize('kind, said, expected, good', [
    ('when_moved', 'At 12.5.', 'At 11.0.', True), ('when_moved', 'At 14.5.', 'At 11.0.', False),
    ('last_seen', 'At 12.5.', 'At 12.0.', True), ('last_seen', 'At 13.0.', 'At 12.0.', False),
    ('last_seen', 'Yes.', 'At 1.0.', False), ('order', 'The second.', 'The second.', True),
    ('order', 'The first.', 'The second.', False), ('order', 'Both.', 'The second.', False),
    ('was_on', 'In a box.', 'On a box.', False), ('now_on', 'On a box.', 'On a box.', True),
    ('next_way', 'Left.', 'Left, it moves to the left.', True),
    ('how_many_moved', '2', '3', False), ('hidden', 'No.', 'No.', True),
    ('will_touch', 'Yes.', 'No.', False), ('now_side', 'To the left.', 'To the left.', True)])
def test_answers_are_graded_by_what_they_claim(kind, said, expected, good):
    assert right(kind, said, expected) is good
