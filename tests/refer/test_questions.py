# SPDX-License-Identifier: Apache-2.0
"""Rules of the questions: what they say is true of the scene, and no answer is the usual one."""

import re
from collections import Counter
from dataclasses import replace
from random import Random

import cv2
import numpy as np
import pytest
import torch

from pixelrefer_model.language import Evidence, compose
from training.refer.answers import claims, motion_claim, right
from training.refer.facts import AIR, CATEGORIES, Fact, facts_of, relation, visible, with_motion
from training.refer.paraphrases import neighbours, paraphrases, plainly
from training.refer.questions import (
    FAINT, GROUP, IS, PAIR, SINGLE, WINDOW, Asker, shuffled_pairs)
from training.refer.wording import PUBLISHED, WORDINGS, wordings
from training.world import Contract
from training.world.planner import plan_scene

CONTRACT = Contract.load()
SCENES = 60


def drawn_seg(plan, t: float) -> np.ndarray:
    """Outlines of the plan's objects, far ones first: masks without a renderer."""
    seg = np.zeros((CONTRACT.height, CONTRACT.width), np.uint8)
    order = sorted(range(len(plan.objects)), key=lambda i: -plan.truth(t)[i].camera[2])
    for i in order:
        hull = cv2.convexHull(plan.hull(i, t).astype(np.float32)).astype(np.int32)
        if plan.present(i, t):
            cv2.fillConvexPoly(seg, hull, i + 1)
    return seg


@pytest.fixture(scope='module')
def scenes():
    made = []
    for seed in range(SCENES):
        plan = plan_scene(CONTRACT, seed, 'test', 2.0, 'motion' if seed % 2 else None)
        made.append((plan, [facts_of(plan, t, drawn_seg(plan, t)) for t in (0.1, 1.9)]))
    return made


def asker(seed: int = 0, part: str = 'train') -> Asker:
    return Asker(Random(seed), CONTRACT, part)


def test_answers_about_pairs_are_what_the_plan_says(scenes):
    ask, asked = asker(), Counter()
    for plan, (_, facts) in scenes:
        for kind in PAIR:
            for i, j in shuffled_pairs(len(facts), ask.rng)[:6]:
                item = ask.pair(kind, facts, i, j)
                if item is None:
                    continue
                asked[kind] += 1
                told, (on, how) = plan.relation(i, j, 1.9), plan.support(i, 1.9)
                expected = {
                    'relation': {'left': 'To the left.', 'right': 'To the right.'}[told.side],
                    'depth': {'front': 'In front.', 'behind': 'Behind.'}[told.depth],
                }.get(kind) or {True: 'Yes.', False: 'No.'}[{
                    'is_left': told.side == 'left', 'is_right': told.side == 'right',
                    'is_in_front': told.depth == 'front', 'is_behind': told.depth == 'behind',
                    'same_colour': plan.objects[i].colour == plan.objects[j].colour,
                    'same_category': plan.objects[i].category == plan.objects[j].category,
                    'held': (on, how) == (j, 'on'), 'held_in': (on, how) == (j, 'in')}[kind]]
                assert item.answer == expected, (kind, plan.seed, i, j)
    assert all(asked[kind] >= 3 for kind in PAIR), asked


def test_motion_answers_are_what_the_plan_says(scenes):
    ask, said = asker(), Counter()
    for plan, (before, after) in scenes:
        for i in range(len(after)):
            fact = with_motion(after[i], before[i], plan.camera_pose(1.9), CONTRACT)
            item = ask.single('motion', [*after[:i], fact, *after[i + 1:]], i, video=True)
            # What goes away or comes back has no motion to speak of.
            if item and plan.present(i, 0.1) and plan.present(i, 1.9):
                assert motion_claim(item.answer) == plan.motion(i, 0.1, 1.9)
                said[motion_claim(item.answer)] += 1
    assert set(said) == {'still', 'left', 'right', 'closer', 'away'}


def test_counts_are_the_number_of_asked_objects_of_the_kind(scenes):
    ask = asker()
    plurals = {'mugs': 'mug', 'bottles': 'bottle', 'cans': 'can', 'bowls': 'bowl',
               'plates': 'plate', 'books': 'book', 'boxes': 'box', 'balls': 'ball'}
    numbers = Counter()
    for _, (_, facts) in scenes:
        chosen = tuple(ask.rng.sample(range(len(facts)), 3))
        item = ask.group('count', facts, chosen)
        if item:
            word, = [w for w in plurals if f' {w}' in item.text]
            assert item.answer == str(sum(facts[i].category == plurals[word] for i in chosen))
            numbers[item.answer] += 1
    assert len(numbers) >= 3, 'counts other than one must occur'


@pytest.mark.parametrize('kind', sorted(IS))
def test_is_it_so_is_answered_by_what_it_is_and_as_often_yes_as_no(scenes, kind):
    part, vocabulary = IS[kind]
    ask, given = asker(), Counter()
    for _, (_, facts) in scenes:
        for i in range(len(facts)):
            item = ask.single(kind, facts, i)
            if item:
                # the last one: a question may begin with "can"
                named = [word for word in re.findall(r'\w+', item.text) if word in vocabulary][-1]
                assert item.answer == ('Yes.' if named == getattr(facts[i], part) else 'No.')
                given[item.answer] += 1
    assert abs(given['Yes.'] - given['No.']) <= 1 and given['Yes.'] > 20


@pytest.mark.parametrize('kind', ['same_colour', 'held', 'is_left', 'support'])
def test_no_answer_is_ahead_of_the_other(scenes, kind):
    ask, given = asker(), Counter()
    for _, (_, facts) in scenes:
        for i, j in shuffled_pairs(len(facts), ask.rng):
            item = ask.single(kind, facts, i) if kind == 'support' \
                else ask.pair(kind, facts, i, j)
            if item:
                given[item.answer if kind != 'support' else 'table' in item.answer] += 1
    first, second = given.values()
    assert abs(first - second) <= 1 and first > 20


def test_a_mirrored_scene_turns_left_into_right(scenes):
    for _, (_, facts) in scenes[:20]:
        for i, j in shuffled_pairs(len(facts), Random(0)):
            side, depth = relation(facts[i], facts[j], CONTRACT)
            turned = relation(facts[i].mirrored(), facts[j].mirrored(), CONTRACT)
            assert turned == ({'left': 'right', 'right': 'left', None: None}[side], depth)
    moving = Fact('mug', 'red', 'plain', 'small', 500, 0.2, 0.5, (0, 0, 1), motion='left')
    assert moving.mirrored().motion == 'right' and moving.mirrored().column == 'right'


def test_every_canonical_answer_is_graded_right_and_another_objects_wrong(scenes):
    ask, compared = asker(), Counter()
    for _, (_, facts) in scenes:
        facts = [replace(f, motion='still' if i % 2 else 'away') for i, f in enumerate(facts)]
        for kind in dict.fromkeys((*SINGLE, *WINDOW)):
            one = ask.single(kind, facts, 0, video=kind in WINDOW, balanced=False)
            other = ask.single(kind, facts, 1, video=kind in WINDOW, balanced=False)
            if one and other:
                assert right(kind, one.answer, one.answer), one
                assert right(kind, one.answer, other.answer) == (one.answer == other.answer)
                compared[kind] += 1
    assert all(compared[kind] for kind in (*SINGLE, *WINDOW))
    assert not right('same_colour', 'Maybe.', 'Yes.') and not right('count', 'two', '2')


def test_a_caption_claims_its_own_category_not_that_of_its_support():
    plate = Fact('plate', 'white', 'plain', 'large', 900, 0.5, 0.5, (0, 0, 1))
    mug = replace(plate, category='mug', colour='orange', support=0)
    ask = asker()
    answer = ask.single('detailed', [plate, mug], 1).answer
    assert claims(answer) == {
        'category': 'mug', 'colour': 'orange', 'pattern': 'plain', 'size': 'large',
        'support': 'on plate', 'place': 'middle centre'}
    assert not right('detailed', answer.replace('on a plate', 'on a book'), answer)
    assert claims(ask.single('detailed', [replace(mug, held=AIR)], 0).answer)['support'] == 'in air'


def test_every_wording_makes_a_prompt_with_each_object_once():
    ask = asker()
    many = [(kind, [w for group in paraphrases(kind) for w in group]) for kind in WORDINGS]
    for kind, published in [*WORDINGS.items(), *PUBLISHED.items(), *many]:
        count = 3 if kind in GROUP else 2 if kind in PAIR else 1
        for wording in published:
            evidence = [Evidence(str(n), torch.zeros(1, 2, 4)) for n in range(count)]
            text = compose(ask.named(wording).replace('{k}', 'mugs'), evidence).text
            assert text.count('<REGION>') == 2 * count, wording
            assert '{' not in text, wording


def test_held_out_wordings_are_never_drawn_in_training():
    ask = asker()
    for kind in WORDINGS:
        count = 3 if kind in GROUP else 2 if kind in PAIR else 1
        held_out = {plainly(ask.named(w)) for w in wordings(kind, 'test')}
        assert len(held_out) == 2
        drawn = {plainly(ask.text(kind, count)) for _ in range(400)}
        drawn |= {plainly(ask.named(w)) for group in paraphrases(kind) for w in group}
        assert not any(text.endswith(h) for text in drawn for h in held_out), kind


def test_no_paraphrase_is_within_a_word_of_a_wording_that_measures():
    kept = [plainly(w).split() for kind in WORDINGS for w in wordings(kind, 'test')]
    drawn = {w for kind in WORDINGS for group in paraphrases(kind) for w in group}
    assert len(drawn) > 800
    assert not [w for w in drawn if any(neighbours(plainly(w).split(), k) for k in kept)]


@pytest.mark.parametrize('one, other, near', [
    ('a b c', 'a b c', True), ('a b c', 'a x c', True), ('a b c', 'a c', True), ('a', 'a b', True),
    ('a b', 'b a', False), ('a b c', 'a', False), ('a b c', 'x b y', False)])
def test_neighbours_differ_by_at_most_one_word(one, other, near):
    assert neighbours(one.split(), other.split()) is near
    assert neighbours(other.split(), one.split()) is near


def test_probes_say_how_many_of_the_objects_match_a_word_of_the_text(scenes):
    ask, probed = asker(), Counter()
    plurals = {f'{word}{"es" if word == "box" else "s"}': word for word in CATEGORIES}
    for _, (_, facts) in scenes:
        for item in (*(ask.single(kind, facts, 0) for kind in ('choice', *IS)),
                     ask.group('count', facts, (0, 1, 2)),
                     ask.group('count_colour', facts, (2, 0))):
            if item is None:
                continue
            for word, number in item.probes:
                known = plurals.get(word, word)
                assert number == sum(known in (
                    facts[i].category, facts[i].colour, facts[i].pattern, facts[i].size)
                    for i in item.objects)
                assert re.search(rf' {word}\b', item.text)
            probed[item.kind] += 1
    assert set(probed) == {'choice', *IS, 'count', 'count_colour'}


def test_of_next_to_nothing_the_answer_is_that_it_cannot_be_told():
    ask = asker()
    seen = Fact('mug', 'red', 'plain', 'small', 500, 0.2, 0.5, (0, 0, 1))
    assert [replace(seen, area=area).faint for area in (11, 12, 49, 50)] == [
        False, True, True, False]
    items = [ask.faint(3) for _ in range(60)]
    assert {item.answer for item in items} == {'I cannot tell.'}
    assert {item.kind for item in items} == set(FAINT) and {i.objects for i in items} == {(3,)}


def test_hidden_objects_are_not_asked_about():
    seen = Fact('mug', 'red', 'plain', 'small', 500, 0.2, 0.5, (0, 0, 1))
    assert visible([seen, replace(seen, area=99)]) == [0]
