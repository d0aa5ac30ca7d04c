# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the node: that its command runs, and what it counts."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

if not all(map(find_spec, ('rclpy', 'pixelrefer'))):
    pytest.skip('there is no ROS 2 here', allow_module_level=True)

from benchmarks import node
from benchmarks.node import COUNTED, SMALL, Overhead, Pass

ROOT = Path(__file__).parents[2]
WATCHDOG = 300.0


def found(counted: dict[str, int]) -> Overhead:
    return Overhead([1.0], [1.0], [1.0], [1.0], [1.0], 20, counted, {})


def test_a_frame_that_was_lost_anywhere_is_a_fault():
    counted = dict.fromkeys(COUNTED, 0) | {'frames_seen': 20, 'frames_tracked': 20}
    assert found(counted).whole
    for other in ({'frames_seen': 19, 'frames_tracked': 19},
                  {'frames_tracked': 19, 'frames_dropped': 1}, {'frames_failed': 1}):
        assert not found(counted | other).whole


def test_frames_are_counted_against_those_that_were_shown():
    assert node.share_of([Pass(50, 100, 0), Pass(100, 100, 0)], [Pass(27, 40, 3)]) == 0.9
    text = '\n'.join(node.table(SMALL, Overhead(
        [4.0, 6.0], [2.0, 2.0], [9.0], [3.0], [8.0], 20, dict.fromkeys(COUNTED, 20),
        {'plain': [1.0], '~/ask': [2.0]}), [Pass(50, 100, 0)], [Pass(40, 100, 3)]))
    assert '| CPU time per frame | 5.00 ms | 2.00 ms | +3.00 ms | 2.50 | 5 ms: met |' in text
    assert '| round trip of `~/ask`, p99 | 2.00 ms | 1.00 ms | +1.00 ms | 2.00 |' in text
    assert '| with questions | 40 of 100 | 3 |' in text and '**0.80**, **missed**' in text


@pytest.mark.skipif(sys.platform != 'linux', reason='CPU times are read from /proc')
def test_the_command_writes_its_table_and_the_node_drops_no_frame(tmp_path):
    if shutil.disk_usage('/dev/shm').free < 1 << 30:
        pytest.skip('there is too little shared memory for large images')
    out = tmp_path / 'node.md'
    done = subprocess.run(
        [sys.executable, 'benchmarks/node.py', '--small', '--out', str(out)], cwd=ROOT,
        capture_output=True, text=True, timeout=WATCHDOG, check=False)
    assert done.returncode in (0, 1) and out.is_file(), done.stderr
    text, sent = out.read_text(), round(SMALL.seconds * SMALL.rate_hz)
    assert done.stdout == text + '\n'
    assert f'Of {sent} images the node saw {sent}, tracked {sent} and dropped 0.' in text
    rows = re.findall(r'^\| (.*) \| \d+\.\d\d ms \| \d+\.\d\d ms \|', text, re.MULTILINE)
    assert len(rows) == 9 and rows[0] == 'CPU time per frame'
