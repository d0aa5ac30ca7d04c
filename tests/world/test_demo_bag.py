# SPDX-License-Identifier: Apache-2.0
"""The packaged bag is the scene that training/demo_bag.py sets, as a camera would give it."""

from __future__ import annotations

import json
from collections import Counter

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from training import demo_bag
from training.world import ScenePlan, World


@pytest.fixture(scope='module')
def plan(world: World) -> ScenePlan:
    return demo_bag.stage(world)


@pytest.fixture(scope='module')
def truth() -> dict[str, np.ndarray]:
    with np.load(demo_bag.TARGET / 'truth.npz') as arrays:
        return dict(arrays)


@pytest.fixture(scope='module')
def messages() -> list[tuple[str, int, object]]:
    with AnyReader([demo_bag.TARGET]) as reader:
        return [(connection.topic, stamp, reader.deserialize(raw, connection.msgtype))
                for connection, stamp, raw in reader.messages()]


def test_the_bag_shows_the_scene_that_is_set_here(world: World, plan: ScenePlan,
                                                  truth: dict[str, np.ndarray],
                                                  messages: list) -> None:
    pictures = [m for topic, _, m in messages if topic.endswith('compressed')]
    for number in (0, 75, 120, 199):
        shot = world.render(plan, float(demo_bag.times()[number]))
        kept = cv2.imdecode(pictures[number].data, cv2.IMREAD_COLOR)[..., ::-1]
        # Another OpenGL may differ in a pixel here and there, JPEG does everywhere.
        assert np.mean(shot.seg == truth['seg'][number]) > 0.99
        assert np.mean(np.abs(shot.rgb.astype(int) - kept)) < 5


def test_every_message_carries_its_own_stamp_and_the_optical_frame(messages: list) -> None:
    count = Counter(topic for topic, _, _ in messages)
    frames = len(demo_bag.times())
    assert count == {'/camera/image_raw/compressed': frames, '/camera/camera_info': frames,
                     '/camera/depth/image_raw': frames // demo_bag.DEPTH_EVERY}
    for _, stamp, message in messages:
        header = message.header
        assert header.stamp.sec * demo_bag.NS + header.stamp.nanosec == stamp
        assert header.frame_id == 'camera_color_optical_frame'


def test_depth_and_camera_info_put_the_table_where_it_is(plan: ScenePlan, messages: list) -> None:
    depth = next(m for topic, _, m in messages if topic.endswith('depth/image_raw'))
    info = next(m for topic, _, m in messages if topic.endswith('camera_info'))
    assert depth.encoding == '16UC1' and depth.step == depth.width * 2
    metres = depth.data.view('<u2').reshape(depth.height, depth.width) / 1000
    v, u = np.nonzero(metres)
    rays = np.stack([u, v, np.ones_like(u)], 1) @ np.linalg.inv(info.k.reshape(3, 3)).T
    pose = plan.camera.pose(0.0)
    points = rays * metres[v, u][:, None] @ pose.rotation.T + pose.position
    over = (np.abs(points[:, :2]) < (0.79, 0.59)).all(1)
    assert np.median(np.abs(points[over, 2])) < 0.003


def test_the_bottle_is_out_of_sight_about_a_second_and_only_the_mug_moves(
        truth: dict[str, np.ndarray]) -> None:
    words = json.loads((demo_bag.TARGET / 'truth.json').read_text(encoding='utf-8'))
    cast, stamps = words['cast'], truth['stamps_ns']
    hidden = (stamps >= cast['hidden_ns'][0]) & (stamps <= cast['hidden_ns'][1])
    seen = truth['share'][:, cast['hider']]
    assert not seen[hidden].any() and 0.9 < hidden.sum() / demo_bag.RATE_HZ < 1.5
    assert (seen[stamps > cast['hidden_ns'][1] + demo_bag.NS] > 0.9).all()
    way = np.linalg.norm(truth['world'][-1] - truth['world'][0], axis=1)
    assert 0.1 < way[cast['mover']] < 0.35
    assert not np.delete(way, cast['mover']).any()
    assert words['motion'][cast['mover']] == 'left'


def test_the_bag_stays_small() -> None:
    assert sum(path.stat().st_size for path in demo_bag.TARGET.iterdir()) < 6e6
