# SPDX-License-Identifier: Apache-2.0
"""docs/interfaces: every example is run, and what its tables say is what the node does."""

import re
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from interface_pages import FOLDER, Shell, examples, order, read, replies, table
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader
from ros_support import ROOT, SECOND, NodeProcess, Robot
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pixelrefer.msg import ErrorCode, Event
from pixelrefer_ros import conversions, depth, images, optional
from pixelrefer_ros.demo.processes import own_domain
from pixelrefer_ros.parameters import RULES

BAG = ROOT / 'pixelrefer_ros' / 'demo' / 'bag'
#: Stamp of the image on which the pages' pixels were read.
SEEN_NS = 1_735_689_601 * SECOND
TOPICS = {'/camera/image_raw/compressed': CompressedImage, '/camera/depth/image_raw': Image,
          '/camera/camera_info': CameraInfo}
#: Seconds between two images, and their stamps' distance: that of the recording, played slowly.
PERIOD_S, STEP_NS = 0.5, SECOND // 10


@contextmanager
def camera_that_stands_still(robot: Robot) -> Iterator[None]:
    """Sends one moment of the recording over and over, so that its pixels stay those of the pages,
    under stamps that go on."""
    moment = {}
    with Reader(BAG) as bag:
        for connection, _, raw in bag.messages():
            message = deserialize_message(bytes(raw), TOPICS[connection.topic])
            if conversions.nanoseconds(message.header.stamp) == SEEN_NS:
                moment[connection.topic] = message
    reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
    publishers = {topic: robot.node.create_publisher(kind, topic, reliable)
                  for topic, kind in TOPICS.items()}
    robot.until(lambda: all(p.get_subscription_count() for p in publishers.values()),
                'subscriptions to the camera')
    stopped = threading.Event()

    def play() -> None:
        stamp_ns = SEEN_NS
        while not stopped.is_set():
            for topic in reversed(TOPICS):
                moment[topic].header.stamp = conversions.time_message(stamp_ns)
                publishers[topic].publish(moment[topic])
            stamp_ns += STEP_NS
            stopped.wait(PERIOD_S)

    player = threading.Thread(target=play, name='player')
    player.start()
    try:
        yield
    finally:
        stopped.set()
        player.join()


def node_arguments(folder: Path) -> tuple[str, ...]:
    """Those of the node's command in README.md, with the parameter file of the page on QoS."""
    overrides = folder / 'qos.yaml'
    overrides.write_text(re.search(r'```yaml\n(.*?)```', read('qos'), re.DOTALL)[1])
    command = re.search(r'```bash\n(.*?)```', read('README'), re.DOTALL)[1]
    words = shlex.split(command.replace('\\\n', ' '))
    assert words[:2] == ['./run', 'pixelrefer_node']
    return (*words[2:], '--params-file', str(overrides))


@pytest.fixture(scope='module')
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A node with the packaged models, started as the pages say, and a camera that it sees."""
    folder = tmp_path_factory.mktemp('pages')
    with own_domain() as domain, \
            NodeProcess(domain, folder / 'node.log',
                        arguments=node_arguments(folder)) as process, \
            Robot(domain, process) as robot:
        made = Shell(robot)
        robot.wait_active(watched=False)
        with camera_that_stands_still(robot):
            robot.until(lambda: robot.objects, 'a tracked image')
            yield made


@pytest.mark.parametrize('page', order())
def test_every_example_of_a_page_does_what_the_page_says(shell, page, monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', str(shell.robot.domain))
    faults = sum(event.kind == Event.FAULT for event in shell.robot.events)
    heard = []
    for example in examples(page):
        if example.python:
            printed = StringIO()
            with redirect_stdout(printed):
                exec(compile(example.python, f'{page}.md', 'exec'), {})
            assert bool(printed.getvalue().strip()) == bool(example.output.strip()), example.python
            continue
        found = shell.run(example)
        if callable(found):
            heard.append(found)
        elif found is not None:
            code = getattr(ErrorCode, example.code)
            assert found.error_code == code, (example.shell, found.error_msg)
    for wait in heard:
        wait()
    if page == 'subscribed':
        shell.robot.until(lambda: any(
            event.kind == Event.OBJECT_ADDED and event.object_id == 'object_1'
            for event in shell.robot.events), 'the object that was clicked')
    assert faults == sum(event.kind == Event.FAULT for event in shell.robot.events)


@pytest.mark.parametrize('page', order())
def test_a_reply_that_a_page_shows_is_one_of_its_service(page):
    for example in examples(page):
        for shown in replies(example):
            kind = example.shell.split()[4].rpartition('/')[2]
            assert type(shown).__name__ == f'{kind}_Response'
            assert shown.error_code == getattr(ErrorCode, example.code)


def test_every_page_is_linked_and_every_example_shows_what_came_of_it():
    assert {path.stem for path in FOLDER.glob('*.md')} == set(order())
    for page in order():
        text = read(page)
        for target in re.findall(r'\]\(([^)#]+)(?:#\w+)?\)', text):
            assert (FOLDER / target).exists(), f'{page}.md: {target}'
        empty = [one for one in examples(page) if one.python and not one.output.strip()]
        assert not empty, page
    assert sum(len(examples(page)) for page in order()) > 40


@pytest.mark.parametrize('page', order())
def test_every_code_that_a_page_names_is_one(page):
    rows = table(page, first='code')
    codes = [code for row in rows for code in re.findall(r'[A-Z_]{4,}', row[0])]
    assert all(hasattr(ErrorCode, code) for code in codes)
    words = re.findall(r'[Rr]efused with ([A-Z_]+)|answers? ([A-Z]+_?[A-Z]*)\b', read(page))
    assert all(hasattr(ErrorCode, name) for pair in words for name in pair if len(name) > 3)


def test_parameters_that_the_index_names_are_those_of_the_node():
    names = [name for row in table('README', first='parameter')
             for name in re.findall(r'`(\w+)`', row[0])]
    assert len(names) > 8 and set(names) <= set(RULES)


def test_encodings_are_those_that_are_read():
    for first, encodings in (
            ('encoding', {**images.ENCODINGS, **images.PLANAR}),
            ('depth encoding', depth.ENCODINGS)):
        named = [name for row in table('subscribed', first=first)
                 for name in re.findall(r'`(\w+)`', row[0])]
        assert sorted(named) == sorted(encodings)


def test_every_key_of_diagnostics_is_explained(shell):
    robot = shell.robot
    values = robot.values()
    explained = {name for row in table('published', first='status')
                 for name in re.findall(r'`([^`]+)`', row[0])}
    found = {re.sub(r'^/\S+', 'TOPIC', key) for key in values}
    assert found <= explained
    # What a machine may be unable to tell, and what there is of a detector alone.
    assert all(re.match('gpu_|temperature_|detection|words_', key) for key in explained - found)


@pytest.fixture
def endpoints(shell) -> dict[str, object]:
    """QoS by topic of everything that the node subscribes to or publishes, as the graph has it."""
    node, found = shell.robot.node, {}
    for names, infos in (
            (node.get_subscriber_names_and_types_by_node, node.get_subscriptions_info_by_topic),
            (node.get_publisher_names_and_types_by_node, node.get_publishers_info_by_topic)):
        for topic, _ in names('pixelrefer', '/'):
            found |= {topic: info.qos_profile for info in infos(topic)
                      if info.node_name == 'pixelrefer'}
    return found


#: What every node has, or every managed one.
STANDARD = {'/rosout', '/parameter_events', '/pixelrefer/transition_event', '/clock'}
REMAPPED = {'image` or `image/compressed': '/camera/image_raw/compressed',
            'depth': '/camera/depth/image_raw', 'camera_info': '/camera/camera_info'}
#: Topics that need a package which may not be here.
OPTIONAL = {'/bond': 'bondpy', '/pixelrefer/detections': 'vision_msgs',
            '/pixelrefer/detections_3d': 'vision_msgs', '/pixelrefer/label_info': 'vision_msgs'}
#: What the example of the page overrides.
OVERRIDDEN = {'/camera/image_raw/compressed': 'reliable', '/camera/camera_info': 'reliable',
              '/pixelrefer/overlay/compressed': 'best effort'}


def test_the_table_of_qos_is_what_the_graph_shows(endpoints):
    rows = {}
    for name, _, reliability, durability, _, _ in table('qos', first='topic'):
        name = name.strip('`')
        topic = REMAPPED.get(name, name.replace('~', '/pixelrefer'))
        rows[topic] = reliability, durability
    rows = {topic: row for topic, row in rows.items()
            if optional.load(OPTIONAL.get(topic, 'rclpy')) is not None}
    assert set(rows) == {topic for topic in endpoints if '/_action/' not in topic} - STANDARD
    for topic, (reliability, durability) in rows.items():
        wanted = OVERRIDDEN.get(topic, reliability)
        found = endpoints[topic]
        policies = [one.name.lower().replace('_', ' ')
                    for one in (found.reliability, found.durability)]
        assert policies == [wanted, durability], topic


def test_every_service_and_the_action_have_a_row_in_the_index(shell):
    text = read('README')
    found = {name for name, kinds in shell.robot.node.get_service_names_and_types_by_node(
        'pixelrefer', '/') if any(kind.startswith('pixelrefer/srv/') for kind in kinds)}
    assert found == {f'/pixelrefer/{name}' for name in re.findall(
        r'`~/(\w+)`', text.split('| action')[0].split('| service')[1])}
