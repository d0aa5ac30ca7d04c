# SPDX-License-Identifier: Apache-2.0
"""Whether remembering costs frames: the packaged recording, tracked with and without a memory.

    ./run python benchmarks/memory_rate.py --folder DISK

Writes benchmarks/memory_rate.md. The node with the packaged models, three objects of the demo's
recording at its own rate, once with each `memory`, in turns; nothing is asked. DISK is a folder on
the disk that is to be written. That masks are the same is a rule of the tests.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.figures import ran_on
from benchmarks.node import CAMERA, PROFILE, ROOT, Pass, met_or_not, play, share_of
from benchmarks.wire import Watcher
from pixelrefer_ros.demo.processes import Processes, own_domain
from pixelrefer_ros.demo.run import PACKAGED_BAG
from pixelrefer_ros.demo.truth import Truth

MODES = ('none', 'ram', 'disk')
#: Of the frames that are tracked without a memory.
SHARE_TARGET = 0.95


def one_pass(mode: str, folder: Path, truth: Truth) -> tuple[Pass, dict[str, int]]:
    """A node with this memory, one playing of the recording, and what it counted."""
    folder.mkdir()
    with Processes({}, folder / 'node.log') as processes, Watcher() as watcher:
        processes.start(
            'node', 'pixelrefer_ros.node', '--ros-args', '-p', 'image_transport:=compressed',
            '-r', f'image/compressed:={CAMERA}/compressed', '-p', f'memory:={mode}',
            '-p', f'memory_folder:={folder / "memory"}')
        watcher.wait_active()
        found = play(processes, watcher, truth, questions=False)
        names = ['observations_made', *(['records_written', 'records_dropped']
                                        if mode != 'none' else [])]
        return found, dict(zip(names, watcher.counters(*names)))


def table(found: dict[str, list[Pass]], counted: dict[str, list[dict[str, int]]]) -> list[str]:
    """The report's lines."""
    lines = [
        '# What remembering costs', '',
        f'`./run python benchmarks/memory_rate.py --folder DISK`, on {ran_on()} '
        f'{os.cpu_count()} cores.', '',
        'The node with the packaged models, three objects of the packaged recording at its own '
        'rate, in turns; nothing is asked.', '',
        '| memory | frames tracked of those shown | observations | records written, dropped | '
        'share of the frames without a memory | target |', '|---|---|---|---|---|---|']
    for mode, passes in found.items():
        made = [one['observations_made'] for one in counted[mode]]
        written = ', '.join(f'{one["records_written"]} and {one["records_dropped"]}'
                            for one in counted[mode] if 'records_written' in one) or '-'
        share = share_of(found[MODES[0]], passes)
        goal = '-' if mode == MODES[0] else f'{SHARE_TARGET}: {met_or_not(share >= SHARE_TARGET)}'
        lines.append(
            f'| {mode} | {", ".join(f"{one.tracked} of {one.shown}" for one in passes)} | '
            f'{", ".join(map(str, made))} | {written} | {share:.3f} | {goal} |')
    return [*lines, '']


def main(argv: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=Path(__file__).with_suffix('.md'))
    parser.add_argument('--folder', type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument('--passes', type=int, default=3)
    args = parser.parse_args(argv)
    truth = Truth.load(PACKAGED_BAG)
    found: dict[str, list[Pass]] = {mode: [] for mode in MODES}
    counted: dict[str, list[dict[str, int]]] = {mode: [] for mode in MODES}
    folder = Path(tempfile.mkdtemp(prefix='memory_rate_', dir=args.folder))
    try:
        with own_domain() as domain:
            os.environ.update({
                'ROS_DOMAIN_ID': str(domain), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
                'FASTRTPS_DEFAULT_PROFILES_FILE': str(PROFILE), 'PYTHONPATH': os.pathsep.join(
                    filter(None, (str(ROOT), os.environ.get('PYTHONPATH'))))})
            for number in range(args.passes):
                # Who begins takes turns.
                for mode in MODES if number % 2 == 0 else reversed(MODES):
                    one, counts = one_pass(mode, folder / f'{mode}{number}', truth)
                    found[mode].append(one)
                    counted[mode].append(counts)
    finally:
        shutil.rmtree(folder)
    text = '\n'.join(table(found, counted))
    print(text)
    args.out.write_text(text, encoding='utf-8')
    shares = [share_of(found[MODES[0]], found[mode]) for mode in MODES[1:]]
    return 0 if min(shares) >= SHARE_TARGET else 1


if __name__ == '__main__':
    sys.exit(main())
