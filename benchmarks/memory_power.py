# SPDX-License-Identifier: Apache-2.0
"""What the disk would hold of the memory had the power gone, at random moments.

    sudo ./run python benchmarks/memory_power.py

Writes benchmarks/memory_power.md. A child process records as in memory_kill.py, onto an ext4 file
system in a file. While it is stopped that file is copied: it holds what the system has brought to
its disk, and nothing that is only in the system's memory. The copy is mounted as after a power cut,
with ext4's journal played back, and has to open, its database to be whole, and every observation to
have its tokens. Once with the store at its bound, where files of tokens are deleted all the time,
and once far below it. Needs Linux, and a user who may mount.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from tqdm import tqdm

from benchmarks.figures import ran_on
from benchmarks.memory_kill import SMALL, Outcome, fill, look, record
from benchmarks.memory_stream import MIB, Stream

#: What is recorded, by how it is told of.
STREAMS = {'at its bound': SMALL, 'far below its bound': replace(SMALL, bytes=1 << 30)}
#: Seconds between two cuts, at random; size of the file system.
BETWEEN_S, DISK_BYTES = (0.3, 2.5), 64 * MIB


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """The file system in a file, at a folder that is made."""
    folder.mkdir(exist_ok=True)
    _run('mount', '-o', 'loop', image, folder)
    try:
        yield folder
    finally:
        _run('umount', '-l', folder)


def cut(stream: Stream, place: Path, cuts: int, moments: random.Random) -> Outcome:
    """Record, and look so often at what a power cut would have left."""
    image, copy, found = place / 'disk.img', place / 'copy.img', Outcome()
    image.write_bytes(b'')
    os.truncate(image, DISK_BYTES)
    _run('mkfs.ext4', '-q', '-F', image)
    with ExitStack() as stack:
        folder = stack.enter_context(mounted(image, place / 'disk')) / 'memory'
        if stream is SMALL:
            fill(folder, stream)
        context = multiprocessing.get_context('fork')
        handed = context.Array('q', 2, lock=False)
        child = context.Process(target=record, args=(folder, stream, handed), daemon=True)
        child.start()
        stack.callback(child.join)
        stack.callback(child.kill)
        time.sleep(BETWEEN_S[1])
        for _ in tqdm(range(cuts), 'cuts', mininterval=5):
            time.sleep(moments.uniform(*BETWEEN_S))
            os.kill(child.pid, signal.SIGSTOP)
            first, newest = handed
            shutil.copyfile(image, copy)
            os.kill(child.pid, signal.SIGCONT)
            with mounted(copy, place / 'after') as after:
                look(after / 'memory', stream, first, newest, found)
    return found


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


def row(name: str, found: Outcome, cuts: int) -> str:
    """A line of the table."""
    lost = sorted(found.lost) or [float('nan')]
    return (f'| {name} | {cuts} | {cuts - len(found.faults)} | {statistics.median(lost):.1f} | '
            f'{lost[-1]:.1f} | {found.observations} |')


def main(arguments: Sequence[str] | None = None) -> int:
    """Cut, look, write and print; exit status 1 where more than the newest is lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path(__file__).parent / 'memory_power.md')
    parser.add_argument('--cuts', type=int, default=60)
    parser.add_argument('--folder', type=Path, help='where the file systems are made')
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    start, rows, faults = time.perf_counter(), [], []
    for name, stream in STREAMS.items():
        with tempfile.TemporaryDirectory(dir=options.folder) as place:
            found = cut(stream, Path(place), options.cuts, random.Random(0))
        rows.append(row(name, found, options.cuts))
        faults += found.faults
    text = '\n'.join([
        '# What a power cut would leave of the memory', '',
        f'`./run python benchmarks/memory_power.py`, on {ran_on()} Linux '
        f'{os.uname().release.partition("-")[0]}, ext4 as it is by default. It took '
        f'{time.perf_counter() - start:.0f} s.', '',
        'Recorded as in `memory_kill.md`. No power was cut: copies of a disk were taken, which hold '
        'what the system had brought to it by then. Lost, in seconds, is what lies between the '
        'newest stamp that the recorder was given and the newest that is stored.', '',
        '| the store | cuts | opened, whole, all tokens there | lost: median, s | most, s '
        '| observations in the end |', '|---' * 6 + '|', *rows, '',
        *(f'- **{fault}**' for fault in faults)])
    options.out.write_text(text, encoding='utf-8')
    print(text)
    return int(bool(faults))


if __name__ == '__main__':
    sys.exit(main())
