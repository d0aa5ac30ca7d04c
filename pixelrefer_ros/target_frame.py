# SPDX-License-Identifier: Apache-2.0
"""The frame that positions are wanted in, by TF."""

from typing import Any

from rclpy.node import Node
from rclpy.time import Time

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.geometry import Pose
from pixelrefer_ros import optional


def check(frame: str) -> None:
    """Raise PixelReferError UNSUPPORTED where a frame is wanted and tf2_ros is not here."""
    if frame:
        optional.need('tf2_ros', f'target_frame {frame!r}')


class TargetFrame:
    """A context manager: inside, TF is listened to. With an empty `frame` it does nothing.

    The transform is that of the very stamp that is asked for and of nothing near it, and is never
    waited for: tracking is not to stand still for TF.
    """

    def __init__(self, node: Node, frame: str) -> None:
        self._node = node
        self.frame = frame
        self._tf2_ros: Any = None
        self._buffer: Any = None
        self._listener: Any = None

    def __enter__(self) -> 'TargetFrame':
        if self.frame:
            self._tf2_ros = optional.need('tf2_ros', f'target_frame {self.frame!r}')
            self._buffer = self._tf2_ros.Buffer()
            self._listener = self._tf2_ros.TransformListener(self._buffer, self._node)
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.unregister()
            self._buffer.jump_handle.unregister()
        self._listener = self._buffer = None

    def clear(self) -> None:
        """Let go of what TF said: time jumped, and tf2 takes nothing older than what it has."""
        if self._buffer is not None:
            self._buffer.clear()

    def pose(self, frame_id: str, stamp_ns: int) -> Pose:
        """How `frame_id` lay in the frame at this stamp. Raises PixelReferError NO_POSITION with
        what tf2 said."""
        try:
            found = self._buffer.lookup_transform(
                self.frame, frame_id, Time(nanoseconds=stamp_ns)).transform
        except self._tf2_ros.TransformException as error:
            raise PixelReferError(
                'NO_POSITION', f'no transform from {frame_id!r} to {self.frame!r} (parameter '
                f'target_frame) at {stamp_ns / 1e9:.3f} s, and none is waited for: '
                f'{str(error).strip()}') from error
        turn, shift = found.rotation, found.translation
        return Pose.of((turn.x, turn.y, turn.z, turn.w), (shift.x, shift.y, shift.z))
