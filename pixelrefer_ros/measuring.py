# SPDX-License-Identifier: Apache-2.0
"""What is known of where objects are: for ~/measure, and in words for a question's prompt."""

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.geometry import tell
from pixelrefer_ros.objects import ObjectTable, Position


def positions(table: ObjectTable, object_ids: list[str]) -> list[Position]:
    """Where objects are, as of the newest frame that was tracked. Raises PixelReferError
    UNKNOWN_ID, DUPLICATE_ID, or NO_POSITION with the reason."""
    table.known(object_ids)
    found = []
    for object_id in object_ids:
        entry = table.get(object_id)
        if entry is None or entry.sight.position is None:
            why = entry.sight.position_error if entry else 'the object was removed'
            raise PixelReferError('NO_POSITION', f'{object_id!r}: {why}')
        found.append(entry.sight.position)
    return found


def facts_of(table: ObjectTable, object_ids: list[str]) -> list[str]:
    """What depth says of objects, in sentences: of those that were placed by the newest depth image
    that placed any, and so in one frame. Nothing where none was."""
    entries = [table.get(object_id) for object_id in object_ids]
    placed = {entry.object_id: entry.sight.position for entry in entries
              if entry is not None and entry.sight.position is not None}
    if not placed:
        return []
    newest = max((one.stamp_ns, one.frame_id) for one in placed.values())
    return tell({object_id: one.placed for object_id, one in placed.items()
                 if (one.stamp_ns, one.frame_id) == newest})
