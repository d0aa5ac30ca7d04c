# SPDX-License-Identifier: Apache-2.0
"""Grading: what an answer says, held against what is true. Words count, not their casing; there
are no synonyms, an answer that names two words where one is true is wrong, and so is silence.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CATEGORIES = ('mug', 'bottle', 'can', 'bowl', 'plate', 'book', 'box', 'ball')
COLOURS = ('red', 'green', 'blue', 'yellow', 'orange', 'purple', 'white', 'black')
PATTERNS = ('plain', 'striped', 'checkered')
SIZES = ('small', 'large')
MOTIONS = ('still', 'left', 'right', 'closer', 'away')
SIDES = ('left', 'right')
ROWS = ('upper', 'middle', 'lower')
COLUMNS = ('left', 'centre', 'right')

#: Nearer than this to the line between two thirds of the image, either word is right.
BORDER = 0.04
#: A mask is right from this intersection over union on.
RIGHT_IOU = 0.5
#: Seconds that a time may be off: observations are half a second apart.
NEAR_S = 0.75
#: So much of the answers must be right.
RIGHT_SHARE = 0.8

_SUPPORT = re.compile(rf"\b(on|in) (?:the|an?) (table|{'|'.join(CATEGORIES)})\b")
_PLACE = re.compile(rf"\b({'|'.join(ROWS)}) ({'|'.join(COLUMNS)})\b")


@dataclass(frozen=True)
class Scene:
    """What is true of one object in one frame.

    support: `on the table`, `in a bowl`, as an answer would say it. x, y: centroid of the visible
    mask, as parts of the image's width and height.
    """

    category: str
    colour: str
    pattern: str
    size: str
    support: str
    x: float
    y: float

    @property
    def sentence(self) -> str:
        """The truth in words, as a person would read it."""
        return (f'{self.size} {self.pattern} {self.colour} {self.category} {self.support}, '
                f'{_thirds(self.y, ROWS)[0]} {_thirds(self.x, COLUMNS)[0]}')


@dataclass(frozen=True)
class Verdict:
    """wrong: the parts that the answer has wrong or leaves out; none: the answer is right."""

    wrong: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        return not self.wrong


def words(text: str, vocabulary: Sequence[str]) -> set[str]:
    """The words of `vocabulary` that `text` names, in any casing."""
    return set(re.findall(r'[a-z]+', text.lower())) & set(vocabulary)


def judge_word(answer: str, truth: str, vocabulary: Sequence[str], part: str) -> Verdict:
    """Right when, of the vocabulary, the answer names the true word and no other."""
    return Verdict(() if words(answer, vocabulary) == {truth} else (part,))


def judge_category(answer: str, truth: str) -> Verdict:
    """What is it?"""
    return judge_word(answer, truth, CATEGORIES, 'category')


def judge_side(answer: str, truth: str) -> Verdict:
    """Left or right of another object, as the camera sees them."""
    return judge_word(answer, truth, SIDES, 'side')


def judge_motion(answer: str, truth: str) -> Verdict:
    """Which way does it move, as the camera sees it?"""
    return judge_word(answer, truth, MOTIONS, 'motion')


def judge_time(answer: str, truth: float) -> Verdict:
    """When? Right when the one number that it says is within NEAR_S seconds."""
    said = re.findall(r'\d+(?:\.\d+)?', answer)
    near = len(said) == 1 and abs(float(said[0]) - truth) <= NEAR_S
    return Verdict(() if near else ('time',))


def judge_id(answer: str, truth: str) -> Verdict:
    """Which of the objects is meant?"""
    return Verdict(() if answer == truth else ('object',))


def judge_description(answer: str, truth: Scene) -> Verdict:
    """Size, pattern, colour, category, support and place: each must be named, and be true.

    Looks are read before the support and the place, so that `a red mug on a blue book` has one
    colour and one category of its own.
    """
    text = ' '.join(re.findall(r'[a-z]+', answer.lower()))
    support, place = _SUPPORT.search(text), _PLACE.search(text)
    look = text[:min(found.start() if found else len(text) for found in (support, place))]
    wrong = [
        part for part, vocabulary in (
            ('size', SIZES), ('pattern', PATTERNS), ('colour', COLOURS), ('category', CATEGORIES))
        if words(look, vocabulary) != {getattr(truth, part)}]
    said = f'{support[1]} {support[2]}' if support else ''
    if said != re.sub(r' (the|an?) ', ' ', truth.support):
        wrong.append('support')
    if place is None or place[1] not in _thirds(truth.y, ROWS) or (
            place[2] not in _thirds(truth.x, COLUMNS)):
        wrong.append('place')
    return Verdict(tuple(wrong))


def _thirds(at: float, names: Sequence[str]) -> list[str]:
    """The third that `at` lies in, then its neighbours within BORDER."""
    inside = names[min(int(at * 3), 2)]
    near = [names[min(max(int(edge * 3), 0), 2)] for edge in (at - BORDER, at + BORDER)]
    return [inside, *(name for name in near if name != inside)]


def iou(mask: np.ndarray | None, truth: np.ndarray) -> float:
    """Intersection over union of two bool masks [H, W]; no mask counts as an empty one."""
    if mask is None:
        mask = np.zeros_like(truth)
    union = np.logical_or(mask, truth).sum()
    return float(np.logical_and(mask, truth).sum() / union) if union else 1.0
