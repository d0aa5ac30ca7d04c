# SPDX-License-Identifier: Apache-2.0
"""The page's side of ROS: hears a node's picture, objects, events and state for those who look."""

import json
import logging
import re
import threading
from collections.abc import Callable
from typing import Any

from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage

from pixelrefer.msg import Event, TrackedObject, TrackedObjectArray
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.overlay import colour
from pixelrefer_ros.client import PixelReferClient
from pixelrefer_ros.conversions import nanoseconds

#: Seconds between two looks at the node's state, and that one of them waits for it.
LOOK_S, LOOK_WAIT_S = 1.0, 2.0
#: The newest alone: what a page did not show in time it shall never show.
NEWEST = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1,
                    reliability=ReliabilityPolicy.BEST_EFFORT)
#: Events that a person should hear of, though nobody asked.
_TOLD = (Event.NEW_EPOCH, Event.FAULT, Event.FRAME_REJECTED)
_STATES = {getattr(TrackedObject, name): name.lower() for name in (
    'UNKNOWN', 'TRACKED', 'UNCERTAIN', 'OCCLUDED', 'LOST')}
_log = logging.getLogger(__name__)

#: told(subject, camera, message): camera None: for everyone. Called on threads of ROS.
Told = Callable[[str, str | None, str | bytes], None]


class Bridge:
    """A context manager. name: of the node. What it hears goes to `told` as it is to be sent:

    frame: bytes, the length of a JSON header (4 bytes, big-endian), the header (camera, stamp in
    nanoseconds as a string), a JPEG. objects, status, event: JSON.
    """

    def __init__(self, name: str, told: Told) -> None:
        self._name = name
        self._told = told
        self._ended, self._due = threading.Event(), threading.Event()
        self._watched: dict[str, list[Any]] = {}
        self._thread = threading.Thread(target=self._look_on, name='page_looks')

    def __enter__(self) -> 'Bridge':
        self.client = PixelReferClient(name=self._name)
        self._node = self.client.node
        self._looking = PixelReferClient(self._node, self._name, timeout=LOOK_WAIT_S)
        self._node.create_subscription(Event, f'{self._name}/events', self._event, 10)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._due.set()
        self._on_ros(self._looking.close)
        self._thread.join()
        self.client.close()

    def watch(self, cameras: set[str]) -> None:
        """Listen to these cameras and to no other: the node draws its overlay only while somebody
        listens. '' is the one camera of a node that has no other. From one thread."""
        for camera in set(self._watched) - cameras:
            for subscription in self._watched.pop(camera):
                self._on_ros(self._node.destroy_subscription, subscription)
        for camera in cameras - set(self._watched):
            top = f'{self._name}/{camera}' if camera else self._name
            self._watched[camera] = [
                self._node.create_subscription(
                    CompressedImage, f'{top}/overlay/compressed',
                    lambda message, camera=camera: self._frame(camera, message), NEWEST),
                self._node.create_subscription(
                    TrackedObjectArray, f'{top}/objects', lambda message, camera=camera:
                    self._objects(camera, message.objects), NEWEST)]

    def look(self) -> None:
        """Look at the node's state and objects now: something was changed."""
        self._due.set()

    def _on_ros(self, call: Callable[..., object], *arguments: object) -> None:
        """Have the client's thread destroy something: its executor fails when what it is about to
        wait on is destroyed by another."""
        self._node.executor.create_task(call, *arguments)

    # --- on the client's thread

    def _frame(self, camera: str, message: CompressedImage) -> None:
        header = json.dumps({'camera': camera, 'stamp': str(nanoseconds(message.header.stamp))})
        self._told('frame', camera, b''.join((
            len(header).to_bytes(4, 'big'), header.encode(), bytes(message.data))))

    def _objects(self, camera: str, objects: list[TrackedObject]) -> None:
        self._told('objects', camera, json.dumps({'kind': 'objects', 'objects': [
            {'id': one.id, 'state': _STATES.get(one.state, 'unknown'),
             'score': round(one.score, 2), 'colour': '#%02x%02x%02x' % colour(one.index)}
            for one in objects]}))

    def _event(self, event: Event) -> None:
        if event.kind in _TOLD:
            self._told('event', None, json.dumps(
                {'kind': 'event', 'fault': event.kind != Event.NEW_EPOCH, 'epoch': event.epoch,
                 'message': event.error_msg}))

    # --- on a thread of its own

    def _look_on(self) -> None:
        while not self._ended.is_set():
            try:
                self._look_once()
            except Exception:  # edge of the thread: the page goes on, and says so in its log
                if not self._ended.is_set():
                    _log.exception('the state of %s', self._name)
            self._due.wait(LOOK_S)
            self._due.clear()

    def _look_once(self) -> None:
        state, code, message = 'active', '', ''
        try:
            objects = self._looking.objects()
        except PixelReferError as error:
            state, code, message = 'inactive', error.code, error.message
        except TimeoutError as error:
            state, message = 'absent', str(error)
        else:
            for camera in tuple(self._watched):
                self._objects(camera, [one for one in objects if camera in ('', one.camera)])
        self._told('status', None, json.dumps({
            'kind': 'status', 'node': self._name, 'state': state, 'code': code,
            'message': message, 'cameras': self._cameras()}))

    def _cameras(self) -> list[str]:
        """Names of the cameras whose overlays are published: '' of a node that has one."""
        form = re.compile(re.escape(self._name) + r'/(?:(\w+)/)?overlay/compressed')
        found = [match.group(1) or '' for topic, _ in self._node.get_topic_names_and_types()
                 if (match := form.fullmatch(topic)) and self._node.count_publishers(topic)]
        return sorted(found)
