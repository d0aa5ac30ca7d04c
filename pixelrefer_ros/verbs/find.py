# SPDX-License-Identifier: Apache-2.0
"""`ros2 pixelrefer find WORDS`: remembered objects, in view or not."""

import argparse

from pixelrefer.msg import RememberedObject
from pixelrefer_ros.client import PixelReferClient
from pixelrefer_ros.verbs.command import VerbExtension
from pixelrefer_ros.verbs.list import STATES


class FindVerb(VerbExtension):
    """Find remembered objects: id, score, state, when and where it was seen last, what it is."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        parser.add_argument('words', nargs='*', metavar='WORD', help='what it looks like or is '
                            'called; without one: every object')
        parser.add_argument('--like', default='', metavar='ID', help='those that look like it')
        parser.add_argument('--window', type=float, metavar='S',
                            help='those that were observed in the last S seconds')
        parser.add_argument('--most', type=int, default=0, metavar='N', help='no more than N')
        super().add_arguments(parser, cli_name)

    def call(self, client: PixelReferClient, args: argparse.Namespace) -> int:
        hits = client.find(' '.join(args.words), like=args.like, window=args.window,
                           most=args.most)
        for hit in hits:
            print(line(hit))
        # As grep: nothing found is no success.
        return 0 if hits else 1


def line(hit: RememberedObject) -> str:
    """A hit in words; positions in metres."""
    seen, at = hit.last_seen, hit.position
    parts = [hit.id, f'{hit.score:.2f}',
             'not tracked' if not hit.state else STATES.get(hit.state, str(hit.state)),
             f'seen last at {seen.sec}.{seen.nanosec // 1_000_000:03d} s'
             + (' of an earlier time' if hit.earlier else '')]
    if not hit.position_error:
        parts.append(f'at {at.x:.3f},{at.y:.3f},{at.z:.3f} m in {hit.position_frame}')
    return '  '.join([*parts, *filter(None, [hit.text])])
