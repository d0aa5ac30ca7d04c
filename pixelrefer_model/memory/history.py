# SPDX-License-Identifier: Apache-2.0
"""The text history of objects: what happened to them, in sentences that a prompt can carry.

PixelRefer-Lite is weak on order and relations in time (its paper, Table 3), and a keyframe shows
that something has changed, not when. Training and inference write these sentences here, so that
they cannot differ.
"""

from collections.abc import Mapping, Sequence

from pixelrefer_model.memory.observation import Whereabouts
from pixelrefer_model.memory.record import Happening

#: Sentences of one prompt, the newest: each takes about fifteen tokens.
MOST_SENTENCES = 8
_SAID = {
    'appeared': '{one} was first seen', 'occluded': '{one} was hidden', 'back': '{one} was seen '
    'again', 'lost': '{one} was lost', 'moved': '{one} moved', 'at_rest': '{one} stands still',
    'touched': '{one} was at {other}'}


def tell_history(happenings: Sequence[Happening], origins: Mapping[str, int], *,
                 most: int = MOST_SENTENCES,
                 where: Mapping[Happening, Whereabouts] | None = None) -> list[str]:
    """A sentence for each of the newest `most` events, oldest first, with `<object:ID>` for names.

    origins: by id, the objects that a question is about, and the stamp of each one's first
    sighting, from which its times count, in seconds as `[Time t:...]` writes them: all of one line
    of time. What happened to other objects, or with them, is left out: a prompt has no names for
    these. where: places of events, as far as they are known.
    """
    own = [one for one in happenings
           if one.object_id in origins and (not one.other or one.other in origins)]
    told = sorted(own, key=lambda one: one.stamp_ns)
    return [_sentence(one, origins, (where or {}).get(one))
            for one in told[len(told) - min(most, len(told)):]]


def _sentence(one: Happening, origins: Mapping[str, int], place: Whereabouts | None) -> str:
    said = _SAID[one.kind].format(one=f'<object:{one.object_id}>', other=f'<object:{one.other}>')
    seconds = round((one.stamp_ns - origins[one.object_id]) / 1e9, 1)
    at = '' if place is None else ' at ({:.2f}, {:.2f}, {:.2f}) m in {}'.format(
        *place.position, place.frame)
    return f'{said}{at} at {seconds}.'
