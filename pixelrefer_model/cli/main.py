# SPDX-License-Identifier: Apache-2.0
"""Parses the command line, runs the verb, and turns what went wrong into a line and a status."""

import argparse
import importlib
import sys
from typing import Any

from pixelrefer_model.cli import ask, describe, doctor, download, memory
from pixelrefer_model.errors import PixelReferError

VERBS = (describe, ask, download, doctor, memory)
#: Verbs that need ROS 2: the module of each, which has `add` and `run` like the others, and what
#: its line of the help says. It is imported when its verb is asked for.
ROS_VERBS = {
    'click': ('pixelrefer_ros.page.command', 'show a node in the browser (needs ROS 2)'),
    'replay': ('pixelrefer_ros.replay_command', 'play a bag into a node (needs ROS 2)'),
}
#: What went wrong with the machine or its checkpoints; all else is the request's own fault.
_MACHINE = ('CHECKPOINT', 'INTERNAL', 'MEMORY', 'OUT_OF_MEMORY')


def main(argv: list[str] | None = None) -> int:
    """Run a verb. 0: done. 1: a checkpoint or the machine is not fit for it. 2: the request is
    wrong; what was wrong and what is allowed is one line on stderr. 130: interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog='pixelrefer', description='Ask about objects in images and videos, without ROS.')
    verbs = parser.add_subparsers(metavar='VERB', required=True)
    for verb in VERBS:
        verb.add(verbs).set_defaults(run=verb.run)
    try:
        for name, (module, says) in ROS_VERBS.items():
            if argv[:1] == [name]:
                verb = _needing_ros(name, module)
                verb.add(verbs).set_defaults(run=verb.run)
            else:
                verbs.add_parser(name, help=says)
        given = parser.parse_args(argv)
        return given.run(given)
    except PixelReferError as error:
        print(f'pixelrefer: {error.message} ({error.code})', file=sys.stderr)
        return 1 if error.code in _MACHINE else 2
    except KeyboardInterrupt:
        print('pixelrefer: interrupted', file=sys.stderr)
        return 130


def _needing_ros(verb: str, module: str) -> Any:
    """The module of a verb that needs ROS 2. Raises PixelReferError UNSUPPORTED without one."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise PixelReferError(
            'UNSUPPORTED', f'{verb} needs ROS 2 and the node, and {error.name} cannot be imported '
            'here; docs/install.md says how to have them') from error
