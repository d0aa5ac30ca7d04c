# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 side of pixelrefer: a lifecycle node and what goes with it. Imports no PyTorch."""
