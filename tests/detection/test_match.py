# SPDX-License-Identifier: Apache-2.0
"""Which of several matches is meant: selected, or one of three answers with the candidates."""

import pytest

from pixelrefer_model.detection import Match, MatchPolicy, NotSelected
from pixelrefer_model.detection.match import MOST_CANDIDATES, apart, box_iou
from pixelrefer_model.prompt import Box

POLICY = MatchPolicy(least=0.5, margin=0.2, floor=0.1)


def matches(*scores: float) -> list[Match]:
    return [Match(Box(10.0 * n, 0.0, 10.0 * n + 5, 5.0), score) for n, score in enumerate(scores)]


def refused(*scores: float, policy: MatchPolicy = POLICY) -> NotSelected:
    with pytest.raises(NotSelected) as caught:
        policy.choose('the mug', matches(*scores))
    return caught.value


@pytest.mark.parametrize('scores', [(0.5,), (0.9, 0.7), (0.9, 0.05), (0.6, 0.39)])
def test_the_best_is_selected_where_it_is_good_and_alone(scores):
    assert POLICY.choose('the mug', matches(*scores)).score == scores[0]


@pytest.mark.parametrize('scores', [(), (0.09,), (0.09, 0.05)])
def test_nothing_like_the_words_is_no_match(scores):
    error = refused(*scores)
    assert (error.code, error.candidates) == ('NO_MATCH', [])
    assert "'the mug'" in error.message and 'allowed' in error.message


@pytest.mark.parametrize('scores', [(0.49,), (0.49, 0.48), (0.1,)])
def test_something_like_them_but_not_enough_is_unsure(scores):
    error = refused(*scores)
    assert (error.code, len(error.candidates)) == ('UNSURE_MATCH', len(scores))
    assert '0.50' in error.message


def test_several_as_good_are_several_matches_and_the_message_counts_them():
    error = refused(0.9, 0.8, 0.75, 0.3, 0.05)
    assert error.code == 'SEVERAL_MATCHES' and error.message.startswith('3 things')
    assert [one.score for one in error.candidates] == [0.9, 0.8, 0.75, 0.3]


def test_candidates_are_bounded():
    assert len(refused(*[0.6] * 20).candidates) == MOST_CANDIDATES
    assert len(POLICY.candidates(matches(*[0.6] * 20))) == MOST_CANDIDATES


def test_a_policy_that_means_nothing_is_refused_and_0_leaves_a_value():
    for wrong in ((0.5, 0.0, 0.1), (0.1, 0.2, 0.5), (1.1, 0.2, 0.1), (0.5, 0.2, -0.1)):
        with pytest.raises(ValueError, match='allowed'):
            MatchPolicy(*wrong)
    assert POLICY.changed() == POLICY
    assert POLICY.changed(least=0.05, margin=0.4) == MatchPolicy(0.05, 0.4, 0.05)


def test_one_thing_found_twice_counts_once():
    found = [Match(Box(0, 0, 10, 10), 0.6), Match(Box(1, 0, 10, 10), 0.9),
             Match(Box(20, 0, 30, 10), 0.7)]
    assert [one.score for one in apart(found, 0.7)] == [0.9, 0.7]
    assert box_iou(Box(0, 0, 10, 10), Box(5, 0, 15, 10)) == pytest.approx(1 / 3)
