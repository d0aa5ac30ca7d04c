# SPDX-License-Identifier: Apache-2.0
"""PixelRefer and PixelRefer-Lite: images and masks to tokens, tokens and a question to text."""

from pixelrefer_model.pixelrefer.batch import RegionBatch, collate
from pixelrefer_model.pixelrefer.configuration_pixelrefer import (
    LanguageConfig, PixelReferConfig, VisionConfig)
from pixelrefer_model.pixelrefer.encoder import (
    EncodedRegions, ImageEncoder, RegionEncoder, encoder_for)
from pixelrefer_model.pixelrefer.modeling_pixelrefer import (
    PixelRefer, PixelReferLite, PixelReferModel)
from pixelrefer_model.pixelrefer.policy import EncodePolicy, EvenlySpaced, SeededPermutation
from pixelrefer_model.pixelrefer.processing_image import (
    ImageInputs, prepare_images, prepare_video)
from pixelrefer_model.pixelrefer.processing_pixelrefer import RegionInputs, prepare_regions

__all__ = [
    'EncodePolicy', 'EncodedRegions', 'EvenlySpaced', 'ImageEncoder', 'ImageInputs',
    'LanguageConfig', 'PixelRefer', 'PixelReferConfig', 'PixelReferLite', 'PixelReferModel',
    'RegionBatch', 'RegionEncoder', 'RegionInputs', 'SeededPermutation', 'VisionConfig', 'collate',
    'encoder_for', 'prepare_images', 'prepare_regions', 'prepare_video']
