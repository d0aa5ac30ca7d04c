# SPDX-License-Identifier: Apache-2.0
"""The demo, in one command.

    python -m pixelrefer_ros.demo              node, bag player and planner as three processes
    python -m pixelrefer_ros.demo --lockstep   the same script in one process, without real time

Exits 0 when at least 80 % of the answers are right and every mask holds, 1 when not, 2 when it
could not run.
"""

import argparse
import importlib.util
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from pixelrefer_ros.demo.processes import Processes, own_domain
from pixelrefer_ros.demo.report import Report
from pixelrefer_ros.demo.robot import RobotError
from pixelrefer_ros.demo.run import CAMERA, NO_RUN, options, play
from pixelrefer_ros.demo.truth import Truth, TruthError

#: Planner and node: the player begins when both watch.
WATCHERS = 2
INTERRUPTED = 130


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog='demo', description=__doc__.split('\n')[0])
    options(parser)
    parser.add_argument('--lockstep', action='store_true',
                        help='every frame in turn, in one process, without ROS')
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    parser.add_argument('--rate', type=float, default=1.0,
                        help='of the recording; 0.5 gives a slow machine twice the time')
    parser.add_argument('--domain', type=int, help='ROS_DOMAIN_ID (default: one of its own)')
    args = parser.parse_args(argv)
    if not args.rate > 0:
        parser.error(f'--rate {args.rate:g}: a positive rate is allowed')
    return args


def lockstep(args: argparse.Namespace, report: Report) -> int:
    """The script over the engine in this process; see `play` for the exit status."""
    # Here and not above: PyTorch takes seconds to import, and the live demo's parent needs none.
    import torch

    from pixelrefer_model.engine import PerceptionEngine
    from pixelrefer_model.errors import PixelReferError
    from pixelrefer_model.memory.long_memory import LongMemory
    from pixelrefer_model.memory.recorder import Recorder
    from pixelrefer_model.memory.store import MemoryStore
    from pixelrefer_ros.demo.lockstep import LockstepRobot
    # One thread adds up in the same order, however many cores there are.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        truth = Truth.load(args.bag)
        engine = PerceptionEngine.from_checkpoints(
            args.tracker_model, args.refer_model, device=args.device)
        with MemoryStore.in_ram() as store, Recorder(store) as recorder:
            engine.memory = LongMemory(engine.memory.keep, recorder)
            robot = LockstepRobot(engine, args.bag, f'{CAMERA}/compressed')
            return play(robot, truth, report, args.out)
    except (RobotError, TruthError, PixelReferError) as error:
        print(f'demo: {error}', file=sys.stderr)
        return NO_RUN


def live(args: argparse.Namespace, report: Report) -> int:
    """Start the three processes and give back the planner's exit status."""
    for module in ('rclpy', 'pixelrefer'):
        if importlib.util.find_spec(module) is None:
            print(f'demo: the Python module {module} is not here; `./run demo` sets up all that '
                  'is needed (or try --lockstep, which needs no ROS)', file=sys.stderr)
            return NO_RUN
    truth = Truth.load(args.bag)
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / 'node.log'
    with ExitStack() as held:
        domain = held.enter_context(own_domain()) if args.domain is None else args.domain
        report.fact(
            'camera', f'{truth.seconds:.0f} s recorded, played at {pace(args.rate)} on {CAMERA}')
        report.fact('node', f'starting on ROS domain {domain}; its log is {log}')
        processes = held.enter_context(Processes({
            'ROS_DOMAIN_ID': str(domain), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}, log))
        processes.start(
            'node', 'pixelrefer_ros.node', '--ros-args',
            '-r', f'image:={CAMERA}', '-r', f'image/compressed:={CAMERA}/compressed',
            '-p', 'image_transport:=compressed', '-p', 'autostart:=true',
            '-p', f'device:={args.device}', '-p', f'tracker_model:={args.tracker_model}',
            '-p', f'refer_model:={args.refer_model}',
            # The tiny models gain nothing from more; their threads only get in each other's way.
            '-p', 'tracker_threads:=1', '-p', 'encoder_threads:=1', '-p', 'language_threads:=1')
        processes.start('player', 'pixelrefer_ros.replay', args.bag, '--wait-for', WATCHERS,
                        '--rate', args.rate)
        processes.start('planner', 'pixelrefer_ros.demo.planner', '--bag', args.bag,
                        '--out', args.out, shown=True)
        ended = processes.wait_for('planner', needed=('node',))
        if ended is None:
            print(f'demo: the node ended; the last of {log}:\n{tail(log)}', file=sys.stderr)
            return NO_RUN
        return ended


def pace(rate: float) -> str:
    """A playing rate in words."""
    return 'its true rate' if rate == 1 else f'{rate:g} times its true rate'


def tail(path: Path, lines: int = 8) -> str:
    """The last lines of a text file."""
    return '\n'.join(path.read_text(errors='replace').splitlines()[-lines:])


def main(argv: list[str] | None = None) -> int:
    """Run the demo; the exit status is in the module's docstring."""
    args = parse(argv)
    report = Report()
    report.line('PixelRefer: objects in a camera stream, tracked, and asked about', '\033[1m')
    # SIGTERM unwinds as Ctrl-C does, so that everything that was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return lockstep(args, report) if args.lockstep else live(args, report)
    except TruthError as error:
        print(f'demo: {error}', file=sys.stderr)
        return NO_RUN
    except KeyboardInterrupt:
        print('\ndemo: interrupted', file=sys.stderr)
        return INTERRUPTED


if __name__ == '__main__':
    sys.exit(main())
