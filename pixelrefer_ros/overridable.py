# SPDX-License-Identifier: Apache-2.0
"""Publishers and subscriptions whose QoS the standard parameters `qos_overrides` may change."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions


def publisher(node: LifecycleNode, kind: type, topic: str,
              qos: QoSProfile | int) -> LifecyclePublisher:
    """A lifecycle publisher of `kind`. Raises RuntimeError where an override is no policy."""
    with _named(topic):
        return node.create_lifecycle_publisher(kind, topic, copy(qos), **_overrides())


def subscription(node: Node, kind: type, topic: str, callback: Any, qos: QoSProfile | int,
                 **options: Any) -> Any:
    """A subscription to `kind`. Raises RuntimeError where an override is no policy."""
    with _named(topic):
        return node.create_subscription(kind, topic, callback, copy(qos), **_overrides(), **options)


@contextmanager
def _named(topic: str) -> Iterator[None]:
    """Say of which topic an override cannot be used: rclpy does not."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(f'{topic}: {error}') from error


def _overrides() -> dict[str, QoSOverridingOptions]:
    # Profiles are copied, since rclpy writes the overrides of a topic into the one it is given.
    return {'qos_overriding_options': QoSOverridingOptions.with_default_policies()}
