# SPDX-License-Identifier: Apache-2.0
"""The ways in which each kind of question about time may be put.

`{a}`, `{b}`, `{c}` become `<object1>`, `<object2>`, `<object3>`, `{now}` the time at which it is
asked, in seconds since the object was first seen. The last two wordings of each kind are never
trained on.
"""

from random import Random
from typing import Literal

from training.refer.paraphrases import vary_surface
from training.refer.questions import Asker

WORDINGS: dict[str, tuple[str, ...]] = {
    # What was.
    'was_side': (
        'At first, was {a} to the left or to the right of {b}?',
        'Was {a} left or right of {b} at first?', 'Which side of {b} was {a} on at first?',
        'When first seen, was {a} to the left or to the right of {b}?',
        'Where was {a} relative to {b} before, left or right?',
        'Before all this, was {a} left or right of {b}?',
        'Was {a} on the left or on the right of {b} when they were first seen?',
        'At first, on which side of {b} was {a}?',
        'On which side of {b} did {a} stand at first?',
        'At the very first, was {a} on the left or on the right of {b}?'),
    'was_on': (
        'What was {a} on at first?', 'At first, what was {a} on or in?',
        'What was {a} standing on before?', 'Where did {a} stand at first, on what?',
        'What was under {a} at first?', 'When first seen, what was {a} on?',
        'What did {a} rest on when it was first seen?', 'Before, what was {a} on?',
        'What was it on at first?', 'On what did {a} stand when it was first seen?',
        'At first, what was under {a}?'),
    'was_held': (
        'Was {a} on or in {b} at first?', 'At first, was {a} on or in {b}?',
        'Did {a} stand on or in {b} at first?', 'Was {a} on {b} before?',
        'Before, was {a} on or in {b}?', 'When first seen, did {b} hold {a}?',
        'Did {b} hold {a} at first?', 'Was {b} under {a} at first?',
        'Was it {b} that {a} was on at first?', 'At first, did {a} rest on or in {b}?'),
    'moved': (
        'Has {a} moved since it was first seen?', 'Was {a} moved?', 'Has {a} been moved?',
        'Is {a} at another place than at first?', 'Did anything move {a}?',
        'Does {a} stand at another place now?', 'Has the place of {a} changed?',
        'Was {a} put at another place?', 'Is {a} at a new place now?',
        'Since it was first seen, has {a} been moved?'),
    'way': (
        'Which way has {a} moved since it was first seen?', 'Which way did {a} go?',
        'Did {a} move, and which way?', 'From where it was first seen, which way did {a} move?',
        'In which direction has {a} been moved?', 'Which way was {a} moved?',
        'How has the place of {a} changed?', 'Where did {a} go?',
        'In which direction did {a} go since it was first seen?', 'Which way has it been moved?'),
    'which_moved': (
        'Which of these two moved, {a} or {b}?', 'Which one was moved, {a} or {b}?',
        'Did {a} move or {b}?', 'Which has moved: {a} or {b}?',
        'Which of the two has been moved, {a} or {b}?', 'One of them moved. Was it {a} or {b}?',
        'Which is at another place now, {a} or {b}?', 'Which object moved, {a} or {b}?',
        'Of {a} and {b}, which one moved?', 'Has {a} been moved, or {b}?'),
    'order': (
        'Which moved first, {a} or {b}?', 'Which was moved first, {a} or {b}?',
        'Both moved. Which one did so first, {a} or {b}?', 'Did {a} move first, or {b}?',
        'Of {a} and {b}, which moved first?', 'Was it {a} or {b} that moved first?',
        'Which of the two moved before the other, {a} or {b}?', 'Which moved before, {a} or {b}?',
        'Was {a} moved first, or was it {b}?', 'Which of these moved first, {a} or {b}?'),
    'how_many_moved': (
        'How many of {a}, {b} and {c} moved?', 'How many of {a}, {b} and {c} have been moved?',
        'Count the ones that moved: {a}, {b}, {c}.', 'Of {a}, {b} and {c}, how many moved?',
        'How many of these moved: {a}, {b}, {c}?', 'How many of {a}, {b}, {c} were moved?',
        'Here are {a}, {b} and {c}. How many of them moved?',
        'Of {a}, {b} and {c}, how many have moved?',
        'What number of {a}, {b} and {c} has moved?',
        'Of {a}, {b} and {c}, how many are at another place now?'),
    'when_moved': (
        'When did {a} move?', 'At which time did {a} move?', 'When was {a} moved?',
        'At what time was {a} moved?', 'When did the place of {a} change?',
        'When did it move, {a}?',
        'Say when {a} moved.', 'Tell me the time when {a} moved.',
        'At what time did {a} begin to move?', 'When was it that {a} moved?'),
    'last_seen': (
        'When was {a} seen last?', 'At which time was {a} last seen?', 'When did you last see {a}?',
        'What is the time of the last sight of {a}?', 'When did you see {a} for the last time?',
        'Say when {a} was last seen.', 'At what time was {a} seen last?',
        'Tell me when {a} was last seen.', 'When was the last time that {a} was seen?',
        'At what time did you last see {a}?'),
    # What is.
    'hidden': (
        'It is {now} now. Is {a} still to be seen?', 'The time is {now}. Can you see {a} now?',
        'At {now}, can {a} be seen?', 'It is {now}. Is {a} in sight now?',
        'Now is {now}. Do you still see {a}?', 'It is {now} now. Can {a} be seen?',
        'The time is {now}. Is {a} to be seen?', 'At {now}, do you see {a}?',
        'It is {now} now. Do you see {a}?', 'The time is {now}. Is {a} still in sight?'),
    'now_side': (
        'Is {a} now to the left or to the right of {b}?', 'Is {a} left or right of {b} now?',
        'Which side of {b} is {a} on now?', 'On which side of {b} is {a} now?',
        'Where is {a} relative to {b} now, left or right?',
        'Now, is {a} on the left or on the right of {b}?',
        'At the moment, is {a} left or right of {b}?',
        'Is {a} at the left or the right of {b} now?', 'On which side of {b} does {a} stand now?',
        'As things are now, is {a} left or right of {b}?'),
    'now_on': (
        'What is {a} on now?', 'What is {a} standing on now?', 'What is under {a} now?',
        'Now, what is {a} on or in?', 'What does {a} rest on now?', 'On what does {a} stand now?',
        'What is it on now?', 'At the moment, what is {a} on?',
        'Where does {a} stand now, on what?', 'As things are now, what is {a} on?',
        'What is now under {a}?'),
    'moving': (
        'Is {a} moving now?', 'Does {a} move now?', 'Is {a} on the move?',
        'Is {a} going anywhere now?',
        'At the moment, does {a} move?', 'Is it moving now?', 'Now, is {a} moving?',
        'Can you see {a} move now?', 'Is {a} moving at the moment?', 'Right now, does {a} move?'),
    'purpose': (
        'What is {a} for?', 'What can {a} be used for?', 'What is {a} used for?',
        'What would you do with {a}?', 'What is the use of {a}?', 'Why would you have {a}?',
        'What do people use {a} for?', 'For what is {a} used?', 'What is the purpose of {a}?',
        'What could I use {a} for?'),
    # What will be.
    'next_way': (
        'Which way will {a} go?', 'Where will {a} go?', 'Which way will {a} move next?',
        'In which direction will {a} go on?', 'What will {a} do next?', 'Where will {a} be next?',
        'Will {a} move, and which way?', 'How will {a} move next?',
        'In which direction will {a} move next?', 'Which way will {a} go on?'),
    'will_touch': (
        'Will {a} touch {b}?', 'Will {a} hit {b}?', 'Is {a} going to touch {b}?',
        'Will {a} and {b} touch?', 'Does {a} move at {b}, so that they will touch?',
        'Will {a} run into {b}?', 'Is {a} on its way to {b}?', 'Will they touch, {a} and {b}?',
        'Is {a} going to hit {b}?', 'Will {a} come to touch {b}?'),
    'will_be_on': (
        'Will {a} be put on {b}?', 'Is {a} going to be on or in {b}?',
        'Will {a} be on or in {b} next?',
        'Is {a} about to be put on {b}?', 'Will {b} hold {a}?', 'Will {a} come to stand on {b}?',
        'Is {b} the place where {a} will be put?', 'Will {a} rest on {b}?',
        'Is {a} going to be put on {b}?', 'Will {a} stand on {b} next?'),
}


def wordings(kind: str, part: Literal['train', 'test', 'all'] = 'all') -> tuple[str, ...]:
    """The wordings of a kind: those trained on, those never trained on, or all."""
    own = WORDINGS[kind]
    return {'train': own[:-2], 'test': own[-2:], 'all': own}[part]


def text_of(kind: str, now: float | None, rng: Random,
            part: Literal['train', 'test', 'all'] = 'train') -> str:
    """A wording of a kind, as it is given to `compose`; its surface varies in training."""
    chosen = Asker.named(rng.choice(wordings(kind, part))).replace('{now}', str(now))
    return vary_surface(chosen, rng) if part == 'train' else chosen
