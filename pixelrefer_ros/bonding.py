# SPDX-License-Identifier: Apache-2.0
"""The bond with a lifecycle manager: each hears from the other that it is alive."""

from typing import Any

from rclpy.node import Node

from pixelrefer_ros import optional

#: Heartbeats within a timeout: several may be late before a side counts as gone.
HEARTBEATS = 16


class LifecycleBond:
    """A context manager: inside, a manager can bond with the node, as those of Nav2 do, on the topic
    `bond` of its namespace, under the node's name.

    timeout: seconds without a heartbeat after which either side counts the other as gone; 0: no
    bond. Without bondpy there is none either. A manager that is gone is told of in the log; the
    node goes on.
    """

    def __init__(self, node: Node, timeout: float) -> None:
        self._node = node
        self._timeout = timeout
        self._bondpy = optional.load('bondpy.bondpy') if timeout else None
        self._bond: Any = None
        self._formed = False
        #: Whether a manager was there and is gone.
        self.lost = False
        #: What it is doing, in words.
        self.state = 'off' if not timeout else (
            'no manager yet' if self._bondpy else 'bondpy is not installed')

    def __enter__(self) -> 'LifecycleBond':
        if self._bondpy is not None:
            bond = self._bondpy.Bond(
                self._node, 'bond', self._node.get_name(), on_broken=self._broken,
                on_formed=self._has_formed)
            bond.heartbeat_timeout = self._timeout
            bond.heartbeat_period = self._timeout / HEARTBEATS
            bond.start()
            self._bond = bond
        return self

    def __exit__(self, *_: object) -> None:
        bond, self._bond = self._bond, None
        if bond is None:
            return
        bond.set_broken_callback(None)
        if not bond.is_broken():
            bond.break_bond()
        # Not by its own `shutdown`: that destroys the subscription and leaves it on the lists of
        # the node, whose executor then fails on it.
        with bond.lock:
            bond.is_shutdown = True
            bond.condition.notify_all()
        bond.thread.join()
        for timer in (bond.connect_timer, bond.heartbeat_timer, bond.disconnect_timer):
            timer.cancel()
        self._node.destroy_subscription(bond.sub)
        self._node.destroy_publisher(bond.pub)
        # It declares this one whenever a heartbeat is missed, and a second time that fails.
        disabled = self._bondpy.Constants.DISABLE_HEARTBEAT_TIMEOUT_PARAM
        if self._node.has_parameter(disabled):
            self._node.undeclare_parameter(disabled)

    def _has_formed(self) -> None:
        self._formed, self.state = True, 'bonded'

    def _broken(self) -> None:
        if not self._formed:
            self.state = 'no manager'
            return
        self.lost, self.state = True, 'the manager is gone'
        self._node.get_logger().warning(
            'the bond with the lifecycle manager broke: nothing was heard of it for '
            f'{self._timeout:g} s, or it let go; the node goes on')
