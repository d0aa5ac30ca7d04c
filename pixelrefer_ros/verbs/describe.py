# SPDX-License-Identifier: Apache-2.0
"""`ros2 pixelrefer describe`: what objects are, in words."""

import argparse
import sys

from pixelrefer_ros.client import PixelReferClient
from pixelrefer_ros.verbs.command import VerbExtension


class DescribeVerb(VerbExtension):
    """Describe objects, or all of them: one line for each."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        parser.add_argument('ids', nargs='*', metavar='ID', help='without one: every object')
        parser.add_argument('--detail', default='sentence', metavar='DETAIL',
                            help='category, phrase, sentence or detailed (default: %(default)s)')
        parser.add_argument('--window', type=float, metavar='S',
                            help='what was seen in the last S seconds, and not only now')
        super().add_arguments(parser, cli_name)

    def call(self, client: PixelReferClient, args: argparse.Namespace) -> int:
        failed = 0
        for answer in client.describe(*args.ids, detail=args.detail, window=args.window):
            name = ', '.join(answer.object_ids)
            if answer.error_code:
                failed = 1
                print(f'{name}: {answer.error_msg}', file=sys.stderr)
            else:
                print(f'{name}: {answer.text}')
        return failed
