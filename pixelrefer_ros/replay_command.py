# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer replay BAG`: plays a bag into a node that is started for it, and ends with it."""

import argparse
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from pixelrefer_ros.bag_topics import Inputs, find_inputs
from pixelrefer_ros.demo.processes import Processes
from pixelrefer_ros.recording import BagFile, Recorder
from pixelrefer_ros.replay import Player, ReplayError, open_bag
from pixelrefer_ros.shutdown import Stop, stop_on_signals

NODE = '/pixelrefer'


def add(verbs: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """The verb and its options."""
    parser = verbs.add_parser(
        'replay', help='play a bag into a node (needs ROS 2)',
        description='Start the node, play a bag into it once it listens, and end both. Topics keep '
        'the names that they have in the bag; the node is told which of them are its inputs. What '
        f'another {NODE} published when the bag was recorded is not played.')
    parser.add_argument('bag', type=Path, metavar='BAG',
                        help='folder with metadata.yaml, or an .mcap or .db3 file')
    group = parser.add_argument_group('playing')
    group.add_argument('--rate', type=float, default=1.0, metavar='R',
                       help='2 plays twice as fast (default: %(default)g)')
    group.add_argument('--loop', action='store_true', help='again and again, until Ctrl-C')
    group.add_argument('--keep', action='store_true',
                       help='leave the node running at the end, for questions, until Ctrl-C')
    group.add_argument('--clock', action='store_true',
                       help='publish the time of the bag on /clock, with use_sim_time in the node')
    group.add_argument('--record', type=Path, metavar='OUT', help='record what is played and what '
                       'the node publishes: a folder to make, or a file that ends with .mcap')
    group = parser.add_argument_group(
        'inputs', 'Topics of the bag. Without these they are found by their types; depth and '
        'calibration are left out where several could be meant.')
    for name, what in (('image', 'images, raw or compressed'),
                       ('depth', 'depth images, registered to the image, raw or compressed'),
                       ('camera-info', 'the calibration')):
        group.add_argument(f'--{name}', default='', metavar='TOPIC', help=what)
    group = parser.add_argument_group('node')
    group.add_argument('--params-file', type=Path, metavar='FILE', help='parameters (YAML)')
    group.add_argument('-p', '--param', action='append', default=[], metavar='NAME:=VALUE',
                       help='a parameter, as in -p device:=cuda; may be given several times')
    return parser


def run(given: argparse.Namespace) -> int:
    """Play. 0: played, or ended by a signal. 1: the node ended by itself. 2: the bag cannot be
    played, or the recording not be written, as is said on stderr."""
    try:
        if not given.rate > 0:
            raise ReplayError(f'--rate {given.rate:g}: a positive rate is allowed')
        if wrong := [pair for pair in given.param if ':=' not in pair]:
            raise ReplayError(f'-p {wrong[0]}: NAME:=VALUE is allowed')
        with open_bag(given.bag) as reader:
            inputs = find_inputs(
                reader, given.image, given.depth, given.camera_info, without=NODE)
            _say(f'{given.bag}: {reader.message_count} messages, {reader.duration / 1e9:.1f} s')
            packed = ' (compressed)' if inputs.depth_transport == 'compressed' else ''
            _say(f'image: {inputs.image} ({inputs.transport}), depth: {inputs.depth or "none"}'
                 f'{packed}, camera_info: {inputs.camera_info or "none"}')
            if inputs.depth_trouble:
                _say(f'left out as depth: {inputs.depth_trouble}')
            with ExitStack() as stack:
                stop = stack.enter_context(stop_on_signals())
                bag = None if given.record is None else stack.enter_context(BagFile(given.record))
                node = stack.enter_context(_spun_node(stop))
                player = Player(node, reader, rate=given.rate, clock=given.clock, stopped=stop,
                                without=NODE)
                for topic in player.unknown:
                    _say(f'not played, its type is not installed: {topic}')
                with _child(given, inputs, stop) as ended:
                    if _listens(node, player):
                        if bag is not None:
                            Recorder(node, bag, [NODE, node.get_fully_qualified_name()]).start()
                        _play(given, player, stop)
            if bag is not None:
                _say(f'recorded {bag.messages} messages in {bag.path}')
    except ReplayError as error:
        print(f'pixelrefer: {error}', file=sys.stderr)
        return 2
    if ended:
        print(f'pixelrefer: the node ended by itself, with status {ended[0]}', file=sys.stderr)
    return 1 if ended else 0


def _listens(node: Node, player: Player) -> bool:
    """Wait until the node listens. False: stopped before. Raises ReplayError where there is another
    of its name."""
    _say('waiting for the node, which loads its models')
    if not player.wait_for(0, [NODE]):
        return False
    found = [f'{namespace.rstrip("/")}/{name}'
             for name, namespace in node.get_node_names_and_namespaces()]
    if found.count(NODE) > 1:
        raise ReplayError(f'another node {NODE} is running here; end it, or set a ROS_DOMAIN_ID '
                          'of your own')
    return True


def _play(given: argparse.Namespace, player: Player, stop: Stop) -> None:
    """Play until it is over or `stop` is set."""
    _say('the node listens; playing' + (' until Ctrl-C' if given.loop else ''))
    again = True
    while again and not stop.is_set():
        played = player.play()
        _say(f'played {played.messages} messages in {played.seconds:.1f} s')
        again = given.loop
    player.finish()
    if given.keep and not stop.is_set():
        _say('the bag is over; the node goes on until Ctrl-C')
        stop.wait()


@contextmanager
def _child(given: argparse.Namespace, inputs: Inputs, stop: Stop) -> Iterator[list[int]]:
    """The node as a process: started, and at the end interrupted and waited for. What is given
    has its status, if it ended before it was asked to; `stop` is set then."""
    arguments = ['--ros-args']
    if given.params_file is not None:
        arguments += ['--params-file', str(given.params_file)]
    for pair in (f'image_transport:={inputs.transport}',
                 *([f'depth_transport:={inputs.depth_transport}'] if inputs.depth else []),
                 *(['use_sim_time:=true'] if given.clock else []), *given.param):
        arguments += ['-p', pair]
    for pair in inputs.remappings:
        arguments += ['-r', pair]
    ended: list[int] = []

    def watch() -> None:
        status = processes.wait_for('node')
        if not stop.is_set():
            ended.append(status)
            stop.set()

    watching = threading.Thread(target=watch, name='watching')
    with Processes({}, Path(os.devnull)) as processes:
        processes.start('node', 'pixelrefer_ros.node', *arguments, shown=True)
        watching.start()
        try:
            yield ended
        finally:
            stop.set()
            processes.end()
            watching.join()


@contextmanager
def _spun_node(stop: Stop) -> Iterator[Node]:
    """A node of this process, served by a thread. A callback that fails, as a recording on a full
    disk does, sets `stop`; at the end ReplayError is raised of it."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('replay')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    failed: list[Exception] = []

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            return
        except Exception as error:  # edge of the thread: it ends the run, which tells of it
            failed.append(error)
            stop.set()

    spinning = threading.Thread(target=spin, name='spinning')
    spinning.start()
    try:
        yield node
    finally:
        executor.shutdown()
        spinning.join()
        node.destroy_node()
        rclpy.try_shutdown()
    if failed:
        reason = ' '.join(str(failed[0]).split()) or type(failed[0]).__name__
        raise ReplayError(f'stopped: {reason}') from failed[0]


def _say(text: str) -> None:
    print(f'replay: {text}', flush=True)
