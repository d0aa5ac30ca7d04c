# SPDX-License-Identifier: Apache-2.0
"""Parses the command line, runs the verb, and turns what went wrong into a line and a status."""

import argparse
import sys

from pixelrefer_model.cli import ask, describe, doctor, download
from pixelrefer_model.errors import PixelReferError

VERBS = (describe, ask, download, doctor)
#: What went wrong with the machine or its checkpoints; all else is the request's own fault.
_MACHINE = ('CHECKPOINT', 'INTERNAL', 'OUT_OF_MEMORY')


def main(argv: list[str] | None = None) -> int:
    """Run a verb. 0: done. 1: a checkpoint or the machine is not fit for it. 2: the request is
    wrong; what was wrong and what is allowed is one line on stderr. 130: interrupted."""
    parser = argparse.ArgumentParser(
        prog='pixelrefer', description='Ask about objects in images and videos, without ROS.')
    verbs = parser.add_subparsers(metavar='VERB', required=True)
    for verb in VERBS:
        verb.add(verbs).set_defaults(run=verb.run)
    given = parser.parse_args(argv)
    try:
        return given.run(given)
    except PixelReferError as error:
        print(f'pixelrefer: {error.message} ({error.code})', file=sys.stderr)
        return 1 if error.code in _MACHINE else 2
    except KeyboardInterrupt:
        print('pixelrefer: interrupted', file=sys.stderr)
        return 130
