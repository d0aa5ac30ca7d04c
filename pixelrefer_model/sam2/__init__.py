# SPDX-License-Identifier: Apache-2.0
"""Streaming SAM 2: objects selected on a frame and followed through the next ones."""

from pixelrefer_model.sam2.policy import (
    ComputePolicy, LookPolicy, MaskPolicy, MemoryPolicy, StatePolicy)
from pixelrefer_model.sam2.track import Held, Track, TrackState
from pixelrefer_model.sam2.tracker import ObjectTracker

__all__ = ['ComputePolicy', 'Held', 'LookPolicy', 'MaskPolicy', 'MemoryPolicy', 'ObjectTracker',
           'StatePolicy', 'Track', 'TrackState']
