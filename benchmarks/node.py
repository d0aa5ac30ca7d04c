# SPDX-License-Identifier: Apache-2.0
"""What the node itself costs, and whether answering holds up tracking.

    ./run python benchmarks/node.py [--out benchmarks/node.md]

Three parts, each against its baseline in the same run:

1. Both models replaced by constant ones, 1280x720 rgb8 at 30 Hz: CPU time per frame, and how late
   objects are, against a plain rclpy subscriber that does nothing with the same images, in turns.
2. Round trips of services while no question waits, against a plain rclpy service, call by call.
3. The packaged models on the packaged recording: frames tracked while questions are answered one
   after another, against frames tracked without questions, in turns.

Linux only: CPU times come from /proc. All use the profile for large images. Exit status: 0 when the
node dropped no frame and the targets are met, 1 when not. `--small` is for trying it out.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ''):
    sys.path.insert(0, str(ROOT))

import numpy as np
from lifecycle_msgs.srv import GetState

from benchmarks.figures import ran_on
from benchmarks.peers import HEIGHT, WIDTH
from benchmarks.wire import NAME, Watcher, cpu_seconds
from pixelrefer.msg import Box, ErrorCode, Prompt
from pixelrefer.srv import AddObjects, Ask, Describe, ListObjects, Reset
from pixelrefer_ros.conversions import time_message
from pixelrefer_ros.demo.processes import Processes, own_domain
from pixelrefer_ros.demo.ros_robot import to_message
from pixelrefer_ros.demo.run import CAMERA, PACKAGED_BAG
from pixelrefer_ros.demo.script import prompt_of
from pixelrefer_ros.demo.truth import Truth

PROFILE = ROOT / 'config' / 'fastdds_large_images.xml'
CPU_TARGET_MS, SHARE_TARGET = 5.0, 0.9
#: x, y, width, height of what the constant tracker follows.
BOXES = ((100, 100, 200, 200), (420, 300, 240, 160), (800, 120, 160, 320), (1000, 480, 220, 180))
COUNTED = ('frames_seen', 'frames_tracked', 'frames_dropped', 'frames_rejected',
           'frames_out_of_order', 'frames_failed')


@dataclass(frozen=True)
class Sizes:
    """How much is measured. seconds: of images at `rate_hz` to the node, in `rounds`. calls: of
    each service. passes: of the recording, with questions and without each."""

    seconds: float = 60.0
    rate_hz: float = 30.0
    rounds: int = 2
    calls: int = 500
    passes: int = 2


SMALL = Sizes(5.0, 2.0, 1, 5, 0)


@dataclass(frozen=True)
class Overhead:
    """What images cost the node and the plain subscriber: cpu, plain_cpu: CPU ms per frame of each
    round; late, plain_late: ms from the stamp of each image to its objects, or to the callback of
    the plain subscriber; age: ms from the stamp to the publishing of objects, as the node says.
    sent: images; counted: what the node counted of them. trips: ms of each call, by service."""

    cpu: list[float]
    plain_cpu: list[float]
    late: list[float]
    plain_late: list[float]
    age: list[float]
    sent: int
    counted: dict[str, int]
    trips: dict[str, list[float]]

    @property
    def whole(self) -> bool:
        """Whether the node tracked every image."""
        return self.counted == dict.fromkeys(COUNTED, 0) | dict.fromkeys(COUNTED[:2], self.sent)


def overhead(sizes: Sizes, folder: Path) -> Overhead:
    """Parts 1 and 2."""
    frames = round(sizes.seconds * sizes.rate_hz / sizes.rounds)
    late = folder / 'late.json'
    cpu, plain_cpu = [], []
    with Processes({}, folder / 'overhead.log') as processes, Watcher() as watcher:

        def publish(topic: str, count: int, pid: int) -> float:
            """Publish images; CPU milliseconds that each of them cost the process that listens."""
            before = cpu_seconds(pid)
            processes.start('camera', 'benchmarks.peers', 'camera', topic, count, sizes.rate_hz)
            if processes.wait_for('camera', needed=('node', 'plain', 'labels')) != 0:
                raise RuntimeError('a process ended before all images were published')
            return 1e3 * (cpu_seconds(pid) - before) / count

        plain = processes.start(
            'plain', 'benchmarks.peers', 'plain', 'plain/image', 'plain/state', late)
        node = processes.start('node', 'benchmarks.constant_node')
        processes.start('labels', 'benchmarks.peers', 'listener', f'{NAME}/label_image')
        watcher.wait_active()
        publish('image', 10, node)
        watcher.add(AddObjects.Request(use_newest=True, prompts=[
            Prompt(id=f'object_{n}', box=[Box(**dict(zip(('x', 'y', 'width', 'height'),
                                                         map(float, box))))])
            for n, box in enumerate(BOXES)]))
        before = watcher.counters(*COUNTED)
        watcher.objects.clear()
        watcher.ages.clear()
        for _ in range(sizes.rounds):
            plain_cpu.append(publish('plain/image', frames, plain))
            cpu.append(publish('image', frames, node))
        after = watcher.counters(*COUNTED)
        trips = round_trips(watcher, sizes.calls)
    return Overhead(
        cpu, plain_cpu, [ms for ms, _ in watcher.objects.values()],
        json.loads(late.read_text(encoding='utf-8')), watcher.ages[f'{NAME}/objects'],
        frames * sizes.rounds, {name: b - a for name, a, b in zip(COUNTED, before, after)}, trips)


def round_trips(watcher: Watcher, calls: int) -> dict[str, list[float]]:
    """Milliseconds of each call, the services in turns."""
    services = {
        'plain': (GetState, 'plain/state', GetState.Request()),
        '~/list_objects': (ListObjects, f'{NAME}/list_objects', ListObjects.Request()),
        '~/ask': (Ask, f'{NAME}/ask', Ask.Request(question='What is it?', ids=['object_0'])),
    }
    took: dict[str, list[float]] = {name: [] for name in services}
    for number in range(-calls // 10, calls):  # the first few do not count
        for name, call in services.items():
            response, ms = watcher.call(*call)
            if name != 'plain' and response.error_code:
                raise RuntimeError(f'{name}: {response.error_msg}')
            if number >= 0:
                took[name].append(ms)
    return took


@dataclass(frozen=True)
class Pass:
    """One playing of the recording: frames tracked and shown after the objects were selected,
    answers made meanwhile."""

    tracked: int
    shown: int
    answers: int


def answering(passes: int, folder: Path) -> tuple[list[Pass], list[Pass]]:
    """Part 3: passes without questions, and with one after another."""
    truth, asked, quiet = Truth.load(PACKAGED_BAG), [], []
    with Processes({}, folder / 'answering.log') as processes, Watcher() as watcher:
        processes.start(
            'node', 'pixelrefer_ros.node', '--ros-args', '-p', 'image_transport:=compressed',
            '-r', f'image/compressed:={CAMERA}/compressed')
        watcher.wait_active()
        for number in range(2 * passes):
            questions = number % 4 in (1, 2)  # who begins takes turns
            (asked if questions else quiet).append(play(processes, watcher, truth, questions))
    return quiet, asked


def play(processes: Processes, watcher: Watcher, truth: Truth, questions: bool) -> Pass:
    """Play the recording and follow the demo's three objects; with questions, ask about them."""
    watcher.call(Reset, f'{NAME}/reset', Reset.Request(remove_objects=True))
    watcher.objects.clear()
    processes.start('player', 'pixelrefer_ros.replay', PACKAGED_BAG, '--wait-for', 1)
    while max(list(watcher.objects), default=0) < truth.cast.select_ns:
        time.sleep(0.01)
    stamp_ns = max(list(watcher.objects))
    cast = {'clicked': truth.cast.mover, 'boxed': truth.cast.bystander, 'masked': truth.cast.hider}
    watcher.add(AddObjects.Request(stamp=time_message(stamp_ns), prompts=[
        to_message(name, prompt_of(name, truth.mask(i, stamp_ns))) for name, i in cast.items()]))
    ended, answers = threading.Event(), []

    def ask() -> None:
        while not ended.is_set():
            described, _ = watcher.call(Describe, f'{NAME}/describe', Describe.Request(
                ids=['clicked'], detail='detailed'))
            asked, _ = watcher.call(Ask, f'{NAME}/ask', Ask.Request(
                question='Is <object:boxed> to the left or to the right of <object:masked>?'))
            answers.extend([described.error_code, asked.error_code])

    asker = threading.Thread(target=ask if questions else ended.wait)
    asker.start()
    try:
        if processes.wait_for('player', needed=('node',)) != 0:
            raise RuntimeError('the recording was not played to its end')
    finally:
        ended.set()
        asker.join()
    tracked = [stamp for stamp, (_, count) in watcher.objects.items() if stamp > stamp_ns and count]
    return Pass(len(tracked), int((truth.stamps_ns > stamp_ns).sum()),
                answers.count(ErrorCode.OK))


def row(name: str, ours: float, base: float, target: float | None = None) -> str:
    """A line of milliseconds. target: most that ours may be."""
    met = '' if target is None else f'{target:g} ms: {met_or_not(ours <= target)}'
    return (f'| {name} | {ours:.2f} ms | {base:.2f} ms | {ours - base:+.2f} ms | '
            f'{ours / base:.2f} | {met} |')


def met_or_not(met: bool) -> str:
    return 'met' if met else '**missed**'


def table(sizes: Sizes, found: Overhead, quiet: list[Pass], asked: list[Pass]) -> list[str]:
    """The report's lines."""
    percent: Callable[[list[float], int], float] = lambda values, p: float(np.percentile(values, p))
    trips, count = found.trips, found.counted
    lines = [
        '# What the node itself costs', '',
        f'`./run python benchmarks/node.py`, on {ran_on()} {os.cpu_count()} cores; times of the '
        'node include whatever else the machine did.', '',
        f'Both models replaced by constant ones; {WIDTH}x{HEIGHT} rgb8 at {sizes.rate_hz:g} Hz for '
        f'{sizes.seconds:g} s, {len(BOXES)} objects, one listener to each of `~/objects`, '
        '`~/label_image`, `~/debug/latency_ms` and `/diagnostics`, none to the overlay. Plain: an '
        'rclpy subscriber that does nothing with the same images, or an rclpy service that returns '
        f'an empty response; in turns. Of {found.sent} images the node saw {count["frames_seen"]}, '
        f'tracked {count["frames_tracked"]} and dropped {count["frames_dropped"]}.', '',
        '| | node | plain | difference | ratio | target |', '|---|---|---|---|---|---|',
        row('CPU time per frame', median(found.cpu), median(found.plain_cpu), CPU_TARGET_MS)]
    for p in (50, 99):
        lines += [
            row(f'stamp to objects at a listener (plain: to its callback), p{p}',
                percent(found.late, p), percent(found.plain_late, p)),
            row(f'stamp to objects published, as the node says, p{p}', percent(found.age, p),
                percent(found.plain_late, p))]
    lines += [row(f'round trip of `{name}`, p{p}', percent(trips[name], p),
                  percent(trips['plain'], p)) for name in list(trips)[1:] for p in (50, 99)]
    lines += [
        '', 'A stamp is given just before the image is published, so that everything from there on '
        'counts: serialization, transport, conversion. CPU time is that of the whole process, user '
        'and system. Round trips are as a client sees them, while no question waits.', '']
    if asked:
        share = share_of(quiet, asked)
        lines += [
            'Packaged models, packaged recording at its own rate, three objects; questions one '
            'after another:', '',
            '| | frames tracked of those shown | answers |', '|---|---|---|',
            *(f'| {name} | {", ".join(f"{one.tracked} of {one.shown}" for one in passes)} | '
              f'{sum(one.answers for one in passes)} |'
              for name, passes in (('without questions', quiet), ('with questions', asked))), '',
            f'Target: {SHARE_TARGET} of the frames; **{share:.2f}**, '
            f'{met_or_not(share >= SHARE_TARGET)}.', '']
    return lines


def share_of(quiet: list[Pass], asked: list[Pass]) -> float:
    """Part of the shown frames that was tracked with questions, over that without."""
    part = [sum(one.tracked for one in passes) / sum(one.shown for one in passes)
            for passes in (asked, quiet)]
    return part[0] / part[1]


def main(argv: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=Path(__file__).with_suffix('.md'))
    parser.add_argument('--small', action='store_true', help='seconds; its figures mean nothing')
    args = parser.parse_args(argv)
    sizes = SMALL if args.small else Sizes()
    with own_domain() as domain, tempfile.TemporaryDirectory() as folder:
        os.environ.update({
            'ROS_DOMAIN_ID': str(domain), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'FASTRTPS_DEFAULT_PROFILES_FILE': str(PROFILE), 'PYTHONPATH': os.pathsep.join(
                filter(None, (str(ROOT), os.environ.get('PYTHONPATH'))))})
        try:
            found = overhead(sizes, Path(folder))
            quiet, asked = answering(sizes.passes, Path(folder)) if sizes.passes else ([], [])
        except RuntimeError:
            for log in Path(folder).glob('*.log'):
                print(log.read_text(encoding='utf-8', errors='replace')[-3000:], file=sys.stderr)
            raise
    text = '\n'.join(table(sizes, found, quiet, asked))
    print(text)
    args.out.write_text(text, encoding='utf-8')
    met = median(found.cpu) <= CPU_TARGET_MS and (
        not asked or share_of(quiet, asked) >= SHARE_TARGET)
    return 0 if found.whole and met else 1


if __name__ == '__main__':
    sys.exit(main())
