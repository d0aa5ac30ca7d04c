# SPDX-License-Identifier: Apache-2.0
"""What is known of where objects are: for ~/measure, and in words for a question's prompt."""

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.geometry import Measured, measure, measure_upright, tell
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


def measured(first: Position, second: Position, slop_ns: int) -> Measured:
    """How two objects lie to one another: of one depth image, or in one target frame within
    `slop_ns` nanoseconds, also from two cameras. Raises PixelReferError NO_POSITION.

    In a target frame up is its z axis, and what the camera sees is told where both objects are of
    one depth image.
    """
    views = first.as_seen, second.as_seen
    one_view = views[0].moment == views[1].moment
    turned = first.seen is not None and second.seen is not None
    if one_view and not turned:
        return measure(first.placed, second.placed)
    apart_ns = abs(first.stamp_ns - second.stamp_ns)
    if not turned or first.frame_id != second.frame_id or apart_ns > slop_ns:
        raise PixelReferError(
            'NO_POSITION', f'one is measured in {first.frame_id!r} at {first.stamp_ns / 1e9:.3f} '
            f's, the other in {second.frame_id!r} at {second.stamp_ns / 1e9:.3f} s; two of one '
            f'depth image, or of two that are up to {slop_ns / 1e9:g} s apart (parameter '
            'measure_slop) and in neither of whose frames target_frame is, are allowed')
    seen = (views[0].placed, views[1].placed) if one_view else None
    return measure_upright(first.placed, second.placed, seen)


def facts_of(table: ObjectTable, object_ids: list[str]) -> list[str]:
    """What depth says of objects, in sentences: of those that were placed by the newest depth image
    that placed any, as seen in it. Nothing where none was."""
    entries = [table.get(object_id) for object_id in object_ids]
    seen = {entry.object_id: entry.sight.position.as_seen for entry in entries
            if entry is not None and entry.sight.position is not None}
    if not seen:
        return []
    newest = max(one.moment for one in seen.values())
    return tell({object_id: one.placed for object_id, one in seen.items() if one.moment == newest})
