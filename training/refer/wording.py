# SPDX-License-Identifier: Apache-2.0
"""The ways in which each kind of question may be put.

`{a}`, `{b}` ... become `<object1>`, `<object2>` ..., `{k}` what is asked for; a wording without any
object leaves it to the prompt to put the objects in front. The last two wordings of each kind are
never trained on.
"""

from typing import Literal

#: Prompts that the published models were evaluated with, by the answer that they want.
PUBLISHED = {
    'category': (
        'What is the category of {a}? Using only one word or phrase.',
        "What is the category of {a}? It maybe a subpart of an object. If it is a subpart, output "
        "in the format of 'category:subcategory', else just output the category."),
    'phrase': ('Please describe {a} briefly.',),
    'sentence': (
        'Please describe {a} in brief.',
        'There is one object in the video: {a}.\nPlease give a description of the highlighted '
        'object in the video. Using only one sentense.',
        'Please describe the object {a} in brief in the video.'),
    'detailed': (
        'Please describe {a} in detail.',
        'Please describe the region {a} in the image in detail. Do not describe anything else.',
        'Please describe the {a} in the image in detail.',
        'Please describe the {a} in the video in detail.',
        'There is one object in the video: {a}.\nPlease describe in detail the marked object in '
        'the video.',
        'Please describe in detail the marked object {a} in the video.'),
}

WORDINGS: dict[str, tuple[str, ...]] = {
    'category': (
        'What is {a}?', 'What is this?', 'What is it?', 'What kind of object is {a}?',
        'Name {a}.', 'What is {a} called?', 'Which category does {a} belong to?',
        'What type of thing is this?', 'What object is {a}?', 'What is this object?',
        'Look at {a}. What is {a}?', 'Tell me what {a} is.', 'Can you name this object?'),
    'colour': (
        'What colour is {a}?', 'What color is {a}?', 'What is the colour of {a}?',
        'What is the color of {a}?', 'What colour is it?', 'What color is it?',
        'What is its colour?', 'Which colour does {a} have?', 'Name the colour of {a}.',
        'Look at {a}. What color is {a}?', 'Which color is this?',
        'Tell me the colour of {a}.', 'What colour does the object have?'),
    'pattern': (
        'What pattern does {a} have?', 'What pattern is on {a}?', 'What is its pattern?',
        'Is {a} plain, striped or checkered?', 'Is it plain, striped or checkered?',
        'What is the pattern of {a}?', 'What does the surface of {a} look like?',
        'Which pattern does it have?', 'What pattern is on this object?',
        'Which pattern is on {a}?', 'Tell me the pattern of {a}.'),
    'size': (
        'How big is {a}?', 'What size is {a}?', 'What is the size of {a}?',
        'Is {a} small or large?', 'Is it small or large?', 'How big is it?', 'What is its size?',
        'Is it a small or a large one?', 'Is {a} big or small?', 'Tell me the size of {a}.'),
    'phrase': (
        'Describe {a} briefly.', 'Describe it briefly.', 'Give a short phrase for {a}.',
        'What is {a}, in a few words?', 'Name {a} with its colour.', 'Describe {a} in a few words.',
        'Please describe this briefly.', 'Name it with its color.',
        'Give a few words for {a}.', 'Please describe it in a few words.'),
    'sentence': (
        'Describe {a}.', 'Describe it.', 'Describe this object.', 'Please describe {a}.',
        'Describe {a} in one sentence.', 'Describe it in brief.', 'What does {a} look like?',
        'Please describe this object in one sentence.',
        'Please describe it.', 'Describe this object in brief.'),
    'detailed': (
        'Describe {a} in detail.', 'Describe it in detail.', 'Please describe it in detail.',
        'Give a detailed description of {a}.', 'Tell me everything about {a}.',
        'Describe this object in detail.', 'What do you see at {a}? Describe it in detail.',
        'Please give a detailed description of this object.',
        'Please describe this object in detail.', 'Give a detailed description.'),
    'position': (
        'Where is {a} in the image?', 'Where in the image is {a}?',
        'In which part of the image is {a}?', 'Where is it in the image?',
        'Where in the picture is {a}?', 'Which part of the image is {a} in?',
        'Where does {a} appear in the image?', 'At which place in the image is {a}?',
        'Where in the image is it?', 'In which part of the picture is {a}?'),
    'support': (
        'What is {a} on?', 'What is {a} standing on?', 'What is it on?', 'What is under {a}?',
        'What does {a} rest on?', 'What is {a} on or in?', 'What is it resting on?',
        'Is {a} on the table or on something else?', 'What supports {a}?',
        'What is {a} resting on?', 'What does it stand on?'),
    'relation': (
        'Is {a} to the left or to the right of {b}?', 'Where is {a} relative to {b}?',
        'Which side of {b} is {a} on?', 'On which side of {b} is {a}?',
        'Is {a} left or right of {b}?', 'Is the first object to the left or right of the second?',
        'Where is the first object relative to the second?', 'What is the position of {a} '
        'relative to {b}?', 'What is the spatial relation between {a} and {b}?',
        'How is {a} placed relative to {b}?', 'Is {a} on the left or on the right of {b}?'),
    'depth': (
        'Is {a} in front of or behind {b}?', 'Is {a} behind or in front of {b}?',
        'Is {a} closer to the camera or farther away than {b}?',
        'Is {a} nearer or farther than {b}?',
        'Is the first object in front of or behind the second?',
        'Seen from the camera, is {a} in front of {b} or behind it?',
        'Is {a} nearer to us than {b} or farther away?',
        'Does {a} stand in front of {b} or behind it?', 'Is {a} in front of {b} or behind?',
        'Is {a} nearer to the camera than {b} or farther?'),
    'is_left': (
        'Is {a} to the left of {b}?', 'Is {a} left of {b}?', 'Is {a} on the left of {b}?',
        'Is the first object to the left of the second?', 'Does {a} stand to the left of {b}?',
        'Is {b} to the right of {a}?', 'Is it true that {a} is to the left of {b}?',
        'Is {a} on the left side of {b}?', 'Does {a} lie to the left of {b}?',
        'Can you say that {a} is left of {b}?'),
    'is_right': (
        'Is {a} to the right of {b}?', 'Is {a} right of {b}?', 'Is {a} on the right of {b}?',
        'Is the first object to the right of the second?', 'Does {a} stand to the right of {b}?',
        'Is {b} to the left of {a}?', 'Is it true that {a} is to the right of {b}?',
        'Is {a} on the right side of {b}?', 'Does {a} lie to the right of {b}?',
        'Can you say that {a} is right of {b}?'),
    'is_in_front': (
        'Is {a} in front of {b}?', 'Is {a} closer to the camera than {b}?',
        'Is {a} nearer than {b}?', 'Is the first object in front of the second?',
        'Does {a} stand in front of {b}?', 'Is it true that {a} is in front of {b}?',
        'Is {b} behind {a}?', 'Is {a} closer than {b}?', 'Is {a} nearer to the camera than {b}?',
        'Does {a} lie in front of {b}?'),
    'is_behind': (
        'Is {a} behind {b}?', 'Is {a} farther from the camera than {b}?',
        'Is {a} farther than {b}?', 'Is the first object behind the second?',
        'Does {a} stand behind {b}?', 'Is it true that {a} is behind {b}?',
        'Is {b} in front of {a}?', 'Is {b} closer than {a}?', 'Is {a} farther away than {b}?',
        'Does {a} lie behind {b}?'),
    'same_colour': (
        'Are {a} and {b} the same colour?', 'Are {a} and {b} the same color?',
        'Do {a} and {b} have the same colour?', 'Do they have the same color?',
        'Is {a} the same colour as {b}?', 'Are they the same colour?',
        'Do the two objects have the same colour?', 'Does {a} have the same color as {b}?',
        'Are these two the same colour?', 'Is {a} of the same colour as {b}?',
        'Do these objects have the same colour?'),
    'same_category': (
        'Are {a} and {b} the same kind of object?', 'Are they the same kind of object?',
        'Is {a} the same kind of object as {b}?', 'Are {a} and {b} of the same category?',
        'Do {a} and {b} belong to the same category?', 'Are both the same kind of thing?',
        'Do they belong to the same kind?', 'Is {b} the same kind of thing as {a}?',
        'Are these two the same kind of object?', 'Are they of the same category?'),
    'held': (
        'Is {a} on {b}?', 'Is {a} on or in {b}?', 'Does {a} stand on {b}?',
        'Is {a} resting on {b}?', 'Is the first object on the second?', 'Is {b} under {a}?',
        'Is {a} on top of {b}?', 'Is {a} placed on {b}?', 'Does {a} rest on {b}?',
        'Is {a} standing on {b}?'),
    'held_in': (
        'Is {a} in {b}?', 'Is {a} inside {b}?', 'Does {b} hold {a}?',
        'Is the first object in the second?', 'Is {a} placed in {b}?', 'Does {b} contain {a}?',
        'Is it true that {a} is in {b}?', 'Does {a} sit inside {b}?', 'Is {a} lying in {b}?',
        'Does {a} lie in {b}?'),
    'count': (
        'How many of these are {k}?', 'How many of them are {k}?', 'How many {k} are there?',
        'Count the {k}.', 'How many {k} are among these?', 'How many of the objects are {k}?',
        'What is the number of {k}?', 'Of these, how many are {k}?', 'How many {k} do you see?',
        'How many {k} are here?'),
    'count_colour': (
        'How many of these are {k}?', 'How many of them are {k}?', 'How many are {k}?',
        'How many of the objects are {k}?', 'How many {k} objects are there?',
        'Of these, how many are {k}?', 'Count the {k} ones.',
        'How many {k} ones are among these?', 'How many {k} things are there?',
        'How many of these objects are {k}?'),
    'motion': (
        'Is {a} moving, and which way?', 'Which way does {a} move?', 'Did {a} move?',
        'How does {a} move?', 'What does {a} do?', 'Is {a} moving or still?', 'Is it moving?',
        'Which way is it moving?', 'Has {a} moved?', 'Does {a} move?', 'What happened to {a}?',
        'In which direction does {a} move?', 'Is {a} still, or does it move?',
        'Is {a} moving?', 'How did it move?', 'Which way did {a} move?',
        'In which direction is {a} moving?', 'Is it still or moving?'),
    'is_category': (
        'Is {a} {k}?', 'Is this {k}?', 'Is it {k}?', 'Is the object {k}?', 'Is {a} really {k}?',
        'Can {a} be called {k}?', 'Is it true that {a} is {k}?', 'Is that {k}?',
        'Is this object {k}?', 'Would you say {a} is {k}?'),
    'is_colour': (
        'Is {a} {k}?', 'Is this {k}?', 'Is it {k}?', 'Is the object {k}?', 'Does {a} look {k}?',
        'Is the colour of {a} {k}?', 'Is it true that {a} is {k}?', 'Is that {k}?',
        'Is this object {k}?', 'Would you call {a} {k}?'),
    'is_pattern': (
        'Is {a} {k}?', 'Is this {k}?', 'Is it {k}?', 'Is the object {k}?', 'Does {a} look {k}?',
        'Is the pattern of {a} {k}?', 'Is it true that {a} is {k}?', 'Is that {k}?',
        'Is this object {k}?', 'Would you call {a} {k}?'),
}

#: Lead-ins that a wording with inline objects may follow; the demos of the published models
#: introduce their regions so.
PREFIXES = {
    1: ('There is 1 region in the image: {a}. ', 'There is one object in the image: {a}. ',
        'Look at {a}. '),
    2: ('There are 2 regions in the image: {a}, {b}. ',
        'There are two objects in the image: {a} and {b}. '),
}


def wordings(kind: str, part: Literal['train', 'test', 'all'] = 'all') -> tuple[str, ...]:
    """The wordings of a kind: those trained on, those never trained on, or all.

    The published prompts of the kind count as trained on.
    """
    own = WORDINGS[kind]
    trained = own[:-2] + PUBLISHED.get(kind, ())
    return {'train': trained, 'test': own[-2:], 'all': own + PUBLISHED.get(kind, ())}[part]
