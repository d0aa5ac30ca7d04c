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
import dataclasses
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
from pixelrefer_model.errors import PixelReferError
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
    written, by batch; cpu: seconds of processor time, alike; stall: seconds of the slowest batch;
    select: of a question about one object, about all of them; file, ram: most bytes of the store,
    after a batch, and of the process."""

    insert: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
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
        apart = min(60 * SECOND, every // 4)
        for batch in tqdm(records(stream), f'{stream.hours:g} h', mininterval=5):
            stamp = batch[-1].stamp_ns
            hour = run.hours[min(stretches - 1, stamp // every)]
            begin, worked = time.perf_counter(), time.process_time()
            for record in batch:
                if isinstance(record, Observation):
                    memory.observe([record])
                else:
                    memory.record([record])
            recorder.call(lambda _: None)
            seconds = time.perf_counter() - begin
            hour.insert.append(seconds / len(batch))
            hour.cpu.append((time.process_time() - worked) / len(batch))
            hour.stall = max(hour.stall, seconds)
            hour.file = max(hour.file, store.bytes())
            run.records += len(batch)
            run.came += sum(one.bytes for one in batch if isinstance(one, Observation))
            if stamp // apart > asked:
                asked = stamp // apart
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


#: What is told of each hour: heading, value, and its unit's size.
COLUMNS = (
    ('a record written, ms', lambda hour: statistics.fmean(hour.insert), 1e-3),
    ('of it processor, ms', lambda hour: statistics.fmean(hour.cpu), 1e-3),
    ('slowest batch, s', lambda hour: hour.stall, 1.0),
    ('choosing of one object, ms', lambda hour: statistics.median(hour.select), 1e-3),
    ('of all objects, ms', lambda hour: statistics.median(hour.select_all), 1e-3),
    ('store, MiB', lambda hour: hour.file, MIB),
    ('process, MiB', lambda hour: hour.ram, MIB),
)


def table(run: Run) -> list[str]:
    """By hour, and the last one against the first."""
    values = [[of(hour) for hour in run.hours] for _, of, _ in COLUMNS]
    units = [unit for *_, unit in COLUMNS]
    rows = [[f'{row[place] / unit:.3g}' if row[place] < 1000 * unit else
             f'{row[place] / unit:.0f}' for row, unit in zip(values, units)]
            for place in range(len(run.hours))]
    names = [f'{run.stream.hours * (n + 1) / len(run.hours):g} h' for n in range(len(run.hours))]
    ratios = [f'{row[-1] / row[0]:.2f}' for row in values]
    return [f'| until | {" | ".join(heading for heading, *_ in COLUMNS)} |',
            '|---' * (len(COLUMNS) + 1) + '|',
            *(f'| {name} | {" | ".join(row)} |' for name, row in zip(names, rows)),
            f'| last to first | {" | ".join(ratios)} |']


def words(run: Run) -> list[str]:
    """What was done, and what came of it."""
    stream, (tokens, dim) = run.stream, run.stream.shape
    return [
        f'## {stream.hours:g} hours, tokens of [{tokens}, {dim}], at most '
        f'{stream.bytes / MIB:g} MiB', '',
        f'{stream.objects} objects, {run.records} records in batches of at most '
        f'{stream.batch / RATE:g} s, {run.came / MIB:.0f} MiB of tokens, through a store of at '
        f'most {stream.bytes / MIB:g} MiB with files of {stream.segment_bytes / MIB:g} MiB; an '
        f'event of each object every {stream.event_s:g} s. It took {run.seconds:.0f} s: '
        f'{stream.hours * 3600 / run.seconds:.0f} times as fast as it happens. {run.dropped} '
        f'records were dropped. In the end {run.left} observations are left, of {run.lost} the '
        f'tokens are lost, first and last sightings are {"there" if run.ends else "**gone**"}, and '
        f'integrity_check says {run.integrity!r}.', '', *table(run), '',
        *([f'**{fault}**' for fault in run.faults] or ['The bound held after every batch.']), '']


def curves(run: Run) -> list[Curve]:
    """Cost and size by hours of image time."""
    shape = '[{}, {}]'.format(*run.stream.shape)
    made = [Curve(f'{shape}: a record', 'hour', measure='ms'),
            Curve(f'{shape}: choosing from the past', 'hour', measure='ms'),
            Curve(f'{shape}: size', 'hour', measure='MiB')]
    places = (0, 0, None, 1, 1, 2, 2)
    for place, (heading, of, unit) in zip(places, COLUMNS, strict=True):
        for number, hour in enumerate(run.hours if place is not None else ()):
            at = run.stream.hours * (number + 1) / len(run.hours)
            made[place].add(heading.rpartition(',')[0], at, of(hour) / unit)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and print; exit status 1 where the store did what it must not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path(__file__).parent / 'memory_stream.md')
    parser.add_argument('--folder', type=Path, help='where the memory is, on the disk to measure')
    parser.add_argument('--small', action='store_true', help='minutes, to try the command')
    options = parser.parse_args(arguments)
    streams = (TINY, REAL) if not options.small else (
        dataclasses.replace(TINY, hours=0.1, bytes=3 * MIB, segment_bytes=MIB // 4),)
    torch.set_num_threads(1)
    runs = []
    for stream in streams:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            runs.append(simulate(stream, Path(folder), 8 if stream.hours >= 1 else 5))
    picture = options.out.with_suffix('.png')
    draw([curve for run in runs for curve in curves(run)], picture)
    text = '\n'.join([
        '# The memory over hours', '',
        f'`./run python benchmarks/memory_stream.py`, on {ran_on()}', '',
        'A record is an observation (every 0.5 s of each object, and at events), an event or an '
        'answer. Written: mean over the batches, from handing over to on the disk and trimmed. '
        'Choosing: 8 moments of all that is remembered, with their tokens, median; of one object, '
        'and of all at once.', '',
        *(line for run in runs for line in words(run)), f'![by hours]({picture.name})', ''])
    options.out.write_text(text, encoding='utf-8')
    print(text)
    return int(any(run.faults for run in runs))


if __name__ == '__main__':
    sys.exit(main())
