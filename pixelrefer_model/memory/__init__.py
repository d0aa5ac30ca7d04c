# SPDX-License-Identifier: Apache-2.0
"""Observations, when they are made, and where they are kept."""

from pixelrefer_model.memory.keyframes import (
    AnyOf, EveryFrame, EveryInterval, KeyframePolicy, Look, OnChange, OnEvents)
from pixelrefer_model.memory.object_memory import KeepLast, ObjectMemory, Selection
from pixelrefer_model.memory.observation import Observation, Rle, Whereabouts
from pixelrefer_model.memory.window import Now, Span, Window

__all__ = [
    'AnyOf', 'EveryFrame', 'EveryInterval', 'KeepLast', 'KeyframePolicy', 'Look', 'Now',
    'ObjectMemory', 'Observation', 'OnChange', 'OnEvents', 'Rle', 'Selection', 'Span',
    'Whereabouts', 'Window',
]
