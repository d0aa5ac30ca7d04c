# SPDX-License-Identifier: Apache-2.0
"""The small world's detector means what it says, on fixed test scenes that nothing was fitted on."""

from collections import Counter

import numpy as np
import pytest

from pixelrefer_model.detection import MatchPolicy, NotSelected, load_detector
from pixelrefer_model.detection.proposals import ProposalPolicy, propose, windows
from pixelrefer_model.detection.tiny import Calibration, ReferringDetector
from pixelrefer_model.errors import PixelReferError
from training import words
from training.refer.measure import FIRST_SEED
from training.world import Contract, World

#: The scenes begin here; the figures of docs/accuracy/words.md are of others.
SEED, SCENES = FIRST_SEED + 10_000 * 4321, 6


@pytest.fixture(scope='module')
def scenes() -> list[words.Scene]:
    with World(Contract.load()) as world:
        return list(words.scenes(world, SEED, 'test', SCENES))


@pytest.fixture(scope='module')
def answers(tiny, scenes) -> dict[str, Counter]:
    """How often each answer was given, by the kind of the phrase."""
    outcomes = words.measure(tiny, iter(scenes), 1)
    return {kind: Counter(one for scene in by_scene for one in scene)
            for kind, by_scene in outcomes.answers.items()}


def test_words_that_fit_one_object_select_it_or_ask_back_and_seldom_another_place(answers):
    unique = answers['unique']
    assert unique.total() >= 12
    assert unique['right'] >= 0.4 * unique.total()
    assert unique['wrong'] <= 0.2 * unique['right']


def test_words_that_fit_nothing_are_mostly_answered_so(answers):
    absent = answers['absent'] + answers['near']
    assert absent.total() >= 12
    assert absent['NO_MATCH'] + absent['UNSURE_MATCH'] >= 0.75 * absent.total()


def test_the_same_image_and_words_give_the_same_matches(tiny, scenes):
    image = scenes[0].image
    found = tiny.detect(image, f'the {scenes[0].facts[0].category}')
    assert found and found == tiny.detect(image, f'the {scenes[0].facts[0].category}')
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        one.box.check(image.shape[1], image.shape[0])


def test_words_that_the_model_never_met_are_like_nothing(tiny, scenes):
    for name in ('a dragon', 'the shiny spaceship'):
        with pytest.raises(NotSelected) as caught:
            tiny.policy.choose(name, tiny.detect(scenes[0].image, name))
        assert caught.value.code == 'NO_MATCH'


def test_a_word_more_never_fits_better(tiny, scenes):
    proposals, objects = tiny.look(scenes[0].image)
    assert len(proposals) == len(objects) > 3
    fit = tiny.fit(objects, ['mug', 'red'])
    assert (fit <= 0).all() and fit.shape == (len(objects), 2)
    less = Calibration().score(float(fit[0].sum()), proposals[0].sure)
    assert 0 <= less <= Calibration().score(float(fit[0, 0]), proposals[0].sure) <= 1


def test_proposals_are_distinct_things_of_the_frame_in_order(tiny, scenes):
    policy = ProposalPolicy(most=5)
    found = propose(tiny._network, scenes[0].image, policy)
    assert 1 < len(found) <= 5
    assert [one.sure for one in found] == sorted((one.sure for one in found), reverse=True)
    for n, one in enumerate(found):
        assert one.mask.shape == scenes[0].image.shape[:2] and one.mask.any()
        assert one.mask.sum() <= policy.most_area * one.mask.size
        for other in found[:n]:
            both, either = (one.mask & other.mask).sum(), (one.mask | other.mask).sum()
            assert both < policy.same * either


def test_windows_cover_the_frame_and_overlap():
    made = list(windows(320, 240, 2))
    assert (made[0].x1, made[0].y1, len(made)) == (320, 240, 5)
    covered = np.zeros((240, 320), int)
    for one in made[1:]:
        covered[one.y0:one.y1, one.x0:one.x1] += 1
    assert covered.min() == 1 and covered[120, 160] == 4


def test_an_image_of_nothing_has_no_match(tiny):
    assert tiny.detect(np.zeros((240, 320, 3), np.uint8), 'the red mug') == []


def test_it_is_loaded_by_its_name_with_another_policy():
    detector = load_detector('tiny', least=0.9)
    assert isinstance(detector, ReferringDetector)
    assert detector.policy == MatchPolicy(0.9, 0.4, 0.1)
    with pytest.raises(PixelReferError) as caught:
        load_detector('tiny', device='quantum')
    assert caught.value.code == 'UNSUPPORTED'
