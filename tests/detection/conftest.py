# SPDX-License-Identifier: Apache-2.0
"""Detectors that tests share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from detection_support import make_grounding_dino, make_owlv2  # noqa: E402

from pixelrefer_model.detection.tiny import ReferringDetector  # noqa: E402


@pytest.fixture(scope='session', autouse=True)
def one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    yield


@pytest.fixture(scope='session')
def grounding_dino(tmp_path_factory) -> Path:
    return make_grounding_dino(tmp_path_factory.mktemp('detectors') / 'grounding-dino')


@pytest.fixture(scope='session')
def owlv2(tmp_path_factory) -> Path:
    return make_owlv2(tmp_path_factory.mktemp('detectors') / 'owlv2')


@pytest.fixture(scope='session')
def tiny() -> ReferringDetector:
    return ReferringDetector.packaged()
