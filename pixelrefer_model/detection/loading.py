# SPDX-License-Identifier: Apache-2.0
"""A detector by its name."""

from pathlib import Path

import torch

from pixelrefer_model.detection.match import Detector
from pixelrefer_model.detection.open_vocabulary import open_vocabulary_detector
from pixelrefer_model.detection.tiny import ReferringDetector
from pixelrefer_model.device import choose_device
from pixelrefer_model.weights import checkpoint_folder


def load_detector(name: str | Path, *, device: str = 'cpu', dtype: torch.dtype = torch.float32,
                  least: float = 0.0, margin: float = 0.0) -> Detector:
    """`tiny`: the small world's, of the packaged checkpoints. Anything else: a Grounding DINO or an
    OWLv2, in a folder or under the name of one that was downloaded, told by its config.json. least,
    margin: of its policy; 0: what suits it.

    Raises PixelReferError CHECKPOINT with the file and the reason, UNSUPPORTED for a device that is
    not here, or OUT_OF_MEMORY.
    """
    device = choose_device(device)
    if str(name) == 'tiny':
        detector: Detector = ReferringDetector.packaged(device, dtype)
    else:
        detector = open_vocabulary_detector(checkpoint_folder(name, 'detector'), device, dtype)
    detector.policy = detector.policy.changed(least, margin)
    return detector
