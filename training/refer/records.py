# SPDX-License-Identifier: Apache-2.0
"""Training records: frames of a scene with masks and facts, kept in shards on disk.

A record is one frame of a scene, or a clip of four frames 0.5 to 1 s apart. Frames are kept as
JPEG, which is also what a camera's compressed topic gives.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from training.refer.facts import Fact, facts_of
from training.world import World
from training.world.camera import Pose

#: Frames of a clip, and the seconds between them.
CLIP_FRAMES, CLIP_STEP = 4, (0.5, 1.0)
JPEG_QUALITY = (82, 98)


@dataclass(frozen=True)
class View:
    """One frame: encoded image and object indices, facts of every object, camera pose."""

    jpeg: bytes
    png: bytes
    facts: list[Fact]
    pose: Pose

    def image(self) -> np.ndarray:
        """uint8 [H, W, 3], RGB."""
        return cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]

    def seg(self) -> np.ndarray:
        """uint8 [H, W]: 0 for nothing, i + 1 for object i."""
        return cv2.imdecode(np.frombuffer(self.png, np.uint8), cv2.IMREAD_GRAYSCALE)


@dataclass(frozen=True)
class Record:
    """One or four frames of a scene; seconds since the first of them."""

    seed: int
    seconds: list[float]
    views: list[View]


def make_record(world: World, seed: int, split: str, clip: bool) -> Record:
    """Render a record; the same for the same arguments."""
    rng = np.random.default_rng((seed, int(clip), 7))
    step = float(rng.uniform(*CLIP_STEP)) if clip else 0.0
    length = 3.3 if not clip else (CLIP_FRAMES - 1) * step + 0.2
    plan = world.plan(seed, split, length, 'motion' if clip else None)
    start = float(rng.uniform(0, 0.2 if clip else length))
    seconds = [k * step for k in range(CLIP_FRAMES if clip else 1)]
    views = []
    for t in (start + s for s in seconds):
        shot = world.render(plan, t)
        quality = int(rng.integers(*JPEG_QUALITY))
        jpeg = cv2.imencode('.jpg', shot.rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        png = cv2.imencode('.png', shot.seg)[1]
        views.append(View(jpeg.tobytes(), png.tobytes(), facts_of(plan, t, shot.seg),
                          plan.camera_pose(t)))
    return Record(seed, seconds, views)


def write_shard(path: Path, records: list[Record]) -> None:
    """Write records so that a reader never meets half a file."""
    index = []
    part = path.with_suffix('.part')
    with zipfile.ZipFile(part, 'w', zipfile.ZIP_STORED) as shard:
        for n, record in enumerate(records):
            index.append({'seed': record.seed, 'seconds': record.seconds, 'views': [
                {'facts': [asdict(f) for f in view.facts],
                 'position': view.pose.position.tolist(), 'rotation': view.pose.rotation.tolist()}
                for view in record.views]})
            for k, view in enumerate(record.views):
                shard.writestr(f'{n}_{k}.jpg', view.jpeg)
                shard.writestr(f'{n}_{k}.png', view.png)
        shard.writestr('index.json', json.dumps(index))
    part.rename(path)


def read_shard(path: Path) -> Iterator[Record]:
    """The records of a shard."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as shard:
        for n, one in enumerate(json.loads(shard.read('index.json'))):
            views = [View(
                shard.read(f'{n}_{k}.jpg'), shard.read(f'{n}_{k}.png'),
                [Fact(**{**f, 'camera': tuple(f['camera']), 'world': tuple(f['world'])})
                 for f in view['facts']],
                Pose(np.array(view['position']), np.array(view['rotation'])))
                for k, view in enumerate(one['views'])]
            yield Record(one['seed'], one['seconds'], views)
