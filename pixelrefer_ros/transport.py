# SPDX-License-Identifier: Apache-2.0
"""Whether the middleware can carry large images.

Fast DDS gives a process 512 kB of shared memory; what is larger goes in pieces, and with best effort
most of it is lost. The profile config/fastdds_large_images.xml cures it, on both sides.
"""

import os

from rclpy.utilities import get_rmw_implementation_identifier

#: Bytes of Fast DDS's own segment of shared memory.
SEGMENT = 512 * 1024
#: Environment variables that name a profile, of older and newer versions.
PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')


def trouble_with(largest: int) -> str:
    """What is to be said of raw images of so many bytes; empty where they can be carried."""
    if largest <= SEGMENT or 'fastrtps' not in get_rmw_implementation_identifier():
        return ''
    if any(os.environ.get(name) for name in PROFILES):
        return ''
    return (f'images of {largest} bytes do not fit into the shared memory of Fast DDS and most are '
            f'lost: set {PROFILES[0]} to config/fastdds_large_images.xml for the camera and this '
            'node (docs/install.md), or subscribe to JPEG')
