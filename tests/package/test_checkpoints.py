# SPDX-License-Identifier: Apache-2.0
"""What the package ships to run without a download stays small."""

from pixelrefer_model.engine import TINY

MOST_BYTES = 25_000_000


def test_the_packaged_checkpoints_are_small_enough_to_ship():
    files = [path for folder in TINY.values() for path in folder.rglob('*') if path.is_file()]
    assert len([path for path in files if path.suffix == '.safetensors']) == len(TINY)
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
