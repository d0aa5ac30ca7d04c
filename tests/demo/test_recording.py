# SPDX-License-Identifier: Apache-2.0
"""The recorder keeps what nodes publish, as they publish it, so that it can be played again."""

import signal
import time

import pytest
from demo_support import WATCHDOG_S, until
from rosbags.highlevel import AnyReader

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('pixelrefer', reason='the interfaces are not built here')
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from pixelrefer.msg import Event  # noqa: E402
from pixelrefer_ros.recording import LOOK_S, BagFile  # noqa: E402
from pixelrefer_ros.replay import ReplayError, offered_qos, open_bag  # noqa: E402

#: The node of the fixture `ros`.
TALKER = '/listener'


@pytest.fixture
def latched(ros):
    """Told once, before anybody listens."""
    publisher = ros.create_publisher(
        String, '/told', QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    publisher.publish(String(data='once'))
    yield publisher
    ros.destroy_publisher(publisher)


@pytest.mark.parametrize('name', ['folder', 'file.mcap'])
def test_messages_are_kept_with_their_types_and_a_latched_topic_stays_latched(
        ros, start, tmp_path, latched, name):
    events = ros.create_publisher(Event, '/events', 10)
    recorder = start('pixelrefer_ros.recording', tmp_path / name, '--of-node', TALKER)
    until(events.get_subscription_count, 'a subscription to the events')
    until(latched.get_subscription_count, 'a subscription to what was told')
    for epoch in range(3):
        events.publish(Event(epoch=epoch, error_msg='no such thing'))
    events.wait_for_all_acked()
    recorder.send_signal(signal.SIGINT)
    out, err = recorder.communicate(timeout=WATCHDOG_S)
    assert recorder.returncode == 0, err
    assert 'recorded 4 messages of 2 topics' in out
    assert (tmp_path / name).is_dir() == (name == 'folder') and len(list(tmp_path.iterdir())) == 1
    with AnyReader([tmp_path / name]) as reader:
        found = [(connection.topic, reader.deserialize(raw, connection.msgtype))
                 for connection, _, raw in reader.messages()]
    assert [one.epoch for topic, one in found if topic == '/events'] == [0, 1, 2]
    assert [one.data for topic, one in found if topic == '/told'] == ['once']
    with open_bag(tmp_path / name) as reader:
        kept = {one.topic: offered_qos(one).durability for one in reader.connections}
    assert kept == {'/told': DurabilityPolicy.TRANSIENT_LOCAL,
                    '/events': DurabilityPolicy.VOLATILE}
    ros.destroy_publisher(events)


def test_a_later_node_is_recorded_only_once_the_ones_before_it_are_there(ros, start, tmp_path):
    """Or a player that waits for its recorder would begin before the node is recorded as well."""
    heard = ros.create_publisher(String, '/heard', 10)
    recorder = start('pixelrefer_ros.recording', tmp_path / 'out', '--of-node', '/first',
                     '--of-node', TALKER)
    until(lambda: 'recorder' in ros.get_node_names(), 'the recorder')
    for _ in range(int(4 * LOOK_S / 0.1)):      # it looks several times meanwhile
        heard.publish(String(data='before'))
        time.sleep(0.1)
    first = rclpy.create_node('first', context=ros.context)
    until(heard.get_subscription_count, 'a subscription to the later one')
    heard.publish(String(data='after'))
    heard.wait_for_all_acked()
    recorder.send_signal(signal.SIGINT)
    _, err = recorder.communicate(timeout=WATCHDOG_S)
    assert recorder.returncode == 0, err
    with AnyReader([tmp_path / 'out']) as reader:
        assert [reader.deserialize(raw, connection.msgtype).data
                for connection, _, raw in reader.messages()] == ['after']
    first.destroy_node()
    ros.destroy_publisher(heard)


def test_what_exists_is_not_overwritten(start, tmp_path):
    (tmp_path / 'out.mcap').write_bytes(b'precious')
    recorder = start('pixelrefer_ros.recording', tmp_path / 'out.mcap', '--of-node', TALKER)
    _, err = recorder.communicate(timeout=WATCHDOG_S)
    assert recorder.returncode == 2 and 'exists already' in err and 'Traceback' not in err
    assert (tmp_path / 'out.mcap').read_bytes() == b'precious'


def test_a_type_whose_definition_cannot_be_read_is_refused_by_name(tmp_path, monkeypatch):
    share = tmp_path / 'share'
    for folder in ('ament_index/resource_index/packages', 'odd_msgs/msg'):
        (share / folder).mkdir(parents=True)
    (share / 'ament_index/resource_index/packages/odd_msgs').touch()
    (share / 'odd_msgs/msg/Odd.msg').write_text('int32 = = 3')
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    with BagFile(tmp_path / 'out') as bag:
        with pytest.raises(ReplayError, match='odd_msgs/msg/Odd.msg: no definition'):
            bag.topic('/odd', 'odd_msgs/msg/Odd', QoSProfile(depth=1))
