# SPDX-License-Identifier: Apache-2.0
"""How late what is published of an image is: a message for each, and medians for /diagnostics."""

import time

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from pixelrefer.msg import Latency
from pixelrefer_ros import overridable
from pixelrefer_ros.conversions import nanoseconds
from pixelrefer_ros.counters import Counters

DEPTH = 10


class Lateness:
    """Publishes ~/debug/latency_ms. Any thread may note; bounded by the number of topics."""

    def __init__(self, node: LifecycleNode) -> None:
        self._clock = node.get_clock()
        self._publisher = overridable.publisher(node, Latency, '~/debug/latency_ms', DEPTH)
        self.clear()

    def clear(self) -> None:
        """Forget what was noted: topics of an earlier configuration are no topics."""
        self._latencies, self._ages = Counters(), Counters()
        self._topics: dict[str, None] = {}

    def note(self, topic: str, header: Header, arrived: float) -> None:
        """Say that a message of an image was published now. topic: its full name; header: of the
        image; arrived: when the image came (of an answer: when it was asked for), monotonic
        seconds."""
        latency = time.monotonic() - arrived
        age = (self._clock.now().nanoseconds - nanoseconds(header.stamp)) / 1e9
        self._topics[topic] = None
        self._latencies.timed(topic, latency)
        self._ages.timed(topic, age)
        if self._publisher.get_subscription_count():
            self._publisher.publish(Latency(
                header=header, topic=topic, latency_ms=1000 * latency, age_ms=1000 * age))

    def figures(self) -> dict[str, float]:
        """Latency and age in milliseconds by topic: medians of the last few hundred."""
        found = {}
        for topic in sorted(list(self._topics)):
            found[f'{topic} latency_ms'] = 1000 * self._latencies.latency(topic)
            found[f'{topic} age_ms'] = 1000 * self._ages.latency(topic)
        return found
