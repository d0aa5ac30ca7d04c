# SPDX-License-Identifier: Apache-2.0
"""Observations, when they are made, and where they are kept."""

from pixelrefer_model.memory.keyframes import EveryFrame, EveryInterval, KeyframePolicy
from pixelrefer_model.memory.object_memory import KeepLast, ObjectMemory, Selection
from pixelrefer_model.memory.observation import Observation
from pixelrefer_model.memory.window import Now, Span, Window

__all__ = [
    'EveryFrame', 'EveryInterval', 'KeepLast', 'KeyframePolicy', 'Now', 'ObjectMemory',
    'Observation', 'Selection', 'Span', 'Window',
]
