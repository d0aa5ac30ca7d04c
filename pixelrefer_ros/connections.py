# SPDX-License-Identifier: Apache-2.0
"""Who is on a topic of this node and cannot reach it: another QoS, or another type.

The middleware says that there is somebody, but not who. That is looked up in the graph, each time
anew, so that the warning goes when the other side is right.
"""

from collections.abc import Iterator

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo

#: The name of a node whose topics were discovered before it was.
UNKNOWN = '_NODE_NAME_UNKNOWN_'


class Connections:
    """Of every topic that a node publishes or subscribes to, those of its own tools included."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._said: set[str] = set()

    def check(self) -> list[str]:
        """A sentence for each other node that cannot be reached; a new one is logged as well."""
        found = list(dict.fromkeys(
            sentence for topic in self._unmatched() for sentence in self._mismatches(topic)))
        for sentence in found:
            if sentence not in self._said:
                self._node.get_logger().warning(sentence)
        self._said = set(found)
        return found

    def _unmatched(self) -> Iterator[str]:
        """The topics where the graph has more ends than match: few, and only there it is looked who
        they are, which takes far longer."""
        node = self._node
        try:
            for ours in node.subscriptions:
                if node.count_publishers(ours.topic_name) != ours.get_publisher_count():
                    yield ours.topic_name
            for ours in node.publishers:
                if node.count_subscribers(ours.topic_name) != ours.get_subscription_count():
                    yield ours.topic_name
        except rclpy_implementation.InvalidHandle:
            # Destroyed meanwhile, by another thread; the next check sees what is left.
            return

    def _mismatches(self, topic: str) -> Iterator[str]:
        publishers = self._node.get_publishers_info_by_topic(topic)
        subscriptions = self._node.get_subscriptions_info_by_topic(topic)
        for publisher in publishers:
            for subscription in subscriptions:
                # As the graph has them: what is not set is a number of its own in each profile.
                if self._is_ours(publisher) == self._is_ours(subscription):
                    continue
                why = _mismatch(publisher, subscription)
                if why and self._is_ours(subscription):
                    yield f'nothing that {_name(publisher)} publishes on {topic} comes here: {why}'
                elif why:
                    yield f'nothing that is published on {topic} goes to {_name(subscription)}: ' \
                          f'{why}'

    def _is_ours(self, end: TopicEndpointInfo) -> bool:
        return (end.node_name, end.node_namespace) == (
            self._node.get_name(), self._node.get_namespace())


def _name(end: TopicEndpointInfo) -> str:
    if end.node_name == UNKNOWN:
        return 'a node whose name is not known yet'
    return f'{end.node_namespace.rstrip("/")}/{end.node_name}'


def _mismatch(publisher: TopicEndpointInfo, subscription: TopicEndpointInfo) -> str:
    """Why they do not match; empty where they do."""
    if publisher.topic_type != subscription.topic_type:
        return f'{publisher.topic_type} is published, {subscription.topic_type} subscribed to'
    fits, reason = qos_check_compatible(publisher.qos_profile, subscription.qos_profile)
    if fits != QoSCompatibility.ERROR:
        return ''
    said = ', '.join(part.split(':', 1)[1].strip() for part in reason.split(';') if 'ERROR' in part)
    return said[:1].lower() + said[1:]
