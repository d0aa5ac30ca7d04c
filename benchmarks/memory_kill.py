# SPDX-License-Identifier: Apache-2.0
"""Kill a process that records, at random moments, and see what the memory has lost.

    ./run python benchmarks/memory_kill.py

Writes benchmarks/memory_kill.md. Of each stream, 200 times a child process records eight objects at
the pace of a camera (10 Hz, an observation of each object every 0.5 s, events and answers) into the
same folder, which is as full as its bound allows, so that it is trimmed; after 0.1 to 1.5 s it is
killed (SIGKILL).
Each time the memory has to open, its database to be whole, and every observation to have its
tokens. Lost is what lies between the newest stamp that the child was about to hand over and the
newest one that is stored. Exit status 1 where anything of that fails, or more than a second is
lost. Needs a system that can fork.
"""

import argparse
import multiprocessing
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from tqdm import tqdm

from benchmarks.figures import ran_on
from benchmarks.memory_stream import MIB, RATE, REAL, SECOND, Stream, records
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import KeepLast, Observation
from pixelrefer_model.memory.bounds import Bounds
from pixelrefer_model.memory.long_memory import ALWAYS, LongMemory
from pixelrefer_model.memory.recorder import Recorder
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.trimming import trim

#: What is recorded; a batch is one frame. small: where the bound is met all the time; robot: the
#: tokens and files of a robot with Lite-2B.
SMALL = Stream(hours=1.0, bytes=2 * MIB, batch=1, segment_bytes=MIB // 16)
STREAMS = {'small': SMALL,
           'robot': Stream(hours=1.0, shape=REAL.shape, bytes=256 * MIB, batch=1,
                           segment_bytes=REAL.segment_bytes)}
#: The child is killed so many seconds after its first frame, at random.
AFTER_S = (0.1, 1.5)
#: Most seconds that may be lost.
MOST_LOST_S = 1.0


@dataclass
class Outcome:
    """lost: seconds of each kill. opened: seconds to open the memory. faults: what must not be."""

    lost: list[float] = field(default_factory=list)
    opened: list[float] = field(default_factory=list)
    observations: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)


def fill(folder: Path, stream: Stream) -> None:
    """Record as much as there is room for, long ago."""
    with MemoryStore.open(folder, segment_bytes=stream.segment_bytes) as store:
        for frames in records(replace(stream, hours=0.1, batch=10)):
            store.write(frames)
            trim(store, Bounds(bytes=stream.bytes))


def record(folder: Path, stream: Stream, handed) -> None:
    """The child: record at the pace of a camera until killed. handed: shared integers, the first
    stamp and the one that comes next."""
    with MemoryStore.open(folder, segment_bytes=stream.segment_bytes) as store, \
            Recorder(store, Bounds(bytes=stream.bytes)) as recorder:
        memory = LongMemory(KeepLast(32), recorder)
        # Of the clock, so that stamps of all rounds rise.
        begin = time.time_ns()
        for frame in records(stream, seed=begin % 1000):
            stamp = begin + frame[-1].stamp_ns
            time.sleep(max(0.0, (stamp - time.time_ns()) / SECOND))
            frame = [restamped(one, begin) for one in frame]
            handed[0] = handed[0] or stamp
            handed[1] = stamp
            memory.observe([one for one in frame if isinstance(one, Observation)])
            memory.record([one for one in frame if not isinstance(one, Observation)])


def restamped(one, begin: int):
    """A record with its stamp counted from `begin`."""
    return replace(one, stamp_ns=begin + one.stamp_ns)


def kill(folder: Path, stream: Stream, after: float) -> tuple[int, int]:
    """Have a child record for so many seconds and kill it; the first and the newest stamp that it
    had for the memory. Raises RuntimeError where it ended by itself."""
    context = multiprocessing.get_context('fork')
    handed = context.Array('q', 2, lock=False)
    child = context.Process(target=record, args=(folder, stream, handed), daemon=True)
    child.start()
    while not handed[1] and child.is_alive():
        time.sleep(0.001)
    child.join(after)
    if child.is_alive():
        os.kill(child.pid, signal.SIGKILL)
    child.join()
    if child.exitcode != -signal.SIGKILL:
        raise RuntimeError(f'the process that records has ended by itself ({child.exitcode})')
    return handed[0], handed[1]


def look(folder: Path, stream: Stream, first: int, newest: int, found: Outcome) -> None:
    """Open the memory and see what there is of what came from the `first` stamp to the newest."""
    start = time.perf_counter()
    try:
        with MemoryStore.open(folder, segment_bytes=stream.segment_bytes) as store:
            found.opened.append(time.perf_counter() - start)
            said = store.query('PRAGMA integrity_check')[0][0]
            if said != 'ok':
                found.faults.append(f'integrity_check: {said}')
            # Of this child nothing may be stored yet: then it has lost its first frame too.
            stored = max([one.last_ns for one in store.objects()], default=0)
            found.lost.append((newest - max(stored, first - SECOND // RATE)) / SECOND)
            moments = [moment for one in store.objects()
                       for moment in store.moments(one.object_id, ALWAYS)]
            store.observations(moments)
            found.observations = len(moments)
            found.bytes = max(found.bytes, store.bytes())
    except PixelReferError as error:
        found.faults.append(error.message)


def report(stream: Stream, found: Outcome, seconds: float) -> str:
    """The committed table of a stream."""
    lost, opened = (sorted(values) for values in (found.lost, found.opened))
    ninth = statistics.quantiles(lost, n=20)[-1]
    return '\n'.join([
        f'## Tokens of {list(stream.shape)}, at most {stream.bytes / MIB:g} MiB', '',
        f'{stream.objects} objects at 10 Hz, each observed every 0.5 s, with events and answers, '
        f'in files of {stream.segment_bytes >> 10} KiB; the bound was reached before. Killed '
        f'(SIGKILL) {AFTER_S[0]:g} to {AFTER_S[1]:g} s after the first frame. '
        f'It took {seconds:.0f} s.', '',
        '| kills | opened and whole | lost: median, s | 95 % | most | allowed | opening: median, s '
        '| most |', '|---' * 8 + '|',
        f'| {len(lost)} | {len(lost) - len(found.faults)} | {statistics.median(lost):.3f} | '
        f'{ninth:.3f} | {lost[-1]:.3f} | {MOST_LOST_S:g} | {statistics.median(opened):.3f} | '
        f'{opened[-1]:.3f} |', '',
        f'In the end {found.observations} observations were stored, each with its tokens; the '
        f'store had at most {found.bytes / MIB:.1f} MiB when it was opened.', '',
        *(f'- **{fault}**' for fault in found.faults)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, look, write and print; exit status 1 where anything but the last second is lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path(__file__).parent / 'memory_kill.md')
    parser.add_argument('--kills', type=int, default=200, help='of each stream')
    parser.add_argument('--streams', default=','.join(STREAMS), help='some of them')
    parser.add_argument('--folder', type=Path, help='where the memory is, on the disk to measure')
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    options = parser.parse_args(arguments)
    names = options.streams.split(',')
    if not set(names) <= set(STREAMS):
        parser.error(f'--streams {options.streams}: {", ".join(STREAMS)} are allowed')
    torch.set_num_threads(1)
    moments, bad = random.Random(options.seed), False
    parts = ['# What a killed process loses of the memory', '',
             f'`./run python benchmarks/memory_kill.py`, on {ran_on()}', '']
    for stream in (STREAMS[name] for name in names):
        found, start = Outcome(), time.perf_counter()
        with tempfile.TemporaryDirectory(dir=options.folder) as place:
            fill(Path(place), stream)
            for _ in tqdm(range(options.kills), 'kills', mininterval=5):
                handed = kill(Path(place), stream, moments.uniform(*AFTER_S))
                look(Path(place), stream, *handed, found)
        parts.append(report(stream, found, time.perf_counter() - start))
        bad |= bool(found.faults) or max(found.lost) > MOST_LOST_S
    text = '\n'.join(parts)
    options.out.write_text(text, encoding='utf-8')
    print(text)
    return int(bad)


if __name__ == '__main__':
    sys.exit(main())
