# SPDX-License-Identifier: Apache-2.0
"""PixelRefer-Lite: an image and masks to object tokens, object tokens and a question to text."""

from pixelrefer_model.pixelrefer.batch import RegionBatch, collate
from pixelrefer_model.pixelrefer.configuration_pixelrefer import (
    LanguageConfig, PixelReferConfig, VisionConfig)
from pixelrefer_model.pixelrefer.encoder import EncodedRegions, RegionEncoder
from pixelrefer_model.pixelrefer.modeling_pixelrefer import PixelReferLite
from pixelrefer_model.pixelrefer.policy import EncodePolicy, EvenlySpaced, SeededPermutation
from pixelrefer_model.pixelrefer.processing_pixelrefer import RegionInputs, prepare_regions

__all__ = [
    'EncodePolicy', 'EncodedRegions', 'EvenlySpaced', 'LanguageConfig', 'PixelReferConfig',
    'PixelReferLite', 'RegionBatch', 'RegionEncoder', 'RegionInputs', 'SeededPermutation',
    'VisionConfig', 'collate', 'prepare_regions']
