# SPDX-License-Identifier: Apache-2.0
"""Object tracking (SAM 2) and referring (PixelRefer-Lite) in PyTorch; knows nothing of ROS."""

__version__ = '0.1.0'
