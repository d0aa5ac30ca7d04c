# SPDX-License-Identifier: Apache-2.0
"""Real nodes for tests: a process for the node, a client on the same domain, images to send."""

import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pixelrefer.action import AskStream
from pixelrefer.msg import Answer, Event, Pixel, Prompt, TrackedObjectArray
from pixelrefer.msg import Box
from pixelrefer.srv import (
    AddObjects, Ask, Describe, Forget, ListObjects, RemoveObjects, Reset)
from pixelrefer_ros import conversions
from pixelrefer_ros.demo.processes import own_domain

ROOT = Path(__file__).parents[2]
#: Ends what hangs; nothing is ever asserted about how long something took.
WATCHDOG = 300.0
WIDTH, HEIGHT = 320, 240
SECOND = 1_000_000_000


class NodeProcess:
    """The node as a process of its own; always ended."""

    def __init__(self, domain: int, log: Path, parameters: dict[str, Any] | None = None, *,
                 module: str = 'pixelrefer_ros.node', arguments: tuple[str, ...] = ()) -> None:
        self.log = log
        command = [sys.executable, '-m', module, *arguments, '--ros-args']
        for name, value in (parameters or {}).items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            command += ['-p', f'{name}:={text}']
        environment = {
            **os.environ, 'ROS_DOMAIN_ID': str(domain), 'OMP_NUM_THREADS': '1',
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'PYTHONUNBUFFERED': '1',
            'PYTHONPATH': os.pathsep.join(
                [str(ROOT), str(Path(__file__).parent), os.environ.get('PYTHONPATH', '')])}
        with log.open('w') as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self.log.read_text()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end, which a signal asked for; returns the exit status."""
        return self.process.wait(WATCHDOG)

    def __enter__(self) -> 'NodeProcess':
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(WATCHDOG)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Client:
    """Another participant on the domain: calls services, sends images, collects messages."""

    NAME = '/pixelrefer'

    def __init__(self, domain: int, process: NodeProcess | None = None) -> None:
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
        self._process = process
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain,
                   signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node('tester', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.news = threading.Condition(threading.RLock())
        self._clients: dict[str, Any] = {}
        reliable = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        self._images = self.node.create_publisher(Image, 'image', reliable)
        self._compressed = self.node.create_publisher(
            CompressedImage, 'image/compressed', reliable)
        self._depth = self.node.create_publisher(Image, 'depth', reliable)
        self._info = self.node.create_publisher(CameraInfo, 'camera_info', reliable)
        self.objects: list[TrackedObjectArray] = self.collect(TrackedObjectArray, 'objects')
        self.events: list[Event] = self.collect(Event, 'events')
        self.answers: list[Answer] = self.collect(Answer, 'answers')
        self.diagnostics: list[DiagnosticArray] = self.collect(DiagnosticArray, '/diagnostics')
        self._thread = threading.Thread(target=self._spin, name='tester')
        self._thread.start()

    def __enter__(self) -> 'Client':
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        rclpy.try_shutdown(context=self._context)
        self._thread.join()

    def _spin(self) -> None:
        # What a test destroys may be just what the executor has found ready, which ends its spin.
        while True:
            try:
                self._executor.spin()
                return
            except ExternalShutdownException:
                return
            except Exception:  # edge of the thread: without it the client would be deaf from here on
                traceback.print_exc()

    def in_turn(self, send: Callable[[], Any]) -> Any:
        """What `send()` gives, called by the thread that takes the replies: an ActionClient notes
        what it waits for after it has asked, and a reply that is taken in between is lost."""
        task = self._executor.create_task(send)
        return self.until(lambda: task.done() and task.result(), 'the turn of a request')

    # --- topics

    def collect(self, kind: type, topic: str) -> list[Any]:
        """A list that fills with the messages of a topic (a plain name: one of the node's)."""
        found: list[Any] = []
        name = topic if topic.startswith('/') else f'{self.NAME}/{topic}'

        def take(message: Any) -> None:
            with self.news:
                found.append(message)
                self.news.notify_all()

        self.node.create_subscription(kind, name, take, 100)
        return found

    def until(self, true: Callable[[], Any], what: str, *, ended: bool = False) -> Any:
        """Wait until something is true of what was collected; returns it. ended: also from a node
        that has ended."""
        end = time.monotonic() + WATCHDOG
        with self.news:
            while not (result := true()):
                alive = ended or self._process is None or self._process.process.poll() is None
                if time.monotonic() > end or not alive:
                    log = '' if self._process is None else self._process.output[-3000:]
                    raise AssertionError(f'waited in vain for {what}\n{log}')
                self.news.wait(0.2)
        return result

    def watched(self) -> None:
        """Wait until the node listens to the images and this client hears the node."""
        self.until(lambda: self._images.get_subscription_count()
                   or self._compressed.get_subscription_count(), 'a subscription to the images')
        self.until(lambda: self.node.count_publishers(f'{self.NAME}/objects'), 'a publisher')

    def send(self, stamp_ns: int, image: np.ndarray | None = None, **fields: Any) -> None:
        """Publish a raw image; `fields` overwrite those of the message."""
        self.send_message(image_message(stamp_ns, image, **fields))

    def send_message(self, message: Image) -> None:
        """Publish a raw image as it is."""
        self._images.publish(message)

    def send_compressed(self, stamp_ns: int, data: bytes, format_: str = 'jpeg') -> None:
        """Publish a compressed image of these bytes."""
        message = CompressedImage(format=format_)
        message.header = conversions.header_message(stamp_ns, 'camera_optical_frame')
        message.data = data
        self._compressed.publish(message)

    def send_depth(self, stamp_ns: int, metres: np.ndarray) -> None:
        """Publish a depth image of these values, in millimetres."""
        values = (metres * 1000).astype(np.uint16)
        message = Image(height=values.shape[0], width=values.shape[1], encoding='16UC1',
                        step=2 * values.shape[1], data=values.tobytes())
        message.header = conversions.header_message(stamp_ns, 'camera_optical_frame')
        self._depth.publish(message)

    def send_info(self, focal: float = 300.0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
        """Publish the calibration of a camera that looks straight on."""
        width, height = size
        self._info.publish(CameraInfo(width=width, height=height, k=[
            focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]))

    def track(self, stamp_ns: int, image: np.ndarray | None = None) -> TrackedObjectArray:
        """Send one image and wait for its objects."""
        self.send(stamp_ns, image)
        return self.objects_of(stamp_ns)

    def objects_of(self, stamp_ns: int) -> TrackedObjectArray:
        """The objects that were published under this stamp."""
        return self.until(lambda: next(
            (m for m in reversed(self.objects) if to_ns(m.header.stamp) == stamp_ns), None),
            f'objects of stamp {stamp_ns}')

    # --- services

    def call_async(self, kind: type, name: str, request: Any) -> Any:
        """Send a request; returns its future."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, f'{self.NAME}/{name}')
        client = self._clients[name]
        end = time.monotonic() + WATCHDOG
        while not client.wait_for_service(0.2):
            assert time.monotonic() < end, f'no service {name}'
            assert self._process is None or self._process.process.poll() is None, \
                self._process.output[-3000:]
        future = client.call_async(request)
        future.add_done_callback(lambda _: self._tell())
        return future

    def call(self, kind: type, name: str, request: Any) -> Any:
        """Send a request and wait for the reply."""
        future = self.call_async(kind, name, request)
        return self.until(lambda: future.done() and future.result(), f'a reply of {name}')

    def _tell(self) -> None:
        with self.news:
            self.news.notify_all()

    def add(self, *prompts: Prompt, stamp_ns: int = 0, use_newest: bool = False,
            **fields: Any) -> AddObjects.Response:
        return self.call(AddObjects, 'add_objects', AddObjects.Request(
            prompts=list(prompts), stamp=conversions.time_message(stamp_ns),
            use_newest=use_newest, **fields))

    def ask(self, question: str, *ids: str, **fields: Any) -> Ask.Response:
        return self.call(Ask, 'ask', Ask.Request(question=question, ids=list(ids), **fields))

    def describe(self, *ids: str, **fields: Any) -> Describe.Response:
        return self.call(Describe, 'describe', Describe.Request(ids=list(ids), **fields))

    def list(self) -> ListObjects.Response:
        return self.call(ListObjects, 'list_objects', ListObjects.Request())

    def remove(self, *ids: str, **fields: Any) -> RemoveObjects.Response:
        return self.call(
            RemoveObjects, 'remove_objects', RemoveObjects.Request(ids=list(ids), **fields))

    def reset(self, **fields: Any) -> Reset.Response:
        return self.call(Reset, 'reset', Reset.Request(**fields))

    def forget(self, *ids: str, **fields: Any) -> Forget.Response:
        return self.call(Forget, 'forget', Forget.Request(ids=list(ids), **fields))

    def empty(self) -> None:
        """Let there be no object and no memory of any."""
        assert [self.reset(remove_objects=True).error_code, self.forget().error_code] == [0, 0]

    def set_parameters(self, **values: Any) -> Sequence[SetParametersResult]:
        """Set parameters of the node; what became of each."""
        return self.call(SetParameters, 'set_parameters', SetParameters.Request(parameters=[
            Parameter(name, value=value).to_parameter_msg()
            for name, value in values.items()])).results

    def change(self, transition: int) -> bool:
        """Ask for a lifecycle transition; returns whether it succeeded."""
        return self.call(ChangeState, 'change_state', ChangeState.Request(
            transition=Transition(id=transition))).success

    def state(self) -> str:
        """The lifecycle state."""
        return self.call(GetState, 'get_state', GetState.Request()).current_state.label

    def wait_active(self, *, watched: bool = True) -> None:
        """Wait until the node started by itself is active and listens. watched: to `image`."""
        from pixelrefer.msg import ErrorCode
        end = time.monotonic() + WATCHDOG
        while True:
            assert time.monotonic() < end, 'the node was never active'
            listed = self.call_async(ListObjects, 'list_objects', ListObjects.Request())
            # Not for ever: the reply is lost where the node has not discovered this client yet.
            asked = time.monotonic()
            while not listed.done() and time.monotonic() - asked < 5.0:
                time.sleep(0.05)
            if listed.done() and listed.result().error_code != ErrorCode.NOT_ACTIVE:
                break
            time.sleep(0.2)
        if watched:
            self.watched()

    def status(self, part: str) -> tuple[bytes, str]:
        """Level and message of a part of the node, by the newest diagnostics."""
        with self.news:
            message = self.diagnostics[-1]
        return next(((status.level, status.message) for status in message.status
                     if status.name.endswith(f': {part}')), (b'', ''))

    def values(self) -> dict[str, str]:
        """Key values of a status that was published after this call."""
        with self.news:
            before = len(self.diagnostics)
        message = self.until(
            lambda: len(self.diagnostics) > before + 1 and self.diagnostics[-1], 'diagnostics')
        return {pair.key: pair.value for status in message.status for pair in status.values}


def picture(shift: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """uint8 RGB [H, W, 3]: a grey table with a red box and a blue disc, `shift` pixels right."""
    width, height = size
    ramp = np.linspace(90, 150, width, dtype=np.uint8)
    image = np.repeat(np.repeat(ramp[None, :, None], height, 0), 3, 2).copy()
    cv2.rectangle(image, (60 + shift, 80), (119 + shift, 149), (200, 30, 30), -1)
    cv2.circle(image, (220 + shift, 120), 30, (30, 40, 200), -1)
    return image


def box_mask(shift: int = 0) -> np.ndarray:
    """bool [H, W]: where the red box of `picture` is."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[80:150, 60 + shift:120 + shift] = True
    return mask


def image_message(stamp_ns: int, image: np.ndarray | None = None, **fields: Any) -> Image:
    """A raw rgb8 image; `fields` overwrite its own."""
    image = picture() if image is None else image
    message = Image(height=image.shape[0], width=image.shape[1], encoding='rgb8',
                    step=image.strides[0])
    message.header = conversions.header_message(stamp_ns, 'camera_optical_frame')
    message.data = image.tobytes()
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def click(x: float, y: float, id_: str = '', label: int = 1) -> Prompt:
    """A prompt of one click."""
    return Prompt(id=id_, points=[Pixel(x=float(x), y=float(y))], labels=[label])


def box(id_: str = '', shift: int = 0) -> Prompt:
    """A prompt of a box around the red box of `picture`."""
    return Prompt(id=id_, box=[Box(x=60.0 + shift, y=80.0, width=60.0, height=70.0)])


def mask(id_: str = '', pixels: np.ndarray | None = None) -> Prompt:
    """A prompt of a mask, by default of the red box of `picture`."""
    return Prompt(id=id_, mask=conversions.rle_message(box_mask() if pixels is None else pixels))


def to_ns(stamp: Time) -> int:
    """Nanoseconds of a stamp."""
    return conversions.nanoseconds(stamp)


class Clock:
    """Stamps of a camera at 10 Hz, each given out once."""

    def __init__(self, start_ns: int = 1000 * SECOND) -> None:
        self.now = start_ns

    def tick(self, step_ns: int = SECOND // 10) -> int:
        """The next stamp."""
        self.now += step_ns
        return self.now


class Robot(Client):
    """A client with the node that it talks to and the camera's clock."""

    def __init__(self, domain: int, process: NodeProcess) -> None:
        super().__init__(domain, process)
        self.domain = domain
        self.process = process
        self.clock = Clock()


@contextmanager
def running(log: Path, parameters: dict[str, Any], *, active: bool = True,
            standin: float | None = None, stumbles: bool = False,
            forgets: bool = False, watched: bool = True) -> Iterator[Robot]:
    """A node with a client. standin: seconds that a step of a stand-in for the models takes;
    stumbles: its first deactivation raises; forgets: it keeps results of goals for a second only;
    watched: its one camera is waited for."""
    program = {} if standin is None else {
        'module': 'standin_node', 'arguments': (
            str(standin), *(['stumbles'] * stumbles), *(['forgets'] * forgets))}
    with own_domain() as domain, \
            NodeProcess(domain, log, parameters, **program) as process, \
            Robot(domain, process) as robot:
        if active:
            robot.wait_active(watched=watched)
        yield robot


class Goal:
    """A goal of ~/ask_stream that was accepted, with what came of it so far."""

    def __init__(self, client: Client, question: str, *ids: str, **fields: Any) -> None:
        self._client = client
        self.feedback: list[AskStream.Feedback] = []
        self._actions = ActionClient(client.node, AskStream, f'{client.NAME}/ask_stream')
        client.until(self._actions.server_is_ready, 'the action server')
        goal = AskStream.Goal(question=question, ids=list(ids), **fields)
        sent = client.in_turn(
            lambda: self._actions.send_goal_async(goal, feedback_callback=self._take))
        self.handle = client.until(lambda: sent.done() and sent.result(), 'a goal')
        assert self.handle.accepted
        self._result = client.in_turn(self.handle.get_result_async)

    def __enter__(self) -> 'Goal':
        return self

    def __exit__(self, *_: object) -> None:
        self._client.until(self._result.done, 'the end of a goal')
        self._actions.destroy()

    def _take(self, message: Any) -> None:
        with self._client.news:
            self.feedback.append(message.feedback)
            self._client.news.notify_all()

    def told(self, count: int) -> None:
        """Wait until so many tokens were told of."""
        self._client.until(lambda: self.feedback and self.feedback[-1].tokens >= count, 'tokens')

    def cancel(self) -> None:
        """Ask for its end, and wait until that is agreed to."""
        asked = self._client.in_turn(self.handle.cancel_goal_async)
        self._client.until(lambda: asked.done() and asked.result(), 'an answer to a cancel')

    def result(self) -> AskStream.Result:
        """Wait for its result."""
        return self._client.until(
            lambda: self._result.done() and self._result.result(), 'a result').result

    @property
    def status(self) -> int:
        """How it ended, a constant of GoalStatus."""
        return self._result.result().status
