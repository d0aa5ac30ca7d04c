# SPDX-License-Identifier: Apache-2.0
"""A robot without real time: every frame of a bag in turn, in this process, without ROS.

The engine is the node's own. The same bag and checkpoints give the same masks and answers.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from rosbags.highlevel import AnyReader

from pixelrefer_model.answer import Answer
from pixelrefer_model.engine import PerceptionEngine
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_model.memory import Now, Span
from pixelrefer_model.memory.finding import find
from pixelrefer_model.prompt import Prompt
from pixelrefer_model.sam2 import Track
from pixelrefer_ros.demo.robot import NS, Recording, Reply, RobotError, Sighting


def bag_pictures(bag: Path, topic: str) -> Iterator[tuple[int, bytes]]:
    """Header stamp (ns) and JPEG of every image of a compressed topic, in order."""
    with AnyReader([bag]) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        for connection, _, raw in reader.messages(connections=connections):
            message = reader.deserialize(raw, connection.msgtype)
            stamp = message.header.stamp
            yield stamp.sec * NS + stamp.nanosec, message.data.tobytes()


class LockstepRobot:
    """Implements Robot over a PerceptionEngine with a LongMemory and the images of a bag."""

    def __init__(self, engine: PerceptionEngine, bag: Path, topic: str) -> None:
        self.engine = engine
        self.recording = Recording()
        self._pictures = bag_pictures(bag, topic)
        self._frame: Frame | None = None
        self._indices: dict[str, int] = {}
        self._tracks: dict[str, Track] = {}

    def look(self, stamp_ns: int) -> int:
        while self._frame is None or self._frame.stamp_ns < stamp_ns:
            if not self._step():
                raise RobotError('the bag ended before the planner was done')
        return self._frame.stamp_ns

    def select(self, prompts: dict[str, Prompt], stamp_ns: int) -> None:
        if self._frame is None or self._frame.stamp_ns != stamp_ns:
            raise RobotError('in lockstep only the newest frame can be selected on')
        for object_id, prompt in prompts.items():
            self._indices[object_id] = len(self._indices) + 1
            try:
                self._tracks[object_id] = self.engine.track(object_id, prompt, self._frame)
            except PixelReferError as error:
                raise RobotError(str(error)) from error
        self._record()

    def describe(self, object_ids: list[str], detail: str) -> list[Reply]:
        return [self._reply(lambda i=i: self.engine.describe([i], detail)[0]) for i in object_ids]

    def ask(self, question: str, object_ids: list[str], start_ns: int = 0,
            end_ns: int = 0) -> Reply:
        window = Span(start_ns, end_ns) if end_ns else Now()
        return self._reply(lambda: self.engine.ask(question, object_ids, window))

    def let_go(self, object_ids: list[str]) -> None:
        for object_id in object_ids:
            self.engine.untrack(object_id)

    def find(self, words: str) -> Reply:
        try:
            hits = self.engine.memory.recorder.call(lambda store: find(store, words, most=1))
        except PixelReferError as error:
            return Reply('', [], error=str(error))
        return Reply(' '.join(hit.object.object_id for hit in hits),
                     [hit.object.last_ns for hit in hits])

    def finish(self) -> None:
        while self._step():
            continue

    def _reply(self, request: Callable[[], Answer]) -> Reply:
        try:
            answer = request()
        except PixelReferError as error:
            return Reply('', [], error=str(error))
        return Reply(answer.text, answer.stamps_ns)

    def _step(self) -> bool:
        stamp_ns, jpeg = next(self._pictures, (0, b''))
        if not jpeg:
            return False
        bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        self._frame = Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), stamp_ns)
        self.recording.pictures[stamp_ns] = jpeg
        self._tracks = {track.object_id: track for track in self.engine.process(self._frame)}
        self._record()
        return True

    def _record(self) -> None:
        """As the node publishes: where two masks overlap, the smaller object lies in front."""
        stamp_ns = self._frame.stamp_ns
        label = np.zeros(self._frame.image.shape[:2], np.uint16)
        seen = [track for track in self._tracks.values() if track.mask is not None]
        for track in sorted(seen, key=lambda track: -track.area):
            label[track.mask] = self._indices[track.object_id]
        self.recording.labels[stamp_ns] = label
        self.recording.objects[stamp_ns] = {
            track.object_id: Sighting(self._indices[track.object_id], track.state.name,
                                      float(track.score))
            for track in self._tracks.values()}
