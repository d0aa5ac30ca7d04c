# SPDX-License-Identifier: Apache-2.0
"""`ros2 pixelrefer track ID --box ...`: select an object on the newest image."""

import argparse

from pixelrefer_ros.client import PixelReferClient
from pixelrefer_ros.verbs.command import VerbExtension
from pixelrefer_ros.verbs.list import line


class TrackVerb(VerbExtension):
    """Track an object that a box, clicks or words select on the newest image."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        parser.add_argument('id', nargs='?', default='', metavar='ID',
                            help='name of the object; without one the node makes one')
        parser.add_argument('--box', type=_box, metavar='X0,Y0,X1,Y1',
                            help='a box round it, pixels; X1 and Y1 are outside')
        parser.add_argument('--click', type=_point, action='append', default=[], metavar='X,Y',
                            help='a pixel of it; may be given several times, and with a box')
        parser.add_argument('--off', type=_point, action='append', default=[], metavar='X,Y',
                            help='a pixel that is none of it')
        parser.add_argument('--words', default='', metavar='TEXT', help='what it is, as in "the '
                            'red mug"; needs the node\'s parameter detector_model')
        parser.add_argument('--on-existing', choices=('reject', 'correct', 'replace'),
                            default='reject', help='where the name is taken (default: reject)')
        parser.add_argument('--camera', default='', metavar='NAME',
                            help='of several cameras, the one whose image is meant')
        super().add_arguments(parser, cli_name)

    def call(self, client: PixelReferClient, args: argparse.Namespace) -> None:
        print(line(client.add(
            args.id, box=args.box, points=args.click + args.off,
            labels=[1] * len(args.click) + [0] * len(args.off), text=args.words,
            on_existing=args.on_existing, camera=args.camera)))


def _box(text: str) -> tuple[float, ...]:
    return _numbers(text, 'X0,Y0,X1,Y1')


def _point(text: str) -> tuple[float, ...]:
    return _numbers(text, 'X,Y')


def _numbers(text: str, form: str) -> tuple[float, ...]:
    try:
        numbers = tuple(map(float, text.split(',')))
    except ValueError:
        numbers = ()
    if len(numbers) != form.count(',') + 1:
        raise argparse.ArgumentTypeError(f'{text}: {form} is allowed, in pixels')
    return numbers
