# SPDX-License-Identifier: Apache-2.0
"""`ros2 launch` starts real nodes as its arguments say, and ends them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rcl_interfaces.srv import GetParameters
from ros_support import ROOT, WATCHDOG, Client, to_ns
from rosbags.highlevel import AnyReader

from pixelrefer_ros.demo.processes import own_domain

pytest.importorskip('ros2cli', reason='ros2cli is not installed')
pytest.importorskip('launch_ros', reason='launch is not installed')

BAG = ROOT / 'pixelrefer_ros' / 'demo' / 'bag'
ROS2 = [sys.executable, '-c', 'import sys; from ros2cli.cli import main; sys.exit(main())']


@contextmanager
def launched(file: str, log: Path, **arguments: object) -> Iterator[tuple[subprocess.Popen, Client]]:
    """`ros2 launch` of a file of this package, with a client on its domain."""
    with own_domain() as domain, log.open('w') as out:
        process = subprocess.Popen(
            [*ROS2, 'launch', ROOT / 'launch' / file,
             *(f'{name}:={value}' for name, value in arguments.items())],
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True, env={
                **os.environ, 'ROS_DOMAIN_ID': str(domain), 'OMP_NUM_THREADS': '1',
                'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'ROS_LOG_DIR': str(log.parent),
                'PATH': os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']]),
                'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])})
        try:
            with Client(domain) as client:
                yield process, client
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(WATCHDOG)


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., object]:
    parameters = tmp_path / 'parameters.yaml'
    parameters.write_text('/**: {ros__parameters: {image_transport: compressed, max_objects: 3}}')

    def start(file: str, **arguments: object) -> object:
        return launched(file, tmp_path / 'log', params_file=parameters, **arguments)
    return start


def listens(client: Client, *topics: str) -> None:
    client.until(lambda: all(map(client.node.count_subscribers, topics)),
                 f'subscriptions to {topics}')


def test_the_parameter_file_counts_where_an_argument_is_left_out(launch):
    with launch('pixelrefer.launch.py', image='/eye', namespace='robot') as (process, client):
        listens(client, '/eye/compressed')
        assert client.node.count_publishers('/robot/pixelrefer/objects') == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(WATCHDOG) == 0


def test_an_argument_wins_over_the_parameter_file(launch):
    with launch('pixelrefer.launch.py', image='/eye', image_transport='raw') as (_, client):
        listens(client, '/eye')
        assert not client.node.count_subscribers('/eye/compressed')


def test_several_cameras_are_served_under_their_own_topics(launch):
    with launch('multi_camera.launch.py', cameras='front,rear', image='/{camera}/rgb',
                camera_info='/info/{camera}') as (process, client):
        listens(client, '/front/rgb/compressed', '/rear/rgb/compressed', '/info/front',
                '/info/rear', '/front/depth/image_raw', '/rear/depth/image_raw')
        client.until(lambda: all(client.node.count_publishers(f'/pixelrefer/{name}/objects')
                                 for name in ('front', 'rear')), 'publishers of both cameras')
        process.send_signal(signal.SIGINT)
        assert process.wait(WATCHDOG) == 0


@pytest.mark.parametrize(('file', 'arguments', 'topics'), [
    ('pixelrefer.launch.py', {'depth': '/eye/depth'}, ['/eye/depth/compressedDepth']),
    ('multi_camera.launch.py', {'cameras': 'front,rear', 'depth': '/{camera}/d'},
     ['/front/d/compressedDepth', '/rear/d/compressedDepth'])])
def test_compressed_depth_is_found_below_the_depth_topic(launch, tmp_path, file, arguments, topics):
    (tmp_path / 'parameters.yaml').write_text(
        '/**: {ros__parameters: {image_transport: compressed, depth_transport: compressed}}')
    with launch(file, **arguments) as (_, client):
        listens(client, *topics)


@pytest.mark.parametrize(('arguments', 'in_file', 'expected'), [
    ({}, False, False), ({}, True, True), ({'use_sim_time': 'true'}, False, True),
    ({'clock': 'true'}, False, True)])
def test_a_replay_leaves_the_time_as_it_was_said_unless_it_gives_the_time(
        launch, tmp_path, arguments, in_file, expected):
    (tmp_path / 'parameters.yaml').write_text(
        f'/**: {{ros__parameters: {{image_transport: compressed, use_sim_time: {in_file}}}}}')
    with launch('replay.launch.py', bag=BAG, image='/camera/image_raw', **arguments) as (_, client):
        listens(client, '/camera/image_raw/compressed')
        asked = client.call(GetParameters, 'get_parameters', GetParameters.Request(
            names=['use_sim_time']))
        assert asked.values[0].bool_value is expected


def test_one_camera_is_served_by_the_launch_file_of_several(launch):
    with launch('multi_camera.launch.py', cameras='front', image='/{camera}/rgb') as (_, client):
        listens(client, '/front/rgb/compressed', '/front/camera_info', '/front/depth/image_raw')
        client.until(lambda: client.node.count_publishers('/pixelrefer/objects'), 'its objects')


def test_a_bag_is_played_and_recorded_and_ends_the_launch(launch, tmp_path):
    out = tmp_path / 'out'
    with launch('replay.launch.py', bag=BAG, rate=4.0, record=out, image='/camera/image_raw',
                depth='/camera/depth/image_raw') as (process, _):
        assert process.wait(WATCHDOG) == 0, (tmp_path / 'log').read_text()
    with AnyReader([BAG]) as played, AnyReader([out]) as recorded:
        counts = {connection.topic: connection.msgcount for connection in recorded.connections}
        for connection in played.connections:
            assert counts[connection.topic] == connection.msgcount
        stamps = {to_ns(recorded.deserialize(raw, connection.msgtype).header.stamp)
                  for connection, _, raw in recorded.messages()
                  if connection.topic == '/pixelrefer/objects'}
    assert stamps
