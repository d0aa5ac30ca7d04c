# SPDX-License-Identifier: Apache-2.0
"""Do the masks hold? Each object's published masks against the truth, on the last frames where it
is visible."""

from dataclasses import dataclass

from pixelrefer_ros.demo.grading import RIGHT_IOU, iou
from pixelrefer_ros.demo.robot import NS, Recording
from pixelrefer_ros.demo.truth import Truth

#: The last so many tracked frames in which the object is visible are judged, every one of them.
LAST_FRAMES = 5
#: The newest of them may be at most so much older than the last frame in which it was visible.
STALE_S = 1.0


@dataclass(frozen=True)
class MaskVerdict:
    """One object: its IoU on each judged frame (oldest first), their stamps, and why it is not
    right ('' when it is)."""

    object_id: str
    ious: list[float]
    stamps_ns: list[int]
    fault: str

    @property
    def right(self) -> bool:
        return not self.fault


def judge_masks(recording: Recording, truth: Truth, objects: dict[str, int]) -> list[MaskVerdict]:
    """A verdict for each id of `objects` (id -> index in the truth).

    Right is an object whose mask, published under its own id, has RIGHT_IOU or more on every
    judged frame, whose judged frames are at the end of what was visible of it, and, if it was
    hidden, after that.
    """
    return [_judge(recording, truth, name, i) for name, i in objects.items()]


def _judge(recording: Recording, truth: Truth, name: str, i: int) -> MaskVerdict:
    visible = [int(stamp) for stamp in truth.stamps_ns if truth.visible(i, stamp)]
    seen = set(recording.tracked_ns)
    judged = [stamp for stamp in visible if stamp in seen][-LAST_FRAMES:]
    ious = [iou(recording.mask(name, stamp), truth.mask(i, stamp)) for stamp in judged]
    fault = ''
    if len(judged) < LAST_FRAMES:
        fault = f'{name} was tracked on {len(judged)} frames only'
    elif visible[-1] - judged[-1] > STALE_S * NS:
        fault = f'no frame of the last {(visible[-1] - judged[-1]) / NS:.1f} s of {name} was tracked'
    elif i == truth.cast.hider and judged[0] <= truth.cast.hidden_ns[1]:
        fault = f'{name} was not tracked again after it had been hidden'
    elif min(ious) < RIGHT_IOU:
        fault = f'the mask of {name} has IoU {min(ious):.2f} at the end'
    return MaskVerdict(name, ious, judged, fault)
