# SPDX-License-Identifier: Apache-2.0
"""Bag player: publishes the messages of a rosbag2 recording with their original timing.

    python -m pixelrefer_ros.replay BAG --rate 1.0

The serialized bytes go out as they lie in the bag (MCAP or sqlite3), so nothing is decoded and
the stamps in the headers stay the recorded ones. Works without the rosbag2 packages.
"""

import argparse
import importlib
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError
from rosgraph_msgs.msg import Clock

#: How often /clock is published between messages.
CLOCK_PERIOD_S = 0.01
#: Messages of a topic that are kept for a reliable reader that is busy for a moment.
DEPTH = 50
#: The longest that reliable readers are waited for at the end, and what the middleware is given
#: to send out what it holds for others.
ACKNOWLEDGED_S, LINGER_S = 10.0, 0.3


class ReplayError(Exception):
    """A bag that cannot be played; the message names it and says why."""


@dataclass(frozen=True)
class Played:
    """What a run did: messages published, seconds it took, and how late the latest one was."""

    messages: int
    seconds: float
    latest_s: float


def message_class(name: str) -> type | None:
    """The class of a message type (`sensor_msgs/msg/Image`), or None if it is not installed."""
    package, _, cls = name.partition('/msg/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), cls)
    except (ImportError, AttributeError):
        return None


def offered_qos(connection: Connection) -> QoSProfile:
    """The recorded publisher's reliability and durability; a latched topic stays latched."""
    profiles = getattr(connection.ext, 'offered_qos_profiles', None) or []
    durable = any(getattr(p.durability, 'name', '') == 'TRANSIENT_LOCAL' for p in profiles)
    effort = bool(profiles) and all(
        getattr(p.reliability, 'name', '') == 'BEST_EFFORT' for p in profiles)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=DEPTH,
        reliability=(
            ReliabilityPolicy.BEST_EFFORT if effort else ReliabilityPolicy.RELIABLE),
        durability=(
            DurabilityPolicy.TRANSIENT_LOCAL if durable else DurabilityPolicy.VOLATILE))


@contextmanager
def open_bag(path: Path) -> Iterator[Reader]:
    """An open reader of the bag at `path`: a folder with metadata.yaml, or a file of one.

    Raises ReplayError when there is none or it cannot be read.
    """
    if not path.exists():
        raise ReplayError(f'{path}: no such bag; the folder that holds metadata.yaml is allowed, '
                          'or an .mcap or .db3 file')
    reader = None
    try:
        reader = Reader(path)
        reader.open()
    except (ReaderError, OSError) as error:
        raise ReplayError(f'{path}: cannot be read as a bag: {error}') from error
    try:
        yield reader
    finally:
        reader.close()


class Player:
    """Publishes an open bag's messages from `node`.

    rate: 2 is twice as fast as recorded. remap: topic -> topic. clock: publish /clock too.
    stopped: ends the playing at once when set, from any thread or signal handler. without: topics
    under this name are not played.
    """

    def __init__(self, node: Node, reader: Reader, *, rate: float = 1.0,
                 remap: dict[str, str] | None = None, clock: bool = False,
                 stopped: threading.Event | None = None, without: str | None = None) -> None:
        self._reader = reader
        self._rate = rate
        self._stopped = stopped or threading.Event()
        self._publishers: dict[int, Any] = {}
        self.unknown: list[str] = []
        remap = remap or {}
        for connection in reader.connections:
            if without is not None and connection.topic.startswith(f'{without}/'):
                continue
            cls = message_class(connection.msgtype)
            if cls is None:
                self.unknown.append(f'{connection.topic} ({connection.msgtype})')
                continue
            self._publishers[connection.id] = node.create_publisher(
                cls, remap.get(connection.topic, connection.topic), offered_qos(connection))
        self._node = node
        self._clock = node.create_publisher(Clock, '/clock', 10) if clock else None

    @property
    def topics(self) -> list[str]:
        """What is played, by the full names."""
        return sorted(publisher.topic_name for publisher in self._publishers.values())

    def heard_by(self, name: str) -> bool:
        """Whether the node of this full name subscribes to any of it."""
        return any(f'{one.node_namespace.rstrip("/")}/{one.node_name}' == name
                   for topic in self.topics
                   for one in self._node.get_subscriptions_info_by_topic(topic))

    def wait_for(self, subscribers: int, nodes: Sequence[str] = ()) -> bool:
        """Wait until the bag's topics have that many subscriptions, all told, and each of these
        nodes has one. False: stopped before."""
        while not self._stopped.is_set():
            if sum(p.get_subscription_count() for p in self._publishers.values()) >= subscribers \
                    and all(map(self.heard_by, nodes)):
                return True
            self._stopped.wait(0.05)
        return False

    def play(self) -> Played:
        """Publish every message once, each at its recorded distance from the first."""
        count, latest = 0, 0.0
        started = time.monotonic()
        origin = self._reader.start_time
        for connection, stamp_ns, raw in self._reader.messages():
            publisher = self._publishers.get(connection.id)
            if publisher is None:
                continue
            due = started + (stamp_ns - origin) / 1e9 / self._rate
            if not self._sleep_until(due, started, origin):
                break
            latest = max(latest, time.monotonic() - due)
            publisher.publish(bytes(raw))
            count += 1
        return Played(count, time.monotonic() - started, latest)

    def finish(self) -> None:
        """Wait until reliable readers have what was published. Nothing, once it was stopped."""
        for publisher in self._publishers.values():
            if not self._stopped.is_set():
                publisher.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_S))
        self._stopped.wait(LINGER_S)

    def _sleep_until(self, due: float, started: float, origin: int) -> bool:
        """Sleep, telling the time of the bag meanwhile. False: stopped."""
        while not self._stopped.is_set():
            now = time.monotonic()
            if self._clock is not None:
                ns = origin + int((min(now, due) - started) * self._rate * 1e9)
                tick = Clock()
                tick.clock.sec, tick.clock.nanosec = divmod(ns, 1_000_000_000)
                self._clock.publish(tick)
            if now >= due:
                return True
            left = due - now
            self._stopped.wait(left if self._clock is None else min(left, CLOCK_PERIOD_S))
        return False


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='python -m pixelrefer_ros.replay', description=__doc__.split('\n')[0])
    parser.add_argument('bag', type=Path, help='folder of the bag (MCAP or sqlite3)')
    parser.add_argument('--rate', type=float, default=1.0, help='2 plays twice as fast')
    parser.add_argument('--loop', type=int, default=1, metavar='N', help='times; 0 for ever')
    parser.add_argument('--remap', action='append', default=[], metavar='FROM:=TO')
    parser.add_argument('--clock', action='store_true', help='publish /clock')
    parser.add_argument('--wait-for', type=int, default=0, metavar='N',
                        help='start when its topics have N subscriptions, all told')
    parser.add_argument('--wait-for-node', action='append', default=[], metavar='NAME',
                        help='start when this node subscribes to one of them')
    parser.add_argument('--without', metavar='NAME', help='leave out topics under this name')
    args = parser.parse_args(argv)
    if not args.rate > 0:
        parser.error(f'--rate {args.rate:g}: a positive rate is allowed')
    if not all(':=' in pair for pair in args.remap):
        parser.error('--remap takes FROM:=TO')
    return args


def main(argv: list[str] | None = None) -> int:
    """Play a bag; 0 when it was played (or ended by a signal), 2 when it cannot be."""
    args = parse(argv)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('replay')
    try:
        with open_bag(args.bag) as reader:
            remap = dict(pair.split(':=', 1) for pair in args.remap)
            player = Player(node, reader, rate=args.rate, clock=args.clock, stopped=stopped,
                            without=args.without, remap=remap)
            for topic in player.unknown:
                print(f'not played, its type is not installed: {topic}', file=sys.stderr)
            player.wait_for(args.wait_for, args.wait_for_node)
            rounds = 0
            while not stopped.is_set() and (args.loop == 0 or rounds < args.loop):
                played = player.play()
                rounds += 1
                print(f'played {played.messages} messages in {played.seconds:.1f} s, '
                      f'at most {played.latest_s * 1e3:.0f} ms late', flush=True)
            player.finish()
    except ReplayError as error:
        print(f'replay: {error}', file=sys.stderr)
        return 2
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
