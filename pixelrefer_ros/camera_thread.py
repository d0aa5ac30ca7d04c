# SPDX-License-Identifier: Apache-2.0
"""A thread for what a camera sends, so that an image wakes nothing else.

Whenever an rclpy executor wakes it asks every entity that it serves whether it is ready, and builds
a wait set of them; it wakes three times for each message, and hands the callback to another thread.
With the node's services, action and publishers that costs more than all that is done with an image.
"""

import threading
import traceback
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.executors import (
    ConditionReachedException, Executor, ExternalShutdownException, MultiThreadedExecutor)
from rclpy.logging import get_logger
from rclpy.node import Node

#: Seconds that the thread rests after a callback failed.
PAUSE = 0.1


class CameraGroup(MutuallyExclusiveCallbackGroup):
    """Callbacks that a CameraThread runs."""


class NodeExecutor(MultiThreadedExecutor):
    """Runs all callbacks of a node but those of its CameraThreads."""

    def can_execute(self, entity: Any) -> bool:
        return not isinstance(entity.callback_group, CameraGroup) and super().can_execute(entity)


class _GroupExecutor(Executor):
    """Runs the callbacks of one group of a node, which may have another executor for the others."""

    def __init__(self, node: Node, group: CameraGroup) -> None:
        super().__init__(context=node.context)
        self._node = node
        self._group = group

    def get_nodes(self) -> list[Node]:
        return [self._node]

    def can_execute(self, entity: Any) -> bool:
        return entity.callback_group is self._group and super().can_execute(entity)


class CameraThread:
    """A context manager: inside, a thread runs the callbacks of what was created in `group`
    before, one at a time."""

    def __init__(self, node: Node, name: str) -> None:
        self.group = CameraGroup()
        self._node = node
        self._name = name

    def __enter__(self) -> 'CameraThread':
        self._stopped = threading.Event()
        self._executor = _GroupExecutor(self._node, self.group)
        self._thread = threading.Thread(target=self._spin, name=self._name)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._executor.wake()
        self._thread.join()
        self._executor.shutdown()

    def _spin(self) -> None:
        while True:
            try:
                task, _, _ = self._executor.wait_for_ready_callbacks(
                    condition=self._stopped.is_set)
                task()
                task.result()
            except (ConditionReachedException, ExternalShutdownException):
                return
            except Exception:  # edge of the thread: it has to outlive one message
                get_logger('pixelrefer').error(f'a callback failed:\n{traceback.format_exc()}')
                self._stopped.wait(PAUSE)
