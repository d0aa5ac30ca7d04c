# SPDX-License-Identifier: Apache-2.0
"""The real node, which says after each cleanup how much of what it had taken is still there."""

import gc
import sys
import threading
from collections import Counter

from pixelrefer_ros import node

#: Types of which one is made in each round, by name, so that nothing has to be imported here.
WATCHED = ('PerceptionEngine', 'ObjectTracker', 'LanguageModel', 'Pipeline', 'CameraStream',
           'CameraOutput', 'Frame', 'Observation', 'Sam2VideoModel', 'PixelReferModel')
WORKERS = ('tracker', 'encoder', 'language')


def say_what_is_left(node_class) -> None:
    """Let cleanup tell of every object, tensor, thread and topic that is left."""
    free = node_class._free

    def counted(self) -> None:
        frozen = gc.get_freeze_count()
        free(self)
        self.get_logger().info(f'frozen: {frozen} before, {gc.get_freeze_count()} after')
        kinds = Counter(type(found).__name__ for found in gc.get_objects())
        left = {name: kinds[name] for name in WATCHED if kinds[name]}
        torch = sys.modules['torch']
        # By type: `isinstance` would wake what is imported lazily.
        left['tensors'] = sum(issubclass(type(found), torch.Tensor) for found in gc.get_objects())
        left['workers'] = sum(thread.name in WORKERS for thread in threading.enumerate())
        left['topics'] = len(list(self.subscriptions)) + len(list(self.publishers))
        self.get_logger().info(f'left: {sorted(left.items())}')

    node_class._free = counted


if __name__ == '__main__':
    say_what_is_left(node.PixelReferNode)
    node.main()
