# SPDX-License-Identifier: Apache-2.0
"""Whether an answer to a question about time is right."""

from training.refer import answers

#: Kinds whose answers are read as those of kinds without a time.
LIKE = {'was_on': 'support', 'now_on': 'support', 'was_side': 'relation', 'now_side': 'relation',
        'way': 'motion', 'next_way': 'motion', 'how_many_moved': 'count'}
#: Seconds by which an answered time may be off: the event is told once the object is 4 cm away,
#: and keyframes are half a second apart.
OFF = {'when_moved': 2.0, 'last_seen': 0.75}


def right(kind: str, said: str, expected: str) -> bool:
    """Whether an answer says the same as the true one; a time may be a little off."""
    claimed = _claim(kind, said)
    wanted = _claim(kind, expected)
    if kind in OFF:
        return claimed is not None and abs(claimed - wanted) <= OFF[kind]
    return claimed is not None and claimed == wanted


def _claim(kind: str, text: str) -> object:
    low = text.lower()
    if kind in OFF:
        digits = ''.join(c if c in '0123456789.' else ' ' for c in low).split()
        try:
            return float(digits[0].strip('.'))
        except (IndexError, ValueError):
            return None
    if kind == 'purpose':
        return low.strip(' .') or None
    if kind in ('which_moved', 'order'):
        return next((word for word in ('first', 'second') if word in low), None)
    return answers.claim(LIKE.get(kind, kind), text)
