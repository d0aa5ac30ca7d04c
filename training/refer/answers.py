# SPDX-License-Identifier: Apache-2.0
"""Canonical answers, and what an answer claims when it is read back."""

import re

from training.refer.facts import (
    AIR, CATEGORIES, COLOURS, COLUMNS, MOTIONS, PATTERNS, ROWS, SIZES, Fact)

YES, NO = 'Yes.', 'No.'
MOTION_ANSWERS = {
    'still': 'Still, it does not move.',
    'left': 'Left, it moves to the left.',
    'right': 'Right, it moves to the right.',
    'closer': 'Closer, it moves closer to the camera.',
    'away': 'Away, it moves away from the camera.',
}
#: How a description of a video says the motion.
DOING = {'still': 'standing still', 'left': 'moving left', 'right': 'moving right',
         'closer': 'moving closer', 'away': 'moving away'}
SIDES = {'left': 'To the left.', 'right': 'To the right.'}
DEPTHS = {'in front of': 'In front.', 'behind': 'Behind.'}
LETTERS = 'ABCD'

_PARTS = {'category': CATEGORIES, 'colour': COLOURS, 'pattern': PATTERNS, 'size': SIZES}


def article(words: str) -> str:
    """`words` with the indefinite article in front."""
    return ('an ' if words[0] in 'aeiou' else 'a ') + words


def plural(category: str) -> str:
    """More than one of a category."""
    return category + ('es' if category == 'box' else 's')


def where(fact: Fact) -> str:
    """The ninth of the image that the object is in, as a phrase."""
    return f'at the {fact.row} {fact.column}'


def resting(fact: Fact, facts: list[Fact]) -> str:
    """What the object is on or in, as a phrase."""
    if fact.held == AIR:
        return AIR
    if fact.support is None:
        return 'on the table'
    return f'{fact.held} {article(facts[fact.support].category)}'


def phrase(fact: Fact) -> str:
    """For example `a red mug`."""
    return article(f'{fact.colour} {fact.category}')


def look(fact: Fact) -> str:
    """For example `A small striped red mug`."""
    return f'A {fact.size} {fact.pattern} {fact.colour} {fact.category}'


def sentence(fact: Fact, video: bool) -> str:
    """The object's look; over a window also what it does, where that is known."""
    doing = f', {DOING[fact.motion]}' if video and fact.motion else ''
    return f'{look(fact)}{doing}.'


def detailed(fact: Fact, facts: list[Fact], video: bool) -> str:
    """Look, support, and the place in the image or, over a window, the motion."""
    last = (f', {DOING[fact.motion]}' if fact.motion else '') if video else (
        f', {where(fact)} of the image')
    return f'{look(fact)} {resting(fact, facts)}{last}.'


def claims(answer: str) -> dict[str, str]:
    """What a description says: category, colour, pattern, size, support, place, motion.

    The support is the words between `on`/`in` and the next comma, so that a support's category is
    not taken for the object's own. A part that is not mentioned is not in the result.
    """
    text = answer.lower().strip()
    found: dict[str, str] = {}
    rest = re.search(r'\b(on|in) (?:the|an|a) (table|air|' + '|'.join(CATEGORIES) + r')\b', text)
    if rest:
        found['support'] = f'{rest[1]} {rest[2]}'
        text = text[:rest.start()] + text[rest.end():]
    place = re.search(rf"\b({'|'.join(ROWS)}) ({'|'.join(COLUMNS)})\b", text)
    if place:
        found['place'] = f'{place[1]} {place[2]}'
        text = text[:place.start()] + text[place.end():]
    for motion, doing in DOING.items():
        if doing in text:
            found['motion'] = motion
            text = text.replace(doing, '')
    words = re.findall(r'[a-z]+', text)
    for part, vocabulary in _PARTS.items():
        named = [word for word in words if word in vocabulary]
        if named:
            found[part] = named[-1] if part == 'category' else named[0]
    return found


def motion_claim(answer: str) -> str | None:
    """The motion that an answer begins with, or None."""
    first = re.match(r'\s*([A-Za-z]+)', answer)
    word = first[1].lower() if first else ''
    return word if word in MOTIONS else None


def truth_claim(answer: str) -> bool | None:
    """Whether an answer says yes or no, or None for neither."""
    first = re.match(r'\s*(yes|no)\b', answer.lower())
    return None if first is None else first[1] == 'yes'


def number_claim(answer: str) -> int | None:
    """The first number in an answer, or None."""
    first = re.search(r'\d+', answer)
    return int(first[0]) if first else None


def letter_claim(answer: str) -> str | None:
    """The option's letter: `(X)`, else `X)`, else the first character."""
    for pattern in (r'\(([A-D])\)', r'\b([A-D])\)', r'^\s*([A-D])'):
        found = re.search(pattern, answer)
        if found:
            return found[1]
    return None


def claim(kind: str, answer: str) -> object:
    """What an answer to a question of `kind` says, comparable between answers; None: nothing."""
    if kind in ('category', 'colour', 'pattern', 'size'):
        return claims(answer).get(kind)
    if kind in ('phrase', 'sentence', 'detailed'):
        return claims(answer) or None
    if kind == 'position':
        return claims(answer).get('place')
    if kind == 'support':
        return claims(answer).get('support')
    if kind == 'relation':
        found = re.search(r'\b(left|right)\b', answer.lower())
        return found and found[1]
    if kind == 'depth':
        found = re.search(r'\b(front|behind)\b', answer.lower())
        return found and found[1]
    if kind in ('count', 'count_colour'):
        return number_claim(answer)
    if kind == 'motion':
        return motion_claim(answer)
    if kind == 'choice':
        return letter_claim(answer)
    return truth_claim(answer)


def right(kind: str, answer: str, expected: str) -> bool:
    """Whether `answer` says the same as the canonical answer `expected`, in every part of it."""
    said = claim(kind, answer)
    return said is not None and said == claim(kind, expected)
