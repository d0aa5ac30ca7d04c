# SPDX-License-Identifier: Apache-2.0
"""`ros2 pixelrefer list`: the objects that are tracked."""

import argparse

from pixelrefer.msg import TrackedObject
from pixelrefer_ros.client import PixelReferClient
from pixelrefer_ros.verbs.command import VerbExtension

#: Names of the states by their numbers.
STATES = {getattr(TrackedObject, name): name
          for name in ('UNKNOWN', 'TRACKED', 'UNCERTAIN', 'OCCLUDED', 'LOST')}


class ListVerb(VerbExtension):
    """List the objects that are tracked: id, state, score, box, and position where it is known."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        parser.add_argument('--camera', default='', metavar='NAME', help='only those of this one')
        super().add_arguments(parser, cli_name)

    def call(self, client: PixelReferClient, args: argparse.Namespace) -> None:
        for found in client.objects(args.camera):
            print(line(found))


def line(found: TrackedObject) -> str:
    """An object in words. The box is X0,Y0,X1,Y1 in pixels, as `track --box` takes it; the
    position is in metres."""
    box, at = found.box, found.position
    parts = [found.id, STATES.get(found.state, str(found.state)), f'{found.score:.2f}']
    if box.width and box.height:
        parts.append(f'box {box.x:g},{box.y:g},{box.x + box.width:g},{box.y + box.height:g}')
    if not found.position_error:
        parts.append(f'at {at.x:.3f},{at.y:.3f},{at.z:.3f} m in {found.position_frame}')
    return '  '.join(parts)
