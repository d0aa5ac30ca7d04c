# SPDX-License-Identifier: Apache-2.0
"""/diagnostics: one status for each part of the node, in a callback group of its own."""

from collections.abc import Callable
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

#: Seconds without a usable image after which the camera counts as stopped.
QUIET = 2.0


@dataclass(frozen=True)
class Status:
    """The state of one part. level: OK, WARN or ERROR; values: shown as they are."""

    part: str
    level: bytes
    message: str
    values: dict[str, object]


def camera_status(part: str, quiet: float | None, values: dict[str, object],
                  trouble: str = '') -> Status:
    """A camera's part. quiet: seconds since its newest usable image; None: there was none.
    trouble: what is wrong with the images that come, or why none does."""
    why = f': {trouble}' if trouble else ''
    if quiet is None:
        return Status(part, WARN, f'no usable image has come{why}', values)
    values = {**values, 'newest_image_age_s': quiet}
    if quiet > QUIET:
        return Status(part, WARN, f'no usable image for {quiet:.1f} s{why}', values)
    if trouble:
        return Status(part, WARN, trouble, values)
    return Status(part, OK, 'images come', values)


class Diagnostics:
    """Publishes what `statuses()` says, also while the node loads its models."""

    def __init__(self, node: Node, period: float, statuses: Callable[[], list[Status]]) -> None:
        self._node = node
        self._statuses = statuses
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Of steady time: the state of the node is of interest also where simulated time stands.
        self._timer = node.create_timer(
            period, self.publish, callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def period(self) -> float:
        """Seconds between two."""
        return self._timer.timer_period_ns / 1e9

    @period.setter
    def period(self, seconds: float) -> None:
        # Only where it is another one: each reset begins to wait anew.
        if seconds != self.period:
            self._timer.timer_period_ns = round(seconds * 1e9)
            self._timer.reset()

    def publish(self) -> None:
        """Publish now."""
        name = self._node.get_fully_qualified_name()
        array = DiagnosticArray(status=[
            DiagnosticStatus(
                name=f'{name}: {status.part}', hardware_id=name, level=status.level,
                message=status.message,
                values=[KeyValue(key=key, value=_text(value))
                        for key, value in status.values.items()])
            for status in self._statuses()])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)


def _text(value: object) -> str:
    return f'{value:.3f}' if isinstance(value, float) else str(value)
