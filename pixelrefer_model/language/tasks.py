# SPDX-License-Identifier: Apache-2.0
"""Named task prompts, word for word as the published models were trained and evaluated."""

from pixelrefer_model.errors import PixelReferError

#: `<region>` stands for the object (odd spellings are the originals'). The first four are the
#: detail levels of a description.
TASKS = {
    'category': 'What is the category of <region>? Using only one word or phrase.',
    'phrase': 'Please describe <region> briefly.',
    'sentence': 'Please describe <region> in brief.',
    'detailed': 'Please describe <region> in detail.',
    'part_category':
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
#: Put behind a multiple-choice question and its options.
CHOICE = "Answer with the option's letter from the given choices directly."


def task_prompt(name: str) -> str:
    """The question of a named task about the first object of a request, for `compose`.

    Raises PixelReferError BAD_DETAIL for an unknown name.
    """
    if name not in TASKS:
        raise PixelReferError('BAD_DETAIL', f'there is no task {name!r}; {", ".join(TASKS)} are '
                                            'allowed')
    return TASKS[name].replace('<region>', '<object1>')


def choice_prompt(question: str, options: list[str]) -> str:
    """A multiple-choice question as one text, as in VideoRefer-Bench-Q."""
    return f'{question} {" ".join(options)}. {CHOICE}'
