# SPDX-License-Identifier: Apache-2.0
"""`ros2 pixelrefer VERB`, for people at a shell: plug-ins of ros2cli over PixelReferClient.

One verb, one module. cmake/ros2_command.cfg names them for both ways of installing.
"""
