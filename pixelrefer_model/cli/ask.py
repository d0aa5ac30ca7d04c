# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer ask FILE "question" --box ...`: a question about objects in an image or a video."""

import argparse
from pathlib import Path

from pixelrefer_model.cli.options import add_common


def add(verbs: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """The verb and its options."""
    parser = verbs.add_parser(
        'ask', help='ask about objects in an image or a video',
        description='Ask one question about the selected objects. In a video they are tracked, and '
        'the answer rests on what was seen of them.')
    parser.add_argument('file', type=Path, metavar='FILE', help='an image or a video')
    parser.add_argument('question', metavar='QUESTION', help='<object1>, <object2> in it name the '
                        'objects: all of them, or none')
    parser.add_argument('--task', default='plain', metavar='TASK', help='how it is put, as in the '
                        'published benchmarks: plain, reason, regions, choice, best_choice '
                        '(default: %(default)s)')
    parser.add_argument('--option', dest='options', action='append', default=[], metavar='TEXT',
                        help='with choice and best_choice, as in "(A) on the table"')
    add_common(parser)
    return parser


def run(given: argparse.Namespace) -> int:
    """One answer about all objects."""
    # Here and not above: `doctor` has to run where PyTorch is missing.
    from pixelrefer_model.cli import session
    from pixelrefer_model.language.tasks import question_prompt
    return session.run(given, lambda ids, full: [
        (question_prompt(given.task, given.question, len(ids), given.options), ids)])
