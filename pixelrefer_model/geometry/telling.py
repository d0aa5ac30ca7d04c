# SPDX-License-Identifier: Apache-2.0
"""What geometry knows of objects, in sentences that a question's prompt can carry.

PixelRefer-Lite is weak on relations (its paper, Table 3); a camera with depth is not.
"""

from collections.abc import Mapping
from itertools import combinations

from pixelrefer_model.geometry.placing import Placed
from pixelrefer_model.geometry.relating import UP, Measured, measure

#: Objects beyond these are not told of: each more adds a sentence for every one before it.
MOST_OBJECTS = 6
_WORDS = {
    'left': 'to the left of it', 'right': 'to the right of it', 'above': 'higher up',
    'below': 'lower down', 'in_front': 'in front of it', 'behind': 'behind it', 'nearer': 'nearer',
    'farther': 'farther away', 'taller': 'taller', 'shorter': 'shorter', 'wider': 'wider',
    'narrower': 'narrower', 'on': 'on top of it'}


def tell(placed: Mapping[str, Placed], up: tuple[float, float, float] = UP) -> list[str]:
    """One sentence for each object and one for each pair of them, with `<object:ID>` for their
    names. placed: by id, of one moment and one frame."""
    first = dict(list(placed.items())[:MOST_OBJECTS])
    return [_size(object_id, one) for object_id, one in first.items()] + [
        _pair(one, other, measure(first[one], first[other], up))
        for one, other in combinations(first, 2)]


def _size(object_id: str, placed: Placed) -> str:
    wide, tall, _ = placed.size
    return f'<object:{object_id}> is about {wide:.2f} m wide and {tall:.2f} m tall.'


def _pair(first: str, second: str, found: Measured) -> str:
    said = ', '.join(_WORDS[relation] for relation in found.relations)
    return (f'<object:{first}> is {found.distance:.2f} m from <object:{second}>'
            f'{": " if said else ""}{said}.')
