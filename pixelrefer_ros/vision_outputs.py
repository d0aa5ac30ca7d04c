# SPDX-License-Identifier: Apache-2.0
"""One camera's objects as vision_msgs, for what knows those, where that package is installed."""

from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseWithCovariance
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header

from pixelrefer_ros import optional, overridable
from pixelrefer_ros.cameras import Cameras
from pixelrefer_ros.conversions import vector_message
from pixelrefer_ros.objects import Entry

DEPTH = 10
#: For whoever comes late: the newest is kept.
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
#: rad^2: of an angle of which nothing is known, evenly spread over a turn.
ANY_ANGLE = np.pi ** 2 / 3


class VisionOutputs:
    """The publishers, a context manager; none where vision_msgs is not installed.

    `~/detections` and `~/detections_3d` are made while somebody listens. `~/label_info` says which
    object each value of the label image is, and goes out whenever that changes.
    """

    def __init__(self, node: LifecycleNode, cameras: Cameras, camera: str) -> None:
        self._node = node
        self._kinds: Any = optional.load('vision_msgs.msg')
        self._publishers: list[Any] = []
        self._labelled: tuple[tuple[int, str], ...] | None = None
        if self._kinds is None:
            return
        kinds = self._kinds
        self._publishers = [
            overridable.publisher(node, kind, cameras.own_topic(camera, name), qos)
            for kind, name, qos in ((kinds.Detection2DArray, 'detections', DEPTH),
                                    (kinds.Detection3DArray, 'detections_3d', DEPTH),
                                    (kinds.LabelInfo, 'label_info', LATCHED))]

    def __enter__(self) -> 'VisionOutputs':
        return self

    def __exit__(self, *_: object) -> None:
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def published(self, entries: list[Entry]) -> None:
        """What `messages` gave for these has gone out: an epoch that ended before would have kept
        it from whoever comes late."""
        self._labelled = _labels(entries)

    def messages(self, header: Header, entries: list[Entry]) -> list[tuple[Any, Any]]:
        """What is to be published of a frame: publishers with their messages."""
        if not self._publishers:
            return []
        flat, solid, labels = self._publishers
        going_out = []
        labelled = _labels(entries)
        if labelled != self._labelled:
            going_out.append((labels, label_info(self._kinds, header, labelled)))
        if flat.get_subscription_count():
            going_out.append((flat, detections(self._kinds, header, entries)))
        if solid.get_subscription_count():
            going_out.append((solid, detections_3d(self._kinds, header, entries)))
        return going_out


def _labels(entries: list[Entry]) -> tuple[tuple[int, str], ...]:
    return tuple((entry.index, entry.object_id) for entry in entries)


def label_info(kinds: Any, header: Header, labelled: tuple[tuple[int, str], ...]) -> Any:
    """LabelInfo: the ids by their values in the label image; 0 is no object. kinds: the module
    vision_msgs.msg."""
    return kinds.LabelInfo(header=header, class_map=[
        kinds.VisionClass(class_id=index, class_name=object_id) for index, object_id in labelled])


def detections(kinds: Any, header: Header, entries: list[Entry]) -> Any:
    """Detection2DArray of the objects that have a box, in pixels."""
    array = kinds.Detection2DArray(header=header)
    for entry in entries:
        if entry.sight.box is None:
            continue
        x, y, width, height = map(float, entry.sight.box)
        box = kinds.BoundingBox2D(size_x=width, size_y=height)
        box.center.position.x, box.center.position.y = x + width / 2, y + height / 2
        array.detections.append(kinds.Detection2D(
            header=header, id=entry.object_id, bbox=box, results=[_hypothesis(kinds, entry)]))
    return array


def detections_3d(kinds: Any, header: Header, entries: list[Entry]) -> Any:
    """Detection3DArray of the objects that have a position, under the image's stamp and in the
    frame of the positions. A box is the extent of what is seen, along the axes of the frame."""
    array = kinds.Detection3DArray(header=header)
    for entry in entries:
        position = entry.sight.position
        if position is None:
            continue
        placed = position.placed
        array.header = Header(stamp=header.stamp, frame_id=position.frame_id)
        box = kinds.BoundingBox3D(size=vector_message(placed.size))
        box.center.position = _point(placed.middle)
        hypothesis = _hypothesis(kinds, entry)
        covariance = np.diag([0.0] * 3 + [ANY_ANGLE] * 3)
        covariance[:3, :3] = placed.covariance
        hypothesis.pose = PoseWithCovariance(
            pose=Pose(position=_point(placed.position)), covariance=covariance.reshape(-1))
        array.detections.append(kinds.Detection3D(
            header=array.header, id=entry.object_id, bbox=box, results=[hypothesis]))
    return array


def _point(values: np.ndarray) -> Point:
    return Point(**dict(zip('xyz', values.tolist())))


def _hypothesis(kinds: Any, entry: Entry) -> Any:
    return kinds.ObjectHypothesisWithPose(hypothesis=kinds.ObjectHypothesis(
        class_id=entry.object_id, score=float(entry.sight.score)))
