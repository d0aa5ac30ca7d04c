# SPDX-License-Identifier: Apache-2.0
"""Whoever is on a topic and cannot reach the node is named, with both sides, until it is cured."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from ros_support import running
from sensor_msgs.msg import CompressedImage, Image
from test_failures import comes

from pixelrefer.msg import TrackedObjectArray
from pixelrefer_ros.diagnostics import OK, WARN

RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope='module')
def robot(tmp_path_factory: pytest.TempPathFactory):
    """A node that wants its images reliably."""
    log = tmp_path_factory.mktemp('connections') / 'node.log'
    parameters = {'diagnostics_period': 0.1,
                  'qos_overrides./image.subscription.reliability': 'reliable'}
    with running(log, parameters, standin=0.0) as robot:
        comes(robot, 'connections', OK, '')
        yield robot


@contextmanager
def other(robot, namespace: str, name: str) -> Iterator[Any]:
    """A node of another process, as far as the middleware can tell."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=robot.domain,
               signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(name, namespace=namespace, context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def test_a_camera_that_is_not_reliable_enough_is_named_until_it_is(robot):
    with other(robot, '/front', 'driver') as driver:
        camera = driver.create_publisher(Image, '/image', BEST_EFFORT)
        # Whom else that camera does not reach is not this node's to say.
        driver.create_subscription(Image, '/image', lambda _: None, LATCHED)
        said = comes(robot, 'connections', WARN, '/front/driver')
        assert said.count('nothing that') == 1
        for _ in range(3):
            robot.values()
        assert robot.process.output.count(said) == 1, 'logged once, not with every diagnostics'
        assert '/image' in said and 'best effort publisher and reliable subscription' in said
        driver.destroy_publisher(camera)
        driver.create_publisher(Image, '/image', RELIABLE)
        comes(robot, 'connections', OK, '')


def test_a_listener_that_wants_what_was_before_it_is_named(robot):
    with other(robot, '/shelf', 'latecomer') as latecomer:
        latecomer.create_subscription(
            TrackedObjectArray, '/pixelrefer/objects', lambda _: None, LATCHED)
        said = comes(robot, 'connections', WARN, '/shelf/latecomer')
        assert '/pixelrefer/objects' in said
        assert 'volatile publisher and transient local subscription' in said
    comes(robot, 'connections', OK, '')


def test_a_publisher_of_another_type_is_named_with_both(robot):
    with other(robot, '/rear', 'driver') as driver:
        driver.create_publisher(CompressedImage, '/depth', RELIABLE)
        said = comes(robot, 'connections', WARN, '/rear/driver')
        assert 'sensor_msgs/msg/CompressedImage is published' in said
        assert 'sensor_msgs/msg/Image subscribed to' in said
    comes(robot, 'connections', OK, '')


def test_who_is_reached_is_not_spoken_of(robot):
    with other(robot, '/top', 'driver') as driver:
        ends = [driver.create_publisher(Image, '/image', RELIABLE),
                driver.create_publisher(Image, '/depth', BEST_EFFORT)]
        driver.create_subscription(
            TrackedObjectArray, '/pixelrefer/objects', lambda _: None, BEST_EFFORT)
        robot.until(lambda: all(end.get_subscription_count() for end in ends), 'the node')
        for _ in range(3):
            robot.values()
            assert robot.status('connections')[0] == OK


def test_a_topic_keeps_its_quality_when_that_of_another_is_overridden(robot):
    def reliability(topic: str) -> set[ReliabilityPolicy]:
        return {end.qos_profile.reliability
                for end in robot.node.get_subscriptions_info_by_topic(topic)
                if end.node_name == 'pixelrefer'}

    for _ in range(2):
        robot.until(lambda: reliability('/image') == {ReliabilityPolicy.RELIABLE}, 'the images')
        robot.until(lambda: reliability('/depth'), 'the depth')
        assert reliability('/depth') == {ReliabilityPolicy.BEST_EFFORT}
        assert robot.change(Transition.TRANSITION_DEACTIVATE)
        robot.until(lambda: not reliability('/image'), 'the end of the subscription')
        assert robot.change(Transition.TRANSITION_ACTIVATE)


def test_a_camera_that_is_not_there_is_named_by_its_topic(tmp_path):
    with running(tmp_path / 'node.log', {'diagnostics_period': 0.1, 'cameras': "['front']"},
                 standin=0.0) as robot:
        robot.node.destroy_publisher(robot._images)
        comes(robot, 'camera', WARN, 'nobody publishes /image')
        with other(robot, '/front', 'driver') as driver:
            driver.create_publisher(Image, '/image', BEST_EFFORT)
            comes(robot, 'camera', WARN, 'no usable image has come')
            robot.until(lambda: 'nobody' not in robot.status('camera')[1], 'a publisher')
