# SPDX-License-Identifier: Apache-2.0
"""A day's work for the memory: hours of a stream of objects through the real store, as fast as it
takes them.

    ./run python benchmarks/memory_stream.py

Writes benchmarks/memory_stream.md and benchmarks/memory_stream.png. Eight objects are seen at 10 Hz
for 8 hours of image time, each observed every 0.5 s and at events; tokens are random numbers of the
shape that the packaged model makes, in as many bytes. They go through LongMemory, Recorder and
MemoryStore with a bound that is reached in the first hour, so that trimming never ends. Then half
an hour with tokens of the released model's shape. Nothing may be dropped: whoever records waits
until a batch is written. `--small` is for trying it out: its figures mean nothing.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.figures import Curve, draw, ran_on
from benchmarks.load_memory import resident
from pixelrefer_model.memory import KeepLast, Observation, Span
from pixelrefer_model.memory.bounds import Bounds
from pixelrefer_model.memory.long_memory import ALWAYS, LongMemory
from pixelrefer_model.memory.observation import Rle
from pixelrefer_model.memory.record import EVENTS, Happening, Told
from pixelrefer_model.memory.recorder import MOST_WAITING, Recorder
from pixelrefer_model.memory.segments import SEGMENT_BYTES
from pixelrefer_model.memory.store import MemoryStore

SECOND, MIB = 1_000_000_000, 1 << 20
#: Frames of a second, and after how many of them an object is observed again.
RATE, EVERY = 10, 5


@dataclass(frozen=True)
class Stream:
    """What is recorded. hours: of image time. shape: of an object's tokens [K, D], bfloat16. bytes:
    bound of the store. event_s: seconds between two events of an object, on average. batch: frames
    that are handed over together. segment_bytes: of a file of tokens."""

    hours: float = 8.0
    objects: int = 8
    shape: tuple[int, int] = (16, 128)
    bytes: int = 64 * MIB
    event_s: float = 20.0
    batch: int = 80
    segment_bytes: int = 4 * MIB

    @property
    def frames(self) -> int:
        return round(self.hours * 3600 * RATE)


TINY = Stream()
REAL = Stream(hours=0.5, shape=(32, 1536), bytes=256 * MIB, segment_bytes=SEGMENT_BYTES)


@dataclass
class Hour:
    """Of one hour (or another stretch) of image time. insert: seconds of each record that was
    written, by batch; select: of a question about one object, about all of them; file, ram: most
    bytes of the store, after a batch, and of the process."""

    insert: list[float] = field(default_factory=list)
    stall: float = 0.0
    select: list[float] = field(default_factory=list)
    select_all: list[float] = field(default_factory=list)
    file: int = 0
    ram: int = 0


@dataclass
class Run:
    """What came of a stream. came: bytes of all its tokens; left: observations in the end; lost: of
    these, with tokens that cannot be read."""

    stream: Stream
    hours: list[Hour]
    integrity: str = ''
    records: int = 0
    dropped: int = 0
    came: int = 0
    left: int = 0
    lost: int = 0
    ends: bool = False
    seconds: float = 0.0

    @property
    def faults(self) -> list[str]:
        """What must not be."""
        return [said for wrong, said in (
            (self.integrity != 'ok', f'the database is not whole: {self.integrity}'),
            (self.dropped > 0, f'{self.dropped} records were dropped'),
            (self.lost > 0, f'{self.lost} observations have lost their tokens'),
            (not self.ends, 'a first or last sighting is gone'),
            (max(hour.file for hour in self.hours) > self.stream.bytes, 'the bound was passed'),
        ) if wrong]


def records(stream: Stream, seed: int = 0) -> Iterator[list]:
    """Batches of what is recorded, in the order of time."""
    random = np.random.default_rng(seed)
    numbers = stream.shape[0] * stream.shape[1]
    pool = torch.from_numpy(random.standard_normal(numbers + 65_536, np.float32)).to(torch.bfloat16)
    mask = Rle(';'.join(str(n) for n in random.integers(1, 400, 24)), 480, 640)
    kinds = [kind for kind in EVENTS if kind not in ('joined', 'split')]

    def seen(name: str, stamp: int, reason: str) -> Observation:
        at = int(random.integers(65_536))
        tokens = pool[at:at + numbers].reshape(stream.shape)
        box = (*map(int, random.integers(0, 400, 2)), 60, 50)
        return Observation(name, stamp, 'camera', 0, box, 2400, tokens, 'benchmark',
                           reason=reason, mask=mask)

    names = [f'object_{n}' for n in range(stream.objects)]
    batch: list = []
    for frame in range(stream.frames):
        stamp = frame * SECOND // RATE
        happens = random.random(stream.objects) < 1 / (stream.event_s * RATE)
        for number, name in enumerate(names):
            if happens[number]:
                kind = kinds[int(random.integers(len(kinds)))]
                batch += [Happening(name, kind, 0, stamp), seen(name, stamp, kind)]
            elif frame % EVERY == number % EVERY:
                batch.append(seen(name, stamp, 'interval'))
        if frame % (60 * RATE) == 0:
            name = names[frame // (60 * RATE) % len(names)]
            batch.append(Told((name,), 'What is it?', f'a red thing, seen at {frame}', 0.9,
                              'benchmark', 0, stamp))
        if len(batch) >= MOST_WAITING - 4 * stream.objects or (frame + 1) % stream.batch == 0:
            yield batch
            batch = []
    if batch:
        yield batch


def simulate(stream: Stream, folder: Path, stretches: int) -> Run:
    """Record a stream; figures by so many stretches of it."""
    run = Run(stream, [Hour() for _ in range(stretches)])
    start = time.perf_counter()
    with MemoryStore.open(folder, segment_bytes=stream.segment_bytes) as store, \
            Recorder(store, Bounds(bytes=stream.bytes)) as recorder:
        memory, names, asked = LongMemory(KeepLast(32), recorder), [], -1
        every = round(stream.frames / stretches * SECOND / RATE)
        for batch in tqdm(records(stream), f'{stream.hours:g} h', mininterval=5):
            stamp = batch[-1].stamp_ns
            hour = run.hours[min(stretches - 1, stamp // every)]
            begin = time.perf_counter()
            for record in batch:
                if isinstance(record, Observation):
                    memory.observe([record])
                else:
                    memory.record([record])
            recorder.call(lambda _: None)
            seconds = time.perf_counter() - begin
            hour.insert.append(seconds / len(batch))
            hour.stall = max(hour.stall, seconds)
            hour.file = max(hour.file, store.bytes())
            run.records += len(batch)
            run.came += sum(one.bytes for one in batch if isinstance(one, Observation))
            if stamp // (60 * SECOND) > asked:
                asked = stamp // (60 * SECOND)
                names = [one.object_id for one in store.objects()]
                _ask(memory, sorted(names), asked, hour)
                hour.ram = max(hour.ram, resident('VmRSS'))
        run.dropped = recorder.dropped
        _look_back(store, run)
    run.seconds = time.perf_counter() - start
    return run


def _ask(memory: LongMemory, names: Sequence[str], turn: int, hour: Hour) -> None:
    """Choose and read what two questions about all of the past rest on."""
    for ids, times in (([names[turn % len(names)]], hour.select), (names, hour.select_all)):
        begin = time.perf_counter()
        memory.select_all(ids, ALWAYS, 8, 'benchmark')
        times.append(time.perf_counter() - begin)


def _look_back(store: MemoryStore, run: Run) -> None:
    """Check what is left in the end."""
    from pixelrefer_model.errors import PixelReferError
    run.integrity = store.query('PRAGMA integrity_check')[0][0]
    end, run.ends = run.stream.frames * SECOND // RATE, True
    for number in range(run.stream.objects):
        moments = store.moments(f'object_{number}', Span(0, end))
        run.left += len(moments)
        run.ends &= bool(moments) and moments[0].stamp_ns < SECOND and (
            moments[-1].stamp_ns >= end - SECOND)
        for moment in moments:
            try:
                store.observations([moment])
            except PixelReferError:
                run.lost += 1
