# SPDX-License-Identifier: Apache-2.0
"""The command `ros2 pixelrefer`, and what its verbs have in common: the node, and errors in words."""

import argparse
import sys
import time
from abc import ABC, abstractmethod

from ros2cli.command import CommandExtension, add_subparsers_on_demand
from ros2cli.plugin_system import PLUGIN_SYSTEM_VERSION, satisfies_version

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros.client import PixelReferClient

#: Entry points of the verbs.
VERBS = 'ros2pixelrefer.verb'
#: Seconds that the node is looked for: as long as discovery takes.
APPEARS_S = 5.0
LISTING = 'pixelrefer/srv/ListObjects'


class PixelReferCommand(CommandExtension):
    """Track objects in a camera's images and ask about them."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        self._parser = parser
        add_subparsers_on_demand(parser, cli_name, '_verb', VERBS, required=False)

    def main(self, *, parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
        verb = getattr(args, '_verb', None)
        if verb is None:
            self._parser.print_help()
            return 0
        return verb.main(args=args)


class VerbExtension(ABC):
    """A verb. Subclasses add their arguments and say in `call` what they do with a client; their
    docstring's first line is their help. Exit status: 0; 1 with the node's words on stderr."""

    NAME = None
    EXTENSION_POINT_VERSION = '0.1'

    def __init__(self) -> None:
        satisfies_version(PLUGIN_SYSTEM_VERSION, '^0.1')

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        """The options of every verb."""
        parser.add_argument('--node', default='/pixelrefer', metavar='NAME',
                            help='full name of the node (default: %(default)s)')
        parser.add_argument('--timeout', type=float, default=60.0, metavar='S',
                            help='seconds to wait for a reply (default: %(default)g)')

    @abstractmethod
    def call(self, client: PixelReferClient, args: argparse.Namespace) -> int | None:
        """Do it, and print what came of it; the exit status, None for 0. May raise PixelReferError
        and TimeoutError."""

    def main(self, *, args: argparse.Namespace) -> int:
        name = args.node if args.node.startswith('/') else f'/{args.node}'
        with PixelReferClient(name=name, timeout=args.timeout) as client:
            try:
                _find(client)
                return self.call(client, args) or 0
            except PixelReferError as error:
                print(f'{error.code}: {error.message}', file=sys.stderr)
            except TimeoutError as error:
                print(error, file=sys.stderr)
        return 1


def _find(client: PixelReferClient) -> None:
    """Wait until the node is seen. Raises TimeoutError that names those which are there instead."""
    end = time.monotonic() + APPEARS_S
    while True:
        seen = sorted(service.rpartition('/')[0] for service, types
                      in client.node.get_service_names_and_types() if LISTING in types)
        if client.name in seen:
            return
        if time.monotonic() > end:
            raise TimeoutError(f'there is no node {client.name}; ' + (
                f'--node may be {" or ".join(seen)}' if seen
                else 'no PixelRefer node was found here'))
        time.sleep(0.05)
