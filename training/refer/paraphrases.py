# SPDX-License-Identifier: Apache-2.0
"""Many more ways of putting each kind of question, for training only.

A model that has met a kind in a dozen wordings answers a new one by the words it shares with
another kind ("on the left or on the right" by "on the table"). So each kind is trained in hundreds
of wordings, from patterns with alternatives, and their surface is varied. The wordings that
measure it (`wordings`) are not among them.
"""

import re
from functools import cache
from itertools import product
from random import Random

from training.refer.wording import WORDINGS, wordings

#: `[x|y|]` stands for each of its alternatives; `{a}`, `{b}`, `{k}` as in `WORDINGS`.
PATTERNS: dict[str, tuple[str, ...]] = {
    'category': (
        '[What|Which] [object|thing|kind of thing|sort of object|item] is [{a}|it|that|this one]?',
        'What [do|would] you call [{a}|it|this|this thing]?', "What's [{a}|this|that|it]?",
        '[Name|Identify] [it|this|this object|the object {a}].', 'What [am I|are we] looking at?',
        '[What|Which] [category|class] [is|has] [{a}|it|this object]?',
        'What [can you see|do you see] at {a}?', 'What [might|could] [{a}|it|this] be?',
        'What is the [name|class|category|type] of [{a}|this object|the object|it]?',
        'What does {a} show?', 'Tell me what [it|this] is.', 'Say what [{a}|it] is.'),
    'colour': (
        '[What|Which] [colour|color] [is|has] [{a}|this|this object|the object|that]?',
        'What is the [colour|color] of [it|this|this object|the object]?',
        '[Name|Give|Say] [its colour|the color of {a}|the color|the colour of it].',
        'What [colour|color] [would you say|do you think] [{a}|it] is?',
        'Of [what|which] [colour|color] is [{a}|it]?', 'How is [{a}|it] coloured?',
        '[What|Which] [colour|color] [does it have|do you see at {a}|does {a} have]?',
        'Tell me [its color|the color of {a}|what color {a} is].',
        'Tell me the [colour|color] [that {a} has|which {a} has|it has|you see at {a}|this has].',
        'Tell me [which|what] [colour|color] [{a}|it|this] has.'),
    'pattern': (
        '[What|Which] pattern [is on|do you see on|has] [it|{a}|this|the object]?',
        '[Is {a}|Is it|Is this object] striped, checkered or plain?',
        '[Does {a}|Does it] have stripes, checks or neither?', 'How is [{a}|it] patterned?',
        '[Say|Name|Give] [the pattern of {a}|its pattern|the pattern].',
        'What is the [surface|texture] of [{a}|it|the object] like?',
        'What does [its surface|the surface of it] look like?', 'What pattern do you see?',
        'What [sort|kind] of pattern [does {a} have|does it have|is on {a}]?',
        'Tell me [its pattern|which pattern {a} has|what pattern is on {a}].'),
    'size': (
        '[What|Which] size [does {a} have|has {a}|is it|is this object|does it have]?',
        '[Is {a}|Is it|Is this|Is the object] [large or small|big or small|a big one or a small '
        'one]?',
        '[Say|Name|Give] [the size of {a}|its size].', 'How [large|big|small] is [{a}|it|this]?',
        'Would you call [{a}|it] [large or small|small or large]?',
        'Tell me [its size|how big {a} is|how large it is].'),
    'phrase': (
        '[Give|Say|Write] a [few words|short phrase|short name] for [it|this|this object].',
        '[Describe|Name] [it|this|this object|{a}] [in a few words|shortly|in short|with its '
        'colour|in two or three words].',
        'What is [it|this], in a few words?',
        '[In short|Briefly|In a few words], what is [{a}|it]?',
        'Please [name|describe] [{a}|it|this] [in short|shortly].'),
    'sentence': (
        '[Describe|Please describe] [{a}|it|this|the object] in [one|a|a single] sentence.',
        'What does [it|this|this object|the object] look like?', 'How does [{a}|it] look?',
        '[Say|Tell me] what [{a}|it|this] looks like.', 'Give a [short description|sentence] '
        '[of|about] [{a}|it|this object].', 'Can you describe [{a}|it|this object]?',
        'One sentence about [{a}|it], please.'),
    'detailed': (
        '[Describe|Please describe] [{a}|this|the object] [fully|in full detail|with every '
        'detail|as fully as you can].',
        'Give [a full|a long|a complete] description of [{a}|it|this object].',
        'Tell me [everything|all] [you see of {a}|you can about it|about this object].',
        'What can you say about [{a}|it]? [Be detailed|Describe it in detail].',
        '[Describe|Explain] in detail what you see at {a}.',
        'Can you describe [{a}|it|this object] in detail?'),
    'position': (
        '[Where|In which part|In what part] of the [image|picture|frame] is [{a}|it|this|the '
        'object]?',
        'Where [do you see {a}|can {a} be seen|is it to be seen] in the [image|picture|frame]?',
        '[Say|Tell me] where in the [image|picture] [{a}|it] is.',
        '[What|Which] part of the [image|picture] [does {a} lie in|is it in|has it]?',
        'At which place in the [image|picture] is [{a}|it]?'),
    'support': (
        '[What|Which thing] is [it|this|this object|the object] [on|standing on|lying on|placed '
        'on|on or in]?',
        'What is {a} [lying on|placed on|sitting on|put on]?',
        'What is [right under|directly under] [{a}|it]?',
        'What does [it|this object] [rest on|lie on|sit on]?', 'What [holds|carries] [{a}|it]?',
        'On what [is {a}|is it|does {a} stand|does it rest]?', 'What is [under it|it resting on]?',
        '[Is it|Is this] on the table or on something else?',
        '[Say|Tell me] what [{a}|it] is [on|standing on].'),
    'relation': (
        'Does {a} [lie|stand] [left or right|to the right or to the left|to the left or the '
        'right] of {b}?',
        '[Left or right|Right or left]: on which side of {b} is {a}?',
        'Is {a} [right or left of|on the left side or the right side of|on the right or on the '
        'left side of] {b}?',
        '[On|To] which side [of {b} does {a} lie|of {b} do you see {a}|of it, {b}, is {a}]?',
        'Compared to {b}, is {a} [to the left or the right|left or right]?',
        'Does the first object [stand|lie] left or right of the [second|other] one?',
        '[Where|On which side] [do you see|is] {a}, [compared to|relative to] {b}?',
        'Say on which side of {b} {a} is.', 'Which side of {b} [does {a} stand on|has {a}]?',
        'Tell me whether {a} is to the [left or to the right|right or to the left] of {b}.',
        'Where does {a} [stand|lie] relative to {b}?',
        '[What|Which] side of the second object is the first on?'),
    'depth': (
        'Is {a} [before or behind|nearer or further than|closer or farther than|nearer or farther '
        'away than] {b}?',
        'Does {a} [stand|lie] in front of {b} or behind [it|{b}]?',
        'Is the first object [nearer or farther than|behind or in front of] the second?',
        '[Seen from|Looking from] the camera, is {a} [behind {b} or in front of it|in front of or '
        'behind {b}|nearer or farther than {b}]?',
        'Tell me whether {a} is [in front of {b} or behind|behind {b} or in front of] it.',
        'Is {a} [farther from the camera than {b} or closer|closer to the camera than {b} or '
        'farther]?',
        'In front or behind: where is {a} compared to {b}?'),
    'is_left': (
        'Does {a} [stand|lie] [left|to the left|on the left] of {b}?',
        'Do you see {a} left of {b}?',
        'Is it [true|right] that {a} is [left|to the left] of {b}?',
        'Is {a} [further left than|on the left side of|more to the left than] {b}?',
        'Is the first object [left|on the left] of the second [one|object]?',
        'Is {b} to the right of {a}?'),
    'is_right': (
        'Does {a} [stand|lie] [right|to the right|on the right] of {b}?',
        'Do you see {a} right of {b}?', 'Is it true that {a} is [right|to the right] of {b}?',
        'Is {a} [further right than|on the right side of|more to the right than] {b}?',
        'Is the first object [right|on the right] of the second [one|object]?',
        'Is {b} to the left of {a}?'),
    'is_in_front': (
        'Does {a} stand [in front of|nearer than|before] {b}?', 'Is it true that {a} is in front '
        'of {b}?', 'Is {a} [closer|nearer] [to us |]than {b}?', 'Is {b} [behind|farther than] {a}?',
        'Is the first object [nearer than|closer than] the second?'),
    'is_behind': (
        'Does {a} stand [behind|farther away than] {b}?', 'Is it true that {a} is behind {b}?',
        'Is {a} [further away|farther off|further] than {b}?', 'Is {b} [in front of|nearer than] '
        '{a}?', 'Is the first object [farther than|farther away than] the second?'),
    'same_colour': (
        'Are [{a} and {b}|the first and the second object] [of the same colour|of one colour|the '
        'same in colour|equal in colour]?',
        'Do [they|these|the two|these two objects|both] have the same [colour|color]?',
        'Are [these|these two|both|the two objects] [of the same|the same] [colour|color]?',
        'Is the [colour|color] of {a} [the same as that|the same as the color] of {b}?',
        'Does {a} [match {b} in colour|share its colour with {b}]?',
        'Have {a} and {b} got the same [colour|color]?',
        'Is {b} the same [colour|color] as {a}?'),
    'same_category': (
        'Are [{a} and {b}|these two|the two objects|both] [of the same kind|of one kind|the '
        'same type of object|of the same class]?',
        'Is {b} the same kind of [thing|object] as {a}?',
        'Do they belong to the same [kind|class]?',
        'Are they [both|] the same [type|sort|kind] of [thing|object]?',
        'Is {a} of the same [kind|category|type] as {b}?'),
    'held': (
        'Is {a} [lying on|placed on|sitting on|put on|carried by|supported by] {b}?',
        'Does {b} [carry|support|hold up] {a}?', 'Is {b} right under {a}?',
        'Is the first object [on top of|standing on|resting on] the second?',
        'Is it true that {a} is on {b}?', 'Does {a} [lie|sit] on [top of |]{b}?'),
    'held_in': (
        'Is {a} [put in|placed in|within|resting in] {b}?', 'Is it true that {a} is in {b}?',
        'Is the first object inside the second?', 'Does {b} [contain {a}|have {a} in it|carry '
        '{a} inside]?', 'Does {a} [sit|stand] [in|inside] {b}?', 'Is {b} holding {a} inside?'),
    'count': (
        'How many [of these objects|of the things|of those] are {k}?', 'How many {k} [are '
        'given|are in this group|do we have here]?', 'What number of {k} is among '
        'these?', '[Say|Tell me] how many {k} there are.', 'Count [all|] {k} [among '
        'these|here].', '[Give|Name] the number of {k}.', 'How many among these are {k}?',
        '[Of these|Among these|Of the given objects], how many are {k}?'),
    'count_colour': (
        'How many [of these things|of those|among these|of the things] are {k}?',
        'How many [of these|of them] have the colour {k}?', 'Count the {k} [ones|objects|things].',
        'What is the number of {k} [ones|objects|things]?',
        'How many {k} ones [are there|are among these]?', 'Tell me how many are {k}.',
        '[Of these|Among these|Of the given objects], how many are {k}?'),
    'motion': (
        '[In what direction|In which direction|Which direction|What direction] [does it go|is it '
        'going|did {a} go|did it move|has {a} moved|was {a} moving]?',
        '[Where|Which way] [is {a} going|does {a} go|did {a} go|has it moved|is it headed|is {a} '
        'headed|was it moving]?',
        '[Is|Was] [it|this object|the object] [moving|moved|in motion]?',
        '[Is|Was] {a} [in motion|moved|going anywhere|being moved|moving at all|at rest]?',
        '[Does|Did] [it|{a}|this object] [stay still|stand still|change its place|stay in place|go '
        'anywhere]?',
        '[Did|Does] [it|the object] move?', 'Has [it|the object] moved?',
        'What [is {a} doing|did {a} do|is it doing|does it do|happens to {a}|happened to it]?',
        'How [is {a} moving|did {a} move|does it move|has {a} moved]?',
        'Is [{a}|it|this object] [standing still or moving|moving or standing still|moving or at '
        'rest|at rest or moving]?',
        '[Describe|Name|Say] [the motion of {a}|its motion|how it moves|which way {a} moves].',
        'What is the [direction of|motion of] {a}?', 'If {a} moves, which way?',
        'Tell me [which way {a} moves|how {a} moves|whether {a} moves].'),
    'is_category': (
        'Is [{a}|it|this|this object|that] {k}?', 'Is it true that {a} is {k}?',
        'Would you call [{a}|it|this] {k}?', 'Do you see {k} at {a}?', 'Could {a} be {k}?',
        'Is the object {a} {k}?', 'Does {a} show {k}?'),
    'is_colour': (
        'Is [{a}|it|this|this object|that] {k}?', 'Is it true that {a} is {k}?',
        'Would you say that {a} is {k}?', 'Is {k} the [colour|color] of {a}?',
        'Does [{a}|it] have the colour {k}?', 'Is its [colour|color] {k}?'),
    'is_pattern': (
        'Is [{a}|it|this|this object|that] {k}?', 'Is it true that {a} is {k}?',
        'Would you say that {a} is {k}?', 'Is its [pattern|surface] {k}?'),
}

_CHOICE = re.compile(r'\[([^\]]*)\]')
#: Ways to open a question; what follows starts with a small letter.
OPENINGS = ('Tell me: ', 'Please tell me, ', 'Can you tell me: ', 'Please say: ', 'Now, ', 'So ',
             'I want to know: ', 'Quick question: ', 'Hi, ', 'Robot, ')


def expand(pattern: str) -> list[str]:
    """Every wording that a pattern stands for."""
    pieces = _CHOICE.split(pattern)
    options = [piece.split('|') if n % 2 else [piece] for n, piece in enumerate(pieces)]
    return [re.sub(' +', ' ', ''.join(chosen)) for chosen in product(*options)]


@cache
def paraphrases(kind: str) -> tuple[tuple[str, ...], ...]:
    """The wordings of a kind, one group per pattern, without any that is a word or less away from
    one that is kept for measuring, of whatever kind."""
    kept = _kept()
    groups = [[w for w in expand(pattern) if not any(
        neighbours(plainly(w).split(), other) for other in kept)] for pattern in PATTERNS[kind]]
    return tuple(tuple(group) for group in groups if group)


@cache
def _kept() -> tuple[list[str], ...]:
    return tuple(plainly(w).split() for kind in WORDINGS for w in wordings(kind, 'test'))


def plainly(text: str) -> str:
    """A question without what `vary_surface` may change and in one spelling, to tell whether two
    are the same."""
    return text.lower().rstrip('?.').replace('color', 'colour')


def neighbours(one: list[str], other: list[str]) -> bool:
    """Whether two lists of words are the same but for one word changed, missing or added."""
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) > 1:
        return False
    same = next((n for n, (a, b) in enumerate(zip(one, other)) if a != b), len(one))
    return one[same + (len(one) == len(other)):] == other[same + 1:]


def vary_surface(text: str, rng: Random) -> str:
    """The same question as people type it: opened politely, in small letters, without its mark."""
    if rng.random() < 0.12 and '\n' not in text and text[0].isascii() and text[0] != '<':
        text = rng.choice(OPENINGS) + text[0].lower() + text[1:]
    if rng.random() < 0.1:
        text = text[0].lower() + text[1:]
    if rng.random() < 0.1:
        text = text.rstrip('?.')
    return text
