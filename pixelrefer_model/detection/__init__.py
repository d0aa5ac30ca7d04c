# SPDX-License-Identifier: Apache-2.0
"""Objects named by words: detectors, and the decision which of their matches is meant."""

from pixelrefer_model.detection.loading import load_detector
from pixelrefer_model.detection.match import Detector, Match, MatchPolicy, NotSelected
from pixelrefer_model.detection.words import check_words

__all__ = ['Detector', 'Match', 'MatchPolicy', 'NotSelected', 'check_words', 'load_detector']
