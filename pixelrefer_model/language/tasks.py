# SPDX-License-Identifier: Apache-2.0
"""Named task prompts, word for word as the published models were trained and evaluated.

`<region>` stands for an object; odd spellings are the originals'. PixelRefer-Lite and PixelRefer
were asked the same, but for the prompts in FULL.
"""

from collections.abc import Sequence

from pixelrefer_model.errors import PixelReferError

#: Descriptions of one object. The first four are the detail levels of `describe`.
TASKS = {
    'category': 'What is the category of <region>? Using only one word or phrase.',
    'phrase': 'Please describe <region> briefly.',
    'sentence': 'Please describe <region> in brief.',
    'detailed': 'Please describe <region> in detail.',
    'part':
        'What is the category of <region>? It maybe a subpart of an object. If it is a subpart, '
        "output in the format of 'category:subcategory', else just output the category.",
    'detailed_only':
        'Please describe the region <region> in the image in detail. Do not describe anything '
        'else.',
    'video_sentence':
        'There is one object in the video: <region>.\nPlease give a description of the '
        'highlighted object in the video. Using only one sentense.',
    'video_detailed':
        'There is one object in the video: <region>.\nPlease describe in detail the marked object '
        'in the video.',
}
#: What PixelRefer was asked instead.
FULL = {
    'video_sentence': 'Please describe the object <region> in brief in the video.',
    'video_detailed': 'Please describe in detail the marked object <region> in the video.',
}
#: How PixelRefer was shown; no benchmark.
SHOWN = {
    'shown_image': 'Please describe the <region> in the image in detail.',
    'shown_video': 'Please describe the <region> in the video in detail.',
}
#: Every description there is.
DESCRIPTIONS = {**TASKS, **SHOWN}
#: Put behind a multiple-choice question and its options.
CHOICE = "Answer with the option's letter from the given choices directly."
#: Ways in which a question was put: see `question_prompt`.
QUESTIONS = ('plain', 'reason', 'regions', 'choice', 'best_choice')


def task_prompt(name: str, full: bool = False) -> str:
    """The question of a named task about the first object of a request, for `compose`.

    full: as PixelRefer was asked, not PixelRefer-Lite. Raises PixelReferError BAD_DETAIL for an
    unknown name.
    """
    if name not in DESCRIPTIONS:
        raise PixelReferError('BAD_DETAIL', f'there is no task {name!r}; {", ".join(DESCRIPTIONS)} '
                                            'are allowed')
    text = FULL.get(name, DESCRIPTIONS[name]) if full else DESCRIPTIONS[name]
    return text.replace('<region>', '<object1>')


def question_prompt(name: str, question: str, objects: int = 1,
                    options: Sequence[str] = ()) -> str:
    """A question about the `objects` of a request as a benchmark put it, for `compose`.

    plain: as it stands. reason: behind the one region (Ferret). regions: behind a list of them
    (the demonstrations). choice: with `options` (VideoRefer-Bench-Q); best_choice: likewise, about
    no object of its own (MVBench). Raises PixelReferError BAD_DETAIL for an unknown name, or where
    options are missing or too many for it.
    """
    if name not in QUESTIONS:
        raise PixelReferError('BAD_DETAIL', f'there is no task {name!r} for a question; '
                                            f'{", ".join(QUESTIONS)} are allowed')
    if bool(options) != (name in ('choice', 'best_choice')):
        raise PixelReferError('BAD_DETAIL', f'{len(options)} options with the task {name!r}; they '
                              'are allowed, and needed, with choice and best_choice')
    if name == 'choice':
        return choice_prompt(question, options)
    if name == 'best_choice':
        listed = '\n'.join(options)
        return (f'Question: {question}\nOptions:\n{listed}\n'
                f'{CHOICE.removesuffix(".")} and only give the best option.')
    if name == 'regions' and objects > 1:
        listed = ', '.join(f'<region{n}><object{n + 1}>' for n in range(objects))
        return f'There are {objects} region in the image: {listed}. {question}'
    if name == 'regions':
        return f'There is 1 region in the image: <region0> <object1>. {question}'
    if name == 'reason':
        return f'There is 1 region in the image: <object1> {question}'
    return question


def choice_prompt(question: str, options: Sequence[str]) -> str:
    """A multiple-choice question as one text, as in VideoRefer-Bench-Q."""
    return f'{question} {" ".join(options)}. {CHOICE}'
