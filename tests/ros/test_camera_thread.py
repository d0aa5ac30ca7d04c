# SPDX-License-Identifier: Apache-2.0
"""A camera's thread: what runs in it, and what an image leaves asleep."""

import threading
import time
from contextlib import contextmanager

import pytest
import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from ros_support import WATCHDOG
from std_msgs.msg import Int32

from pixelrefer_ros.camera_thread import CameraThread, NodeExecutor
from pixelrefer_ros.demo.processes import own_domain

MESSAGES = 20


class Counting(NodeExecutor):
    """Counts how often it asks what is ready."""

    rounds = 0

    def wait_for_ready_callbacks(self, *args, **options):
        self.rounds += 1
        return super().wait_for_ready_callbacks(*args, **options)


class Side:
    """A node with a camera's thread beside its executor, and publishers for both."""

    def __init__(self, node, executor) -> None:
        self.node, self.executor = node, executor
        self.thread = CameraThread(node, 'camera front')
        self.to_camera = node.create_publisher(Int32, 'camera', MESSAGES)
        self.to_others = node.create_publisher(Int32, 'others', MESSAGES)

    def listen(self, camera, others=lambda message: None) -> None:
        self.node.create_subscription(
            Int32, 'camera', camera, MESSAGES, callback_group=self.thread.group)
        self.node.create_subscription(
            Int32, 'others', others, MESSAGES, callback_group=ReentrantCallbackGroup())
        self.executor.wake()
        until(lambda: self.to_camera.get_subscription_count()
              and self.to_others.get_subscription_count())


def until(true) -> None:
    end = time.monotonic() + WATCHDOG
    while not true():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.01)


@contextmanager
def spinning(executor):
    """Spin in a thread; it has ended before the executor goes."""
    ended = Future()
    spinner = threading.Thread(target=executor.spin_until_future_complete, args=(ended,))
    spinner.start()
    try:
        yield
    finally:
        ended.set_result(None)
        spinner.join()
        executor.shutdown()


@pytest.fixture
def side():
    context = rclpy.Context()
    with own_domain() as domain:
        rclpy.init(context=context, domain_id=domain,
                   signal_handler_options=SignalHandlerOptions.NO)
        executor = Counting(4, context=context)
        node = rclpy.create_node('camera_thread', context=context, enable_rosout=False)
        executor.add_node(node)
        with spinning(executor):
            yield Side(node, executor)
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def test_a_camera_is_served_in_its_own_thread_and_in_order(side):
    got, names = [], set()

    def camera(message):
        got.append(message.data)
        names.add(threading.current_thread().name)

    side.listen(camera)
    with side.thread:
        for number in range(MESSAGES):
            side.to_camera.publish(Int32(data=number))
        until(lambda: len(got) == MESSAGES)
    assert got == list(range(MESSAGES)) and names == {'camera front'}


def test_images_do_not_wake_what_serves_the_rest_of_the_node(side):
    got, others = [], []
    side.listen(got.append, others.append)
    side.to_others.publish(Int32())
    until(lambda: others)
    with side.thread:
        time.sleep(0.5)  # what the first message woke has gone to sleep
        before = side.executor.rounds
        for number in range(MESSAGES):
            side.to_camera.publish(Int32(data=number))
        until(lambda: len(got) == MESSAGES)
        assert side.executor.rounds == before
        side.to_others.publish(Int32())
        until(lambda: len(others) == 2)
        assert side.executor.rounds > before


def test_a_camera_that_waits_holds_up_nobody_else(side):
    waits, go_on, others = threading.Event(), threading.Event(), []

    def camera(_message):
        waits.set()
        assert go_on.wait(WATCHDOG)

    side.listen(camera, others.append)
    with side.thread:
        side.to_camera.publish(Int32())
        assert waits.wait(WATCHDOG)
        side.to_others.publish(Int32())
        until(lambda: others)
        go_on.set()


def test_a_callback_that_fails_is_not_the_last(side):
    got = []

    def camera(message):
        got.append(message.data)
        if message.data == 0:
            raise RuntimeError('on purpose')

    side.listen(camera)
    with side.thread:
        for number in range(3):
            side.to_camera.publish(Int32(data=number))
        until(lambda: got == [0, 1, 2])


def test_nothing_is_served_after_its_end(side):
    got = []
    side.listen(got.append)
    with side.thread:
        side.to_camera.publish(Int32())
        until(lambda: got)
    side.to_camera.publish(Int32())
    time.sleep(0.3)
    assert len(got) == 1 and not any(
        thread.name == 'camera front' for thread in threading.enumerate())
