# SPDX-License-Identifier: Apache-2.0
"""Bag recorder: writes what topics carry, as it comes, into a rosbag2 recording (MCAP).

    python -m pixelrefer_ros.recording OUT --of-node /pixelrefer --of-node /camera

OUT is a folder, as `ros2 bag` makes it, or a single file where the name ends with .mcap. The
serialized bytes are kept as they came, with the time at which they came. Works without the rosbag2
packages; types that rosbags does not know are read from the package that defines them.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.node import NodeNameNonExistentError
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosbags.interfaces import (
    Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime)
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

from pixelrefer_ros.replay import ReplayError, message_class
from pixelrefer_ros.shutdown import stop_on_signals

#: Messages of a topic that wait while the disk is busy; what comes beyond is lost.
DEPTH = 100
#: Seconds between two looks for publishers that are new.
LOOK_S = 0.5
#: Published by every node, and of no use in a recording; hidden topics (those of actions) neither.
LEFT_OUT = ('/rosout', '/parameter_events', '/clock')
HIDDEN = '/_'


class BagFile:
    """A bag that is being written. A context manager; leaving it completes the file.

    Raises ReplayError where there is something of that name already, or the disk refuses it, which
    it may do at the end, and in the midst of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages = 0
        self._single = path.suffix == '.mcap'
        self._folder = path.with_suffix('.part') if self._single else path
        self._types = get_typestore(Stores.ROS2_JAZZY)
        try:
            if path.exists():
                raise WriterError(f'{path} exists already, not overwriting.')
            self._writer = Writer(self._folder, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise self._refused(error) from error

    def __enter__(self) -> 'BagFile':
        return self

    def __exit__(self, kind: type | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            self._writer.close()
            if self._single:
                (self._folder / f'{self._folder.name}.mcap').replace(self.path)
                shutil.rmtree(self._folder)
        except OSError as failure:
            if error is None:
                raise self._refused(failure) from failure

    def _refused(self, error: Exception) -> ReplayError:
        return ReplayError(f'{self.path}: cannot be written: {error}')

    def topic(self, name: str, msgtype: str, qos: QoSProfile) -> Callable[[bytes, int], None]:
        """Add a topic; gives what writes a message of it, as bytes with the time in ns.

        Raises ReplayError where the type is defined nowhere on this machine, or in words that
        rosbags cannot read; what is given raises it where the disk refuses the message.
        """
        self._define(msgtype)
        connection = self._writer.add_connection(
            name, msgtype, typestore=self._types, offered_qos_profiles=[_offered(qos)])

        def write(data: bytes, at_ns: int) -> None:
            try:
                self._writer.write(connection, at_ns, data)
            except OSError as error:
                raise self._refused(error) from error
            self.messages += 1

        return write

    def _define(self, msgtype: str) -> None:
        """Read the messages of a package that rosbags does not know."""
        if msgtype in self._types.types:
            return
        package = msgtype.partition('/')[0]
        try:
            files = sorted((Path(get_package_share_directory(package)) / 'msg').glob('*.msg'))
        except PackageNotFoundError:
            files = []
        found: dict[str, Any] = {}
        for file in files:
            try:
                found |= get_types_from_msg(file.read_text(), f'{package}/msg/{file.stem}')
            except TypesysError as error:
                raise ReplayError(f'{file}: no definition that rosbags can read') from error
        if msgtype not in found:
            raise ReplayError(f'{msgtype}: no package here defines it')
        self._types.register(
            {name: fields for name, fields in found.items() if name not in self._types.types})


class Recorder:
    """Subscribes to what nodes publish and writes it, from `start` on; what is new is found once in
    a while, by a timer of `node`.

    of_nodes: full names of the nodes. What is of a later one is recorded once the ones before it
    are there: whoever waits until the last one has a listener misses nothing of the others.
    """

    def __init__(self, node: Node, bag: BagFile, of_nodes: Sequence[str]) -> None:
        self._node, self._bag = node, bag
        self._of_nodes = of_nodes
        self._subscriptions: dict[str, Any] = {}
        #: Topics that cannot be recorded, and why.
        self.refused: dict[str, str] = {}

    @property
    def topics(self) -> list[str]:
        """What is being recorded."""
        return sorted(self._subscriptions)

    def start(self) -> None:
        """Begin with what there is by now."""
        self._look()
        self._node.create_timer(LOOK_S, self._look)

    def _look(self) -> None:
        for full in self._of_nodes:
            namespace, _, name = full.rpartition('/')
            try:
                found = self._node.get_publisher_names_and_types_by_node(name, namespace or '/')
            except NodeNameNonExistentError:
                return
            for topic, types in found:
                self._subscribe(topic, types)

    def _subscribe(self, topic: str, types: list[str]) -> None:
        if topic in self._subscriptions or topic in self.refused or topic in LEFT_OUT \
                or HIDDEN in topic:
            return
        publishers = self._node.get_publishers_info_by_topic(topic)
        if not publishers:
            return
        qos = _suiting([one.qos_profile for one in publishers])
        cls = message_class(types[0])
        try:
            if cls is None:
                raise ReplayError(f'{types[0]} is not installed here')
            write = self._bag.topic(topic, types[0], qos)
        except ReplayError as error:
            self.refused[topic] = str(error)
            print(f'not recorded: {topic}: {error}', file=sys.stderr)
            return
        self._subscriptions[topic] = self._node.create_subscription(
            cls, topic, lambda data: write(data, time.time_ns()), qos, raw=True)


def _suiting(offered: list[QoSProfile]) -> QoSProfile:
    """As reliable and as durable as every publisher is."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if all(
            one.reliability == ReliabilityPolicy.RELIABLE for one in offered)
        else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if all(
            one.durability == DurabilityPolicy.TRANSIENT_LOCAL for one in offered)
        else DurabilityPolicy.VOLATILE)


def _offered(qos: QoSProfile) -> Qos:
    """A profile as bags keep it, so that a latched topic is latched when it is played."""
    ever = QosTime(9223372036, 854775807)
    return Qos(QosHistory.KEEP_LAST, qos.depth, QosReliability[qos.reliability.name],
               QosDurability[qos.durability.name], ever, ever, QosLiveliness.AUTOMATIC, ever, False)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='python -m pixelrefer_ros.recording', description=__doc__.split('\n')[0])
    parser.add_argument('out', type=Path, help='folder to make, or a file that ends with .mcap')
    parser.add_argument('--of-node', action='append', required=True, metavar='NAME',
                        help='record whatever this node publishes; may be given several times')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Record until a signal comes; 0, or 2 when it cannot be written."""
    args = parse(argv)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('recorder')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        with stop_on_signals() as stop, BagFile(args.out) as bag:
            recorder = Recorder(node, bag, args.of_node)
            recorder.start()
            while not stop.is_set():
                executor.spin_once(timeout_sec=0.1)
        print(f'recorded {bag.messages} messages of {len(recorder.topics)} topics in {bag.path}',
              flush=True)
    except ReplayError as error:
        print(f'recording: {error}', file=sys.stderr)
        return 2
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
