# SPDX-License-Identifier: Apache-2.0
"""The tiny PixelRefer-Lite: questions from scene truth, tokenizer, trainer, measures."""
