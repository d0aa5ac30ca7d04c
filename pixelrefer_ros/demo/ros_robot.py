# SPDX-License-Identifier: Apache-2.0
"""A robot over ROS 2: the planner's own process, with a perception node somewhere on the wire."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from pixelrefer.msg import Answer, ErrorCode, TrackedObject, TrackedObjectArray
from pixelrefer.msg import Box as BoxMessage
from pixelrefer.msg import Pixel, TimeWindow
from pixelrefer.msg import Prompt as PromptMessage
from pixelrefer.srv import (
    AddObjects, Ask, Describe, FindObjects, ListObjects, RemoveObjects)
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image

from pixelrefer_model.prompt import Box, Click, MaskPrompt, Prompt
from pixelrefer_ros.conversions import nanoseconds, rle_message, time_message
from pixelrefer_ros.demo.robot import Recording, Reply, RobotError, Sighting

#: The node loads two models when it starts, on a slow machine from a slow disk.
READY_S = 180.0
REPLY_S = 60.0
#: So long without a new frame, and the camera is taken to have ended.
SILENCE_S = 10.0

STATES = {value: name for name, value in (
    (n, getattr(TrackedObject, n)) for n in (
        'UNKNOWN', 'TRACKED', 'UNCERTAIN', 'OCCLUDED', 'LOST'))}


class RosRobot:
    """Implements Robot with the services and topics of the node `node_name`. A context manager:
    it owns a context of its own and the thread that spins in it."""

    def __init__(self, camera_topic: str, node_name: str = '/pixelrefer') -> None:
        self.recording = Recording()
        self.diagnostics: dict[str, str] = {}
        self.problem = ''
        self._camera_topic = camera_topic
        self._name = node_name
        self._news = threading.Condition()
        self._stopped = False

    def __enter__(self) -> 'RosRobot':
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node('planner', context=self._context)
        node, name = self._node, self._name
        self._list = node.create_client(ListObjects, f'{name}/list_objects')
        self._add = node.create_client(AddObjects, f'{name}/add_objects')
        self._describe = node.create_client(Describe, f'{name}/describe')
        self._ask = node.create_client(Ask, f'{name}/ask')
        self._remove = node.create_client(RemoveObjects, f'{name}/remove_objects')
        self._find = node.create_client(FindObjects, f'{name}/find_objects')
        node.create_subscription(TrackedObjectArray, f'{name}/objects', self._objects, 50)
        node.create_subscription(Image, f'{name}/label_image', self._label, 50)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._status, 10)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name='planner spin')
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._executor.shutdown()
        rclpy.try_shutdown(context=self._context)
        self._thread.join()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    # --- what comes in, in the spinning thread

    def _picture(self, message: CompressedImage) -> None:
        self._note(self.recording.pictures, message, bytes(message.data))

    def _label(self, message: Image) -> None:
        pixels = np.frombuffer(message.data, np.uint8).view(
            '>u2' if message.is_bigendian else '<u2')
        label = pixels.reshape(message.height, message.step // 2)[:, :message.width]
        self._note(self.recording.labels, message, label.astype(np.uint16))

    def _objects(self, message: TrackedObjectArray) -> None:
        self._note(self.recording.objects, message, {
            o.id: Sighting(o.index, STATES.get(o.state, 'UNKNOWN'), float(o.score))
            for o in message.objects})

    def _note(self, where: dict[int, Any], message: Any, what: Any) -> None:
        with self._news:
            where[nanoseconds(message.header.stamp)] = what
            self._news.notify_all()

    def _status(self, message: DiagnosticArray) -> None:
        with self._news:
            for status in message.status:
                if status.level == DiagnosticStatus.ERROR:
                    self.problem = status.message
                self.diagnostics.update({pair.key: pair.value for pair in status.values})

    # --- Robot, in the planner's thread

    def wait_ready(self) -> float:
        """Wait until the node is active, then open the eyes; seconds it took."""
        started = time.monotonic()
        code = None
        while code != ErrorCode.OK:
            if self.problem:
                raise RobotError(f'the node did not start: {self.problem}')
            if self._stopped or time.monotonic() - started > READY_S:
                raise RobotError('stopped' if self._stopped else
                                 f'{self._name} was not ready after {READY_S:.0f} s')
            if self._list.wait_for_service(timeout_sec=0.2):
                code = self._call(self._list, ListObjects.Request()).error_code
                if code != ErrorCode.OK:
                    time.sleep(0.1)
        # Only now: the player begins as soon as everybody watches.
        self._node.create_subscription(
            CompressedImage, f'{self._camera_topic}/compressed', self._picture,
            qos_profile_sensor_data)
        self._executor.wake()
        return time.monotonic() - started

    def look(self, stamp_ns: int) -> int:
        self._until(lambda: max(self.recording.pictures, default=-1) >= stamp_ns,
                    'no more frames came from the camera')
        return max(self.recording.pictures)

    def select(self, prompts: dict[str, Prompt], stamp_ns: int) -> None:
        response = self._call(self._add, AddObjects.Request(
            stamp=time_message(stamp_ns),
            prompts=[to_message(name, prompt) for name, prompt in prompts.items()]))
        if response.error_code != ErrorCode.OK:
            raise RobotError(f'add_objects: {response.error_msg}')

    def describe(self, object_ids: list[str], detail: str) -> list[Reply]:
        started = time.monotonic()
        response = self._call(self._describe, Describe.Request(ids=object_ids, detail=detail))
        seconds = time.monotonic() - started
        if len(response.answers) != len(object_ids):
            return [Reply('', [], seconds, response.error_msg) for _ in object_ids]
        return [to_reply(answer, seconds) for answer in response.answers]

    def ask(self, question: str, object_ids: list[str], start_ns: int = 0,
            end_ns: int = 0) -> Reply:
        window = TimeWindow(start=time_message(start_ns), end=time_message(end_ns))
        started = time.monotonic()
        response = self._call(
            self._ask, Ask.Request(question=question, ids=object_ids, window=window))
        seconds = time.monotonic() - started
        if response.error_code != ErrorCode.OK:
            return Reply('', [], seconds, response.error_msg)
        return to_reply(response.answer, seconds)

    def let_go(self, object_ids: list[str]) -> None:
        response = self._call(self._remove, RemoveObjects.Request(ids=object_ids))
        if response.error_code != ErrorCode.OK:
            raise RobotError(f'remove_objects: {response.error_msg}')

    def find(self, words: str) -> Reply:
        started = time.monotonic()
        response = self._call(self._find, FindObjects.Request(words=words, max_results=1))
        return Reply(
            ' '.join(one.id for one in response.objects),
            [nanoseconds(one.last_seen) for one in response.objects],
            time.monotonic() - started, response.error_msg)

    def finish(self) -> None:
        """To the end of the camera: until no new frame has come for a while, and the node has
        published the last one that it took."""
        seen = -1
        while seen != len(self.recording.pictures) + len(self.recording.labels):
            seen = len(self.recording.pictures) + len(self.recording.labels)
            time.sleep(1.5)

    def stop(self) -> None:
        """Make every wait end with RobotError; from any thread or a signal handler's thread."""
        self._stopped = True

    def _until(self, true: Callable[[], bool], otherwise: str) -> None:
        with self._news:
            quiet_since, before = time.monotonic(), len(self.recording.pictures)
            while not true():
                self._news.wait(0.2)
                if len(self.recording.pictures) != before:
                    quiet_since, before = time.monotonic(), len(self.recording.pictures)
                if self._stopped or time.monotonic() - quiet_since > SILENCE_S:
                    raise RobotError('stopped' if self._stopped else otherwise)

    def _call(self, client: Any, request: Any) -> Any:
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        end = time.monotonic() + REPLY_S
        while not done.wait(0.2):
            if self._stopped or time.monotonic() > end:
                raise RobotError('stopped' if self._stopped else
                                 f'{client.srv_name} did not reply in {REPLY_S:.0f} s')
        return future.result()


def to_message(name: str, prompt: Prompt) -> PromptMessage:
    """A prompt under the id `name`, as it goes over the wire."""
    message = PromptMessage(id=name)
    if isinstance(prompt, Click):
        message.points = [Pixel(x=float(x), y=float(y)) for x, y in prompt.points]
        message.labels = [int(label) for label in prompt.labels]
    elif isinstance(prompt, Box):
        message.box = [BoxMessage(x=prompt.x0, y=prompt.y0, width=prompt.x1 - prompt.x0,
                                  height=prompt.y1 - prompt.y0)]
    elif isinstance(prompt, MaskPrompt):
        message.mask = rle_message(prompt.mask)
    return message


def to_reply(answer: Answer, seconds: float) -> Reply:
    """An answer as it came over the wire, `seconds` after the request."""
    return Reply(answer.text, [nanoseconds(stamp) for stamp in answer.stamps], seconds,
                 answer.error_msg)
