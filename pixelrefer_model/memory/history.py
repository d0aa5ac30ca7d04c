# SPDX-License-Identifier: Apache-2.0
"""The text history of objects: what happened to them, in sentences that a prompt can carry.

PixelRefer-Lite is weak on order and relations in time (its paper, Table 3), and a keyframe shows
that something has changed, not when. Training and inference write these sentences here, so that
they cannot differ.
"""

from collections.abc import Mapping, Sequence

from pixelrefer_model.memory.columns import whereabouts
from pixelrefer_model.memory.observation import Whereabouts
from pixelrefer_model.memory.record import Happening
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.window import Span

#: Events of one prompt, of about fifteen tokens each; of each object one sentence more at most.
MOST_SENTENCES = 8
#: Observations among which one has to place an object, or nobody could tell whether it moved.
RECENT = 8
#: An observation that was made so much later at most shows where an event was.
SHOWN_NS = 1_000_000_000
_EVENT = 'SELECT object, kind, epoch, stamp_ns, other, text FROM events WHERE '
_SAID = {
    'appeared': '{one} was first seen', 'occluded': '{one} was hidden', 'back': '{one} was seen '
    'again', 'lost': '{one} was lost', 'moved': '{one} moved', 'at_rest': '{one} stands still',
    'touched': '{one} was at {other}'}
#: Said of an object whose motion nobody could tell: without it no news would be read as no motion.
UNKNOWN = '<object:{}> may have moved.'


def history_of(store: MemoryStore, object_ids: Sequence[str], span: Span,
               unplaced: Sequence[str] = ()) -> list[str]:
    """What happened to objects within a span of a store's newest line of time, see `tell_history`;
    places as far as an observation that was made within SHOWN_NS after an event knows them."""
    marks, within = ', '.join('?' * len(object_ids)), (store.line, span.start_ns, span.end_ns)
    rows = store.query(
        f"{_EVENT} object IN ({marks}) AND (other = '' OR other IN ({marks})) AND line = ? "
        'AND stamp_ns BETWEEN ? AND ? ORDER BY stamp_ns DESC, number DESC LIMIT ?',
        (*object_ids, *object_ids, *within, MOST_SENTENCES))
    for object_id in object_ids:
        rows += store.query(
            f"{_EVENT} object = ? AND line = ? AND stamp_ns BETWEEN ? AND ? AND kind = 'moved' "
            'ORDER BY stamp_ns, number LIMIT 1', (object_id, *within))
    happened = [Happening(*row) for row in reversed(dict.fromkeys(rows))]
    origins = {object_id: first for object_id in object_ids
               if (first := store.first_ns(object_id, store.line)) is not None}
    return tell_history(happened, origins, unplaced=unplaced, where={
        one: place for one in happened if (place := _place(store, one)) is not None})


def placed(store: MemoryStore, object_id: str, until_ns: int, frame: str) -> bool:
    """Whether of the last RECENT observations of an object, in a store's newest line of time, one
    places it in a tf frame: whether it could be told that it moved."""
    return bool(store.query(
        'SELECT 1 FROM (SELECT position_frame FROM observations WHERE object = ? AND line = ? '
        'AND stamp_ns <= ? ORDER BY stamp_ns DESC LIMIT ?) WHERE position_frame = ?',
        (object_id, store.line, until_ns, RECENT, frame)))


def _place(store: MemoryStore, one: Happening) -> Whereabouts | None:
    rows = store.query(
        'SELECT position_frame, px, py, pz, covariance FROM observations WHERE object = ? AND '
        'line = ? AND stamp_ns BETWEEN ? AND ? AND position_frame IS NOT NULL '
        'ORDER BY stamp_ns LIMIT 1',
        (one.object_id, store.line, one.stamp_ns, one.stamp_ns + SHOWN_NS))
    return whereabouts(*rows[0]) if rows else None


def tell_history(happenings: Sequence[Happening], origins: Mapping[str, int], *,
                 most: int = MOST_SENTENCES,
                 where: Mapping[Happening, Whereabouts] | None = None,
                 unplaced: Sequence[str] = ()) -> list[str]:
    """A sentence for each of at most `most` events, oldest first, with `<object:ID>` for names: of
    each object its first motion, or which moved first were lost, and then the newest. After them
    one for each of the objects in `unplaced`, of which nobody could tell whether they moved.

    origins: by id, the objects that a question is about, and the stamp of each one's first
    sighting, from which its times count, in seconds as `[Time t:...]` writes them: all of one line
    of time. What happened to other objects, or with them, is left out: a prompt has no names for
    these. where: places of events, as far as they are known.
    """
    own = [one for one in happenings
           if one.object_id in origins and (not one.other or one.other in origins)]
    told = sorted(own, key=lambda one: one.stamp_ns)
    first = {one.object_id: place for place, one in reversed(list(enumerate(told)))
             if one.kind == 'moved'}
    worth = [*sorted(first.values(), reverse=True),
             *(place for place in reversed(range(len(told))) if place not in first.values())]
    return [*(_sentence(told[place], origins, (where or {}).get(told[place]))
              for place in sorted(worth[:most])), *map(UNKNOWN.format, unplaced)]


def _sentence(one: Happening, origins: Mapping[str, int], place: Whereabouts | None) -> str:
    said = _SAID[one.kind].format(one=f'<object:{one.object_id}>', other=f'<object:{one.other}>')
    seconds = round((one.stamp_ns - origins[one.object_id]) / 1e9, 1)
    at = '' if place is None else ' at ({:.2f}, {:.2f}, {:.2f}) m in {}'.format(
        *place.position, place.frame)
    return f'{said}{at} at {seconds}.'
