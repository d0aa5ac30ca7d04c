# SPDX-License-Identifier: Apache-2.0
"""Words that name an object: what is allowed in them."""

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language.chat import SPECIAL_TOKENS

#: Characters; a name of an object is short.
MOST_CHARACTERS = 200
#: Those of the detectors' own tokenizers (BERT's and CLIP's).
_DETECTORS = ('[CLS]', '[SEP]', '[MASK]', '[PAD]', '[UNK]', '<|startoftext|>')


def check_words(words: str) -> str:
    """The words without space around them and with single spaces between them.

    Raises PixelReferError NO_PROMPT where there are none, QUESTION_TOO_LONG, or SPECIAL_TOKEN for
    what has a meaning of its own to a model.
    """
    if len(words) > MOST_CHARACTERS:
        raise PixelReferError(
            'QUESTION_TOO_LONG', f'the text has {len(words)} characters; a name of an object of up '
            f'to {MOST_CHARACTERS} is allowed')
    found = next((token for token in (*SPECIAL_TOKENS, *_DETECTORS)
                  if token.lower() in words.lower()), None)
    if found is not None:
        raise PixelReferError('SPECIAL_TOKEN', f'the text contains {found}, which has a meaning of '
                                               'its own to a model; plain words are allowed')
    if not any(character.isalnum() for character in words):
        raise PixelReferError('NO_PROMPT', f'there is no word in the text {words!r}; words that '
                                           'name an object are allowed')
    return ' '.join(words.split())
