# SPDX-License-Identifier: Apache-2.0
"""The overlay of the node's objects: their ids and states beside their masks."""

import numpy as np

from pixelrefer.msg import TrackedObject
from pixelrefer_model import overlay
from pixelrefer_model.overlay import Shown
from pixelrefer_ros.objects import Entry

_STATES = {TrackedObject.UNCERTAIN: '?', TrackedObject.OCCLUDED: 'occluded',
           TrackedObject.LOST: 'lost'}


def draw(image: np.ndarray, entries: list[Entry]) -> np.ndarray:
    """A copy of an image, uint8 RGB [H, W, 3], with every object drawn."""
    return overlay.draw(image, [
        Shown(' '.join(filter(None, (entry.object_id, _STATES.get(entry.sight.state)))),
              entry.index, entry.sight.mask, entry.sight.box) for entry in entries])
