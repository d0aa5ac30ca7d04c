# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer describe FILE --box ...`: what each object in an image or a video is."""

import argparse
from pathlib import Path

from pixelrefer_model.cli.options import add_common


def add(verbs: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """The verb and its options."""
    parser = verbs.add_parser(
        'describe', help='describe objects in an image or a video',
        description='Describe each selected object of an image; of a video, as it is seen there.')
    parser.add_argument('file', type=Path, metavar='FILE', help='an image or a video')
    parser.add_argument('--task', default='sentence', metavar='TASK', help='which of the published '
                        'prompts: category, part, phrase, sentence, detailed, detailed_only, '
                        'video_sentence, video_detailed, shown_image, shown_video '
                        '(default: %(default)s)')
    add_common(parser)
    return parser


def run(given: argparse.Namespace) -> int:
    """One description for each object."""
    # Here and not above: `doctor` has to run where PyTorch is missing.
    from pixelrefer_model.cli import session
    from pixelrefer_model.language import task_prompt
    return session.run(given, lambda ids, full: [
        (task_prompt(given.task, full), [object_id]) for object_id in ids])
