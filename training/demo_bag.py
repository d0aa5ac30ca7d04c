# SPDX-License-Identifier: Apache-2.0
"""Makes the demo's bag: one scene of 20 s, written as MCAP with its truth beside it.

    python training/demo_bag.py                  write pixelrefer_ros/demo/bag anew

The scene is set by hand: what stands where, how the camera looks around, and what happens. A mug is
pushed, then a board hides a bottle for a second. It is no scene of any seed, so nothing was trained
on it; table, light and clutter are those of test seed SEED.
Topics: /camera/image_raw/compressed (JPEG), /camera/depth/image_raw (16UC1, mm, every other frame)
and /camera/camera_info, all in camera_color_optical_frame.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from training.world import Contract, ObjectSpec, ScenePlan, World  # noqa: E402
from training.world import objects as shapes  # noqa: E402
from training.world.camera import CameraPath, Pinhole, image_motion  # noqa: E402
from training.world.events import Move  # noqa: E402
from training.world.layout import Places  # noqa: E402
from training.world.look import sample_look  # noqa: E402
from training.world.planner import Happenings  # noqa: E402

SEED, SECONDS, RATE_HZ = 1_000_008, 20.0, 10
SELECT_S, MOVED_S, HIDDEN_S = 1.0, (6.4, 8.4), (11.5, 12.6)
START_NS, NS = 1_735_689_600 * 10**9, 10**9      # 2025-01-01 00:00:00 UTC
FRAME_ID = 'camera_color_optical_frame'
DEPTH_EVERY, DEPTH_LIMIT_MM = 2, 2500            # farther is 0, as of a depth camera out of range
JPEG_QUALITY = 90
LEAST_AREA = 600
TARGET = ROOT / 'pixelrefer_ros' / 'demo' / 'bag'

#: Looks at the middle of the table from 0.85 m, 34 degrees down, and round about it.
CAMERA = CameraPath(position=(0.0, -0.705, 0.495), yaw=np.pi / 2, pitch=np.radians(34), rate=2.0,
                    phase=0.4, turn=(0.075, 0.050), drift=(0.035, 0.015, 1.0), roll=(0.01, 0.05),
                    sway=(0.05, 0.03, 0.015), sense=1)
HIDER, MOVER, BYSTANDER = CAST = range(3)        # what plays a part, by index in STAGE
#: Words, scale, layout of the pattern, and where: the pixel of its bottom middle as the camera
#: rests, or the index of what carries it; then its turn about the vertical in radians.
STAGE = ((('bottle', 'green', 'plain', 'large', 'tall'), 1.12, 0, (86, 140), 0.3),
         (('mug', 'red', 'striped', 'large', 'straight'), 1.22, 0, (232, 186), 0.2),
         (('can', 'blue', 'checkered', 'large', 'soda'), 1.25, 0, (166, 118), 0.5),
         (('plate', 'white', 'plain', 'small', 'round'), 0.80, 0, (258, 112), 0.0),
         (('book', 'purple', 'plain', 'small', 'lying'), 0.78, 0, (78, 200), 0.5),
         (('ball', 'yellow', 'plain', 'small', 'sphere'), 0.76, 0, 3, 0.0))
PUSH_M = (-0.20, 0.02)                           # along the world's x and y


def times() -> np.ndarray:
    """Seconds of every frame."""
    return np.arange(int(SECONDS * RATE_HZ)) / RATE_HZ


def stage(world: World) -> ScenePlan:
    """The scene as a plan, checked: the cast is well seen whenever it should be.

    Raises RuntimeError where what is set here does not come out as it is meant.
    """
    contract = world.contract
    seed = contract.seed(SEED, 'test')
    rng = np.random.default_rng(seed)
    places = Places(rng, contract, CAMERA, SECONDS)
    specs: list[ObjectSpec] = []
    for words, scale, layout, where, turn in STAGE:
        spec = ObjectSpec(*words, scale, layout, 1.0, (0, 0, 0), shapes.about('z', turn))
        if isinstance(where, int):
            below = specs[where]
            rest = (*below.rest[:2], below.form.top * below.scale)
            spec = replace(spec, rest=rest, support=where, relation=below.form.carries)
        else:
            spec = replace(spec, rest=_ground(*where, contract))
            places.spots.append((*spec.rest[:2], spec.form.radius * scale))
        specs.append(spec)
    start = specs[MOVER].rest
    end = (start[0] + PUSH_M[0], start[1] + PUSH_M[1], 0.0)
    happenings = Happenings(rng, contract, CAMERA, SECONDS, tuple(specs), places)
    if not happenings.cover(HIDER, HIDDEN_S):
        raise RuntimeError('the board finds no place before the bottle')
    # Clutter lies where nothing stands or comes along.
    places.spots += [(start[0] + PUSH_M[0] * s, start[1] + PUSH_M[1] * s, places.spots[MOVER][2])
                     for s in (.25, .5, .75, 1.0)]
    plan = ScenePlan(seed, 'test', SECONDS, 'events', tuple(specs), CAMERA,
                     (Move(MOVER, 'push', *MOVED_S, start, end),), tuple(happenings.covers),
                     sample_look(rng, places), contract)
    _check(world, plan)
    return plan


def _ground(u: float, v: float, contract: Contract) -> tuple[float, float, float]:
    """The table point that the resting camera sees at a pixel."""
    rest = replace(CAMERA, turn=(0, 0), drift=(0, 0, 0), roll=(0, 0), sway=(0, 0, 0)).pose(0)
    ray = rest.rotation @ Pinhole.of(contract).ray(u, v)
    point = rest.position - ray * rest.position[2] / ray[2]
    return float(point[0]), float(point[1]), 0.0


def _check(world: World, plan: ScenePlan) -> None:
    """Raise RuntimeError where the cast is not as well seen as a demo needs."""
    low, high = plan.contract.camera['speed']
    table = np.array([(x, y, .04) for x in (-.3, 0, .3) for y in (-.25, 0, .25)])
    speed = image_motion(CAMERA, table, Pinhole.of(plan.contract), times())
    if not low <= speed.mean() <= high:
        raise RuntimeError(f'the camera moves {speed.mean():.1f} px a frame')
    for t in np.arange(0, SECONDS, .5):
        seg, amodal = world.segment(plan, t), world.amodal(plan, t)
        passing = HIDDEN_S[0] - 1 < t < HIDDEN_S[1] + 1
        for i in CAST:
            area = int((seg == i + 1).sum())
            hull = plan.hull(i, t)
            if not ((hull > 2).all() and (hull < (plan.contract.width - 3,
                                                  plan.contract.height - 3)).all()):
                raise RuntimeError(f'object {i} is cut by the image edge at {t:.1f} s')
            if amodal[i] < LEAST_AREA or (not passing and area < .9 * amodal[i]):
                raise RuntimeError(f'object {i} shows {area} of {amodal[i]} px at {t:.1f} s')
    for i, j in ((HIDER, BYSTANDER), (HIDER, MOVER)):
        if not all(plan.relation(i, j, t).side_clear for t in times()):
            raise RuntimeError(f'it is in doubt whether object {i} is left of object {j}')


def write(world: World, plan: ScenePlan, target: Path) -> None:
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
    _write_words(target, plan, stamps, arrays)


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


def _write_words(target: Path, plan: ScenePlan, stamps: list[int],
                 arrays: dict[str, np.ndarray]) -> None:
    """truth.json: the objects in words, who plays which part and when, what was true of them."""
    hidden = np.flatnonzero(arrays['share'][:, HIDER] == 0)
    move = plan.moves[0]
    count = len(plan.objects)
    middle = SECONDS / 2
    words = {
        'objects': [spec.words for spec in plan.objects],
        'cast': {'hider': HIDER, 'mover': MOVER, 'bystander': BYSTANDER,
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
    parser.add_argument('--target', type=Path, default=TARGET, help='folder of the bag')
    given = parser.parse_args(arguments)
    with World() as world:
        write(world, stage(world), given.target)
    size = sum(path.stat().st_size for path in given.target.iterdir())
    print(f'{given.target}: {len(times())} frames, {size / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
