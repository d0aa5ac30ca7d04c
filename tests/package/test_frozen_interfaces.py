# SPDX-License-Identifier: Apache-2.0
"""The interfaces are frozen: a planner that was built against them goes on to work.

A change is a decision: it needs an entry in CHANGELOG.rst, and `python tests/package/
test_frozen_interfaces.py` writes the hashes of the messages as they are built.
"""

import json
import sys
from pathlib import Path

import pytest

FROZEN = Path(__file__).with_name('interfaces.json')


def built() -> dict[str, str]:
    """The type hash (REP-2016) of every interface, by its name."""
    packages = pytest.importorskip('ament_index_python.packages')
    share = Path(packages.get_package_share_directory('pixelrefer'))
    hashes = {}
    for kind in ('msg', 'srv', 'action'):
        for path in sorted((share / kind).glob('*.json')):
            name = f'pixelrefer/{kind}/{path.stem}'
            hashes[name] = next(one['hash_string'] for one in json.loads(path.read_text())[
                'type_hashes'] if one['type_name'] == name)
    return hashes


def test_no_interface_is_other_than_it_was_frozen():
    assert built() == json.loads(FROZEN.read_text())


if __name__ == '__main__':
    FROZEN.write_text(json.dumps(built(), indent=1) + '\n')
    sys.stdout.write(f'{len(built())} interfaces frozen\n')
