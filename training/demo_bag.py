# SPDX-License-Identifier: Apache-2.0
"""Makes the demo's bag: one test scene of 20 s, written as MCAP with its truth beside it.

    python training/demo_bag.py                  write pixelrefer_ros/demo/bag anew
    python training/demo_bag.py --search 200     look through test seeds for scenes that fit

Objects, places, look and camera are drawn from test seed SEED, which no training touches; what
happens is scripted here: one object is pushed, then a board hides another for a second.
Topics: /camera/image_raw/compressed (JPEG), /camera/depth/image_raw (16UC1, mm, every other frame)
and /camera/camera_info, all in camera_color_optical_frame.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from training.world import ScenePlan, World  # noqa: E402
from training.world.camera import Pinhole, image_motion, sample_path  # noqa: E402
from training.world.layout import Places, Words, hull_area  # noqa: E402
from training.world.look import sample_look  # noqa: E402
from training.world.planner import Happenings  # noqa: E402

SEED, SECONDS, RATE_HZ = 1_000_038, 20.0, 10
SELECT_S, MOVED_S, HIDDEN_S = 1.0, (6.4, 8.4), (11.5, 12.6)
START_NS, NS = 1_735_689_600 * 10**9, 10**9      # 2025-01-01 00:00:00 UTC
FRAME_ID = 'camera_color_optical_frame'
DEPTH_EVERY, DEPTH_LIMIT_MM = 2, 2500            # farther is 0, as of a depth camera out of range
JPEG_QUALITY = 90
LEAST_AREA, MOST_SPEED, NARROWER, FARTHEST_M = 900, 5.0, 0.7, 0.9
COUNTS, LAYOUTS, SALT = (5, 6), 60, 0xDE30
TARGET = ROOT / 'pixelrefer_ros' / 'demo' / 'bag'


@dataclass(frozen=True)
class Part:
    """Who plays which part, by index: `hider` is hidden, `mover` pushed, `bystander` neither."""

    hider: int
    mover: int
    bystander: int


def times() -> np.ndarray:
    """Seconds of every frame."""
    return np.arange(int(SECONDS * RATE_HZ)) / RATE_HZ


def stage(world: World, seed: int) -> tuple[ScenePlan, Part] | None:
    """The scripted scene of test seed `seed`, or None where it does not fit.

    Words, places, look and camera are drawn as for any scene, but nothing is put in front of
    anything on purpose and the camera's turns are narrower, so that all stays in view for 20 s. It
    fits when three objects of different categories and colours stand by themselves at a good size,
    so that one can be hidden and another be pushed without the third being touched.
    """
    contract = world.contract
    rng = np.random.default_rng((SALT, contract.seed(seed, 'test')))
    path = sample_path(rng, contract, SECONDS)
    camera = replace(path, turn=tuple(NARROWER * np.array(path.turn)),
                     drift=(*(NARROWER * np.array(path.drift[:2])), path.drift[2]))
    grid = np.array([(x, y, .04) for x in (-.3, 0, .3) for y in (-.25, 0, .25)])
    speed = image_motion(camera, grid, Pinhole.of(contract), times()).mean()
    if not contract.camera['speed'][0] < speed < MOST_SPEED or np.linalg.norm(
            path.position) > FARTHEST_M:
        return None
    for _ in range(LAYOUTS):
        drafts = Words(rng, contract, 'test').draw()
        places = Places(rng, contract, camera, SECONDS, hiding=0.0, cutting=0.0)
        if len(drafts) not in COUNTS or (specs := places.put(drafts)) is None:
            continue
        plan = ScenePlan(contract.seed(seed, 'test'), 'test', SECONDS, 'events', specs, camera,
                         (), (), sample_look(rng, places), contract)
        if (found := _cast(world, plan, rng)) is not None:
            return found
    return None


def _cast(world: World, plan: ScenePlan, rng: np.random.Generator
          ) -> tuple[ScenePlan, Part] | None:
    """The first three objects that can play the parts, and the plan with what happens to them."""
    seen = np.linspace(0, SECONDS, 21)
    free = [i for i, spec in enumerate(plan.objects)
            if (spec.category, spec.colour) not in plan.contract.held_out and spec.support < 0
            and not any(other.support == i for other in plan.objects)
            and all(_inside(plan, i, t) and _large(plan, i, t) and _apart(plan, i, t)
                    for t in seen)]
    for order in permutations(free, 3):
        cast = [plan.objects[i] for i in order]
        if len({spec.category for spec in cast}) < 3 or len({spec.colour for spec in cast}) < 3:
            continue
        part = Part(*order)
        if (made := _script(plan, part, rng)) is not None and _plays(world, made, part):
            return made, part
    return None


def _inside(plan: ScenePlan, i: int, t: float) -> bool:
    """Whether all of object i lies in the image."""
    hull, contract = plan.hull(i, t), plan.contract
    return bool((hull > 4).all() and (hull < (contract.width - 5, contract.height - 5)).all())


def _large(plan: ScenePlan, i: int, t: float) -> bool:
    return hull_area(plan.hull(i, t)) > LEAST_AREA


def _apart(plan: ScenePlan, i: int, t: float) -> bool:
    """Whether nothing else is before, behind or right beside object i in the image."""
    low, high = plan.hull(i, t).min(0), plan.hull(i, t).max(0)
    for j in range(len(plan.objects)):
        other = plan.hull(j, t)
        if j != i and (low < other.max(0) + 3).all() and (other.min(0) - 3 < high).all():
            return False
    return True


def _script(plan: ScenePlan, part: Part, rng: np.random.Generator) -> ScenePlan | None:
    """The plan with the push and the board in it, clutter taken out of the way of the push; None
    when push or board finds no room."""
    places = Places(rng, plan.contract, plan.camera, plan.seconds)
    places.spots = [(*spec.rest[:2], spec.form.radius * spec.scale) for spec in plan.objects
                    if spec.support < 0]
    happenings = Happenings(rng, plan.contract, plan.camera, plan.seconds, plan.objects, places)
    for way in rng.permutation(('left', 'right')):
        if happenings.travel(part.mover, 'push', str(way), MOVED_S):
            break
    else:
        return None
    if not happenings.cover(part.hider, HIDDEN_S):
        return None
    way = happenings.moves[0]
    room = plan.objects[part.mover].form.radius * plan.objects[part.mover].scale
    clear = [k for k, geom in enumerate(plan.look.clutter)
             if not any(np.hypot(*np.subtract(geom.pos, way.position(t))[:2])
                        < room + max(geom.size) for t in np.linspace(way.t0, way.t1, 12))]
    look = replace(plan.look, clutter=tuple(plan.look.clutter[k] for k in clear),
                   clutter_rgb=tuple(plan.look.clutter_rgb[k] for k in clear))
    return replace(plan, moves=tuple(happenings.moves),
                   covers=tuple(happenings.covers), look=look)


def _plays(world: World, plan: ScenePlan, part: Part) -> bool:
    """Whether the cast is well seen whenever it should be, and stands clear from left to right."""
    cast = (part.hider, part.mover, part.bystander)
    for t in np.arange(0, SECONDS, .8):
        seg, amodal = world.segment(plan, t), world.amodal(plan, t)
        passing = HIDDEN_S[0] - 1 < t < HIDDEN_S[1] + 1
        for i in cast:
            area = int((seg == i + 1).sum())
            if not _inside(plan, i, t) or amodal[i] < .8 * LEAST_AREA:
                return False
            if not passing and area < .9 * amodal[i]:
                return False
    step = np.subtract(plan.moves[0].end, plan.moves[0].start)
    sides = [plan.relation(i, part.bystander, t) for i in (part.hider, part.mover)
             for t in (0.0, 5.0, SECONDS)]
    return bool(np.hypot(*step[:2]) > .16 and all(side.side_clear for side in sides))


def write(world: World, plan: ScenePlan, part: Part, target: Path) -> None:
    """Render the scene into `target`, replacing what is there: bag, truth.json and truth.npz."""
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    store = get_typestore(Stores.ROS2_JAZZY)
    seen: dict[str, list] = {name: [] for name in ('seg', 'share', 'world', 'level', 'support',
                                                   'inside')}
    stamps = [START_NS + round(t * NS) for t in times()]
    # Bags of version 9 and storage mcap are what Jazzy's own rosbag2 writes.
    writer = Writer(target, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        topics = {topic: (writer.add_connection(topic, kind, typestore=store), kind)
                  for topic, kind in (
                      ('/camera/image_raw/compressed', 'sensor_msgs/msg/CompressedImage'),
                      ('/camera/depth/image_raw', 'sensor_msgs/msg/Image'),
                      ('/camera/camera_info', 'sensor_msgs/msg/CameraInfo'))}
        for number, (t, stamp) in enumerate(zip(times(), stamps)):
            shot = world.render(plan, float(t), depth=True)
            messages = [_info(store, plan, stamp), _picture(store, shot.rgb, stamp)]
            if number % DEPTH_EVERY == 0:
                messages.append(_depth(store, shot.depth, stamp))
            for topic, message in messages:
                connection, kind = topics[topic]
                writer.write(connection, stamp, store.serialize_cdr(message, kind))
            _note(seen, world, plan, float(t), shot.seg)
    arrays = {name: np.array(values) for name, values in seen.items()}
    np.savez_compressed(target / 'truth.npz', stamps_ns=np.array(stamps), **arrays)
    _write_words(target, plan, part, stamps, arrays)


def _note(seen: dict[str, list], world: World, plan: ScenePlan, t: float, seg: np.ndarray) -> None:
    count = len(plan.objects)
    amodal = world.amodal(plan, t)
    areas = np.bincount(seg.ravel(), minlength=count + 1)[1:]
    supports = [plan.support(i, t) for i in range(count)]
    seen['seg'].append(seg)
    seen['share'].append((areas / np.maximum(amodal, 1)).astype(np.float32))
    seen['world'].append(np.stack([plan.position(i, t) for i in range(count)]).astype(np.float32))
    seen['level'].append(np.stack(plan.camera.pose(t).horizontal()).astype(np.float32))
    seen['support'].append(np.array([carrier for carrier, _ in supports], np.int8))
    seen['inside'].append(np.array([relation == 'in' for _, relation in supports]))


def _write_words(target: Path, plan: ScenePlan, part: Part, stamps: list[int],
                 arrays: dict[str, np.ndarray]) -> None:
    """truth.json: the objects in words, who plays which part and when, what was true of them."""
    hidden = np.flatnonzero(arrays['share'][:, part.hider] == 0)
    move = plan.moves[0]
    count = len(plan.objects)
    middle = SECONDS / 2
    words = {
        'objects': [spec.words for spec in plan.objects],
        'cast': {'hider': part.hider, 'mover': part.mover, 'bystander': part.bystander,
                 'select_ns': START_NS + round(SELECT_S * NS),
                 'hidden_ns': [stamps[hidden[0]], stamps[hidden[-1]]],
                 'moved_ns': [START_NS + round(move.t0 * NS), START_NS + round(move.t1 * NS)]},
        'rate_hz': RATE_HZ, 'still_m': plan.contract.events['still'],
        'scene': {'seed': plan.seed, 'split': plan.split, 'seconds': plan.seconds},
        'motion': [plan.motion(i, *MOVED_S) for i in range(count)],
        'left_of': [[i, j] for i in range(count) for j in range(count) if i != j
                    and plan.relation(i, j, middle).side_clear
                    and plan.relation(i, j, middle).side == 'left'],
        'behind': [[i, j] for i in range(count) for j in range(count) if i != j
                   and plan.relation(i, j, middle).depth_clear
                   and plan.relation(i, j, middle).depth == 'behind']}
    (target / 'truth.json').write_text(json.dumps(words, indent=1) + '\n', encoding='utf-8')


def _header(store: object, stamp: int) -> object:
    kinds = store.types
    return kinds['std_msgs/msg/Header'](
        stamp=kinds['builtin_interfaces/msg/Time'](sec=stamp // NS, nanosec=stamp % NS),
        frame_id=FRAME_ID)


def _picture(store: object, rgb: np.ndarray, stamp: int) -> tuple[str, object]:
    done, data = cv2.imencode('.jpg', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR),
                              [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise RuntimeError('OpenCV could not encode a JPEG')
    return '/camera/image_raw/compressed', store.types['sensor_msgs/msg/CompressedImage'](
        header=_header(store, stamp), format='rgb8; jpeg compressed bgr8', data=data.reshape(-1))


def _depth(store: object, depth: np.ndarray, stamp: int) -> tuple[str, object]:
    metres = np.round(depth * 1000)
    millimetres = np.where(metres > DEPTH_LIMIT_MM, 0, metres).astype('<u2')
    height, width = millimetres.shape
    return '/camera/depth/image_raw', store.types['sensor_msgs/msg/Image'](
        header=_header(store, stamp), height=height, width=width, encoding='16UC1',
        is_bigendian=0, step=width * 2, data=millimetres.reshape(-1).view(np.uint8))


def _info(store: object, plan: ScenePlan, stamp: int) -> tuple[str, object]:
    pinhole, kinds = Pinhole.of(plan.contract), store.types
    k = np.array([pinhole.focal, 0, pinhole.cx, 0, pinhole.focal, pinhole.cy, 0, 0, 1.0])
    p = np.insert(k.reshape(3, 3), 3, 0, axis=1).reshape(-1)
    return '/camera/camera_info', kinds['sensor_msgs/msg/CameraInfo'](
        header=_header(store, stamp), height=pinhole.height, width=pinhole.width,
        distortion_model='plumb_bob', d=np.zeros(5), k=k, r=np.eye(3).reshape(-1), p=p,
        binning_x=0, binning_y=0, roi=kinds['sensor_msgs/msg/RegionOfInterest'](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False))


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description='Make the bag of the demo.')
    parser.add_argument('--seed', type=int, default=SEED, help='test seed of the scene')
    parser.add_argument('--search', type=int, default=0, metavar='N',
                        help='print which of the next N test seeds fit, and write nothing')
    parser.add_argument('--target', type=Path, default=TARGET, help='folder of the bag')
    given = parser.parse_args(arguments)
    with World() as world:
        for seed in range(given.seed, given.seed + given.search):
            if (found := stage(world, seed)) is not None:
                print(seed, found[1], [tuple(spec.words.values()) for spec in found[0].objects])
        if given.search:
            return
        found = stage(world, given.seed)
        if found is None:
            raise SystemExit(f'the scene of test seed {given.seed} does not fit the script')
        write(world, *found, given.target)
    size = sum(path.stat().st_size for path in given.target.iterdir())
    print(f'{given.target}: {len(times())} frames, {size / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
