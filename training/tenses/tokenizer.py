# SPDX-License-Identifier: Apache-2.0
"""The vocabulary of the stage of the tenses: words about time are single tokens too."""

import re
from collections.abc import Iterator

from pixelrefer_model.language import Tokenizer
from pixelrefer_model.memory.history import tell_history
from pixelrefer_model.memory.record import EVENTS, Happening
from training.refer.tokenizer import train_tokenizer
from training.tenses.kinds import FIRST, PURPOSES, SECOND
from training.tenses.wording import WORDINGS

#: Entries without the special ones.
ENTRIES = 1024


def corpus() -> Iterator[str]:
    """Questions about time, their answers and what histories say."""
    for kind in WORDINGS.values():
        for wording in kind:
            yield from [re.sub(r'\{\w+\}', '[', wording)] * 6
    for event in EVENTS:
        told = tell_history([Happening('a', event, 0, 12_500_000_000, 'b')], {'a': 0, 'b': 0})
        yield from [re.sub(r'<object:\w>', '<object1><object1>', f' {told[0]}')] * 40
    yield from [FIRST, SECOND, 'At 12.5.', *PURPOSES.values()] * 20


def tense_tokenizer() -> Tokenizer:
    """The tokenizer, the same every time."""
    return train_tokenizer(corpus(), ENTRIES)
