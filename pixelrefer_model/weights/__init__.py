# SPDX-License-Identifier: Apache-2.0
"""Where checkpoints live: packaged, in a folder, or downloaded. Nothing here needs PyTorch."""

from pixelrefer_model.weights.hub import download
from pixelrefer_model.weights.names import RELEASED, full_name
from pixelrefer_model.weights.store import (
    CHECKPOINTS, TINY, Found, Manifest, State, checkpoint_folder, look, store)

__all__ = ['CHECKPOINTS', 'Found', 'Manifest', 'RELEASED', 'State', 'TINY', 'checkpoint_folder',
           'download', 'full_name', 'look', 'store']
