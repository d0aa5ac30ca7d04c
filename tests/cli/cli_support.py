# SPDX-License-Identifier: Apache-2.0
"""The picture and the film that the README shows, and what lies in them."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGE, VIDEO = (ROOT / 'docs' / 'offline' / name for name in ('table.jpg', 'table.mp4'))
#: Boxes round the mug and the can in the image, and round the mug in the first frame of the video.
MUG, CAN = '226,142,293,209', '175,77,204,127'
VIDEO_MUG = '224,140,285,208'
