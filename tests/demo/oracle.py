# SPDX-License-Identifier: Apache-2.0
"""A small world of three discs, and a robot that knows the truth and may be told to get it wrong."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from pixelrefer_model.prompt import Prompt
from pixelrefer_ros.demo.robot import NS, Recording, Reply, RobotError, Sighting
from pixelrefer_ros.demo.truth import Cast, Truth

START_NS, COUNT = 1_700_000_000 * NS, 160
HIDER, MOVER, BYSTANDER = 0, 1, 2
NAMES = {'masked': HIDER, 'clicked': MOVER, 'boxed': BYSTANDER}


def stamp(seconds: float) -> int:
    """The stamp of the frame at `seconds`."""
    return START_NS + round(seconds * 10) * NS // 10


def discs() -> Truth:
    """16 s at 10 Hz: 0 is out of sight from 6.5 to 8 s, 1 goes right from 9 to 11 s, 2 stays."""
    seg = np.zeros((COUNT, 120, 160), np.uint8)
    world = np.zeros((COUNT, 3, 3))
    share = np.ones((COUNT, 3))
    rows, columns = np.mgrid[:120, :160]
    for k in range(COUNT):
        at = k / 10
        shift = 30 * min(max((at - 9) / 2, 0), 1)
        for i, (x, y) in enumerate(((30, 60), (70 + shift, 30), (130, 90))):
            world[k, i] = (x / 100, y / 100, 0)
            seg[k][np.hypot(columns - x, rows - y) < 14] = i + 1
        if 6.5 <= at <= 8:
            seg[k][seg[k] == HIDER + 1] = 0
            share[k, HIDER] = 0
    words = [{'category': category, 'colour': colour, 'pattern': 'plain', 'size': 'small'}
             for category, colour in (('mug', 'red'), ('ball', 'green'), ('book', 'blue'))]
    return Truth(
        stamps_ns=np.array([stamp(k / 10) for k in range(COUNT)]), seg=seg, share=share,
        world=world, level=np.tile(np.eye(3)[:2], (COUNT, 1, 1)),
        support=np.full((COUNT, 3), -1), inside=np.zeros((COUNT, 3), bool), words=words,
        cast=Cast(HIDER, MOVER, BYSTANDER, stamp(1), (stamp(6.5), stamp(8)), (stamp(9), stamp(11))),
        rate_hz=10.0, still_m=0.01)


@dataclass
class OracleRobot:
    """Implements Robot from the truth. lies: how many of its first answers are wrong. swapped:
    from this second on, two ids carry one another's masks. blind: the masks of this id are empty
    from the second given on."""

    truth: Truth
    lies: int = 0
    swapped: float = np.inf
    blind: dict[str, float] = field(default_factory=dict)
    recording: Recording = field(default_factory=Recording)
    asked: list[str] = field(default_factory=list)
    prompts: dict[str, Prompt] = field(default_factory=dict)
    tracked: bool = True
    _row: int = -1

    def look(self, stamp_ns: int) -> int:
        while self._row < 0 or self.truth.stamps_ns[self._row] < stamp_ns:
            if self._row + 1 == COUNT:
                raise RobotError('the film is over')
            self._row += 1
            self._show()
        return int(self.truth.stamps_ns[self._row])

    def select(self, prompts: dict[str, Prompt], stamp_ns: int) -> None:
        self.prompts = prompts
        self._show()

    def describe(self, object_ids: list[str], detail: str) -> list[Reply]:
        now = int(self.truth.stamps_ns[self._row])
        scene = self.truth.scene(NAMES[object_ids[0]], now)
        text = scene.category if detail == 'category' else (
            f'A {scene.size} {scene.pattern} {scene.colour} {scene.category} {scene.support}, '
            f"at the {' '.join(scene.sentence.split(', ')[-1].split())} of the image.")
        return [self._reply(text, [now])]

    def ask(self, question: str, object_ids: list[str], start_ns: int = 0,
            end_ns: int = 0) -> Reply:
        now = int(self.truth.stamps_ns[self._row])
        i, *others = (NAMES[name] for name in object_ids)
        if 'last' in question:
            seconds = (self.truth.last_visible(i, end_ns) - start_ns) / NS
            return self._reply(f'At {seconds:.1f}.', [start_ns, end_ns])
        if 'first,' in question:
            return self._reply(self.truth.side(i, others[0], start_ns), [start_ns, end_ns])
        if end_ns:
            return self._reply(self.truth.motion(i, start_ns, end_ns), [start_ns, end_ns])
        return self._reply(self.truth.side(i, others[0], now), [now])

    def let_go(self, object_ids: list[str]) -> None:
        self.tracked = False

    def find(self, words: str) -> Reply:
        colour, category = words.split()
        i = next(i for i, one in enumerate(self.truth.words)
                 if (one['colour'], one['category']) == (colour, category))
        return self._reply(next(name for name in NAMES if NAMES[name] == i),
                           [int(self.truth.stamps_ns[self._row])])

    def finish(self) -> None:
        while self._row + 1 < COUNT:
            self._row += 1
            self._show()

    def _reply(self, text: str, stamps_ns: list[int]) -> Reply:
        self.asked.append(text)
        if len(self.asked) <= self.lies:
            text = 'a thing'
        return Reply(text, stamps_ns)

    def _show(self) -> None:
        now = int(self.truth.stamps_ns[self._row])
        at = self._row / 10
        self.recording.pictures[now] = cv2.imencode(
            '.jpg', np.repeat(self.truth.seg[self._row][..., None] * 60, 3, axis=2))[1].tobytes()
        label = np.zeros(self.truth.seg.shape[1:], np.uint16)
        sightings = {}
        for name in self.prompts:
            i = NAMES[name]
            if at >= self.swapped and i in (HIDER, MOVER):
                i = HIDER + MOVER - i
            if at < self.blind.get(name, np.inf):
                label[self.truth.mask(i, now)] = NAMES[name] + 1
            sightings[name] = Sighting(NAMES[name] + 1, 'TRACKED', 1.0)
        self.recording.labels[now], self.recording.objects[now] = label, sightings


def write_discs(bag: Path) -> None:
    """The world of the discs as a bag with its truth, as the packaged one is."""
    truth = discs()
    store = get_typestore(Stores.ROS2_JAZZY)
    kind = 'sensor_msgs/msg/CompressedImage'
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection('/camera/image_raw/compressed', kind, typestore=store)
        for stamp_ns, seg in zip(truth.stamps_ns.tolist(), truth.seg):
            header = store.types['std_msgs/msg/Header'](
                store.types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, NS)), 'camera')
            jpeg = cv2.imencode('.jpg', np.repeat(seg[..., None] * 60, 3, axis=2))[1]
            message = store.types[kind](header, 'rgb8; jpeg compressed bgr8', jpeg.ravel())
            writer.write(topic, stamp_ns, store.serialize_cdr(message, kind))
    np.savez_compressed(bag / 'truth.npz', **{name: getattr(truth, name) for name in (
        'stamps_ns', 'seg', 'share', 'world', 'level', 'support', 'inside')})
    words = {'objects': truth.words, 'cast': asdict(truth.cast), 'rate_hz': truth.rate_hz,
             'still_m': truth.still_m}
    (bag / 'truth.json').write_text(json.dumps(words))
