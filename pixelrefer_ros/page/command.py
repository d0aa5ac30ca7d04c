# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer click`: the command line of the page."""

import argparse

from pixelrefer_model.errors import PixelReferError

try:
    from pixelrefer_ros.page.server import serve
except ModuleNotFoundError as error:
    if error.name != 'aiohttp':
        raise
    raise PixelReferError('UNSUPPORTED', 'click needs aiohttp, which is not installed here; what '
                          'mends it: pip install aiohttp') from error


def add(verbs: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """The verb and its options."""
    parser = verbs.add_parser(
        'click', help="a node's picture in the browser, to click and to ask",
        description='Serve a page that shows the picture of a running node with its objects. A '
        'click or a box on it selects an object on exactly the image that was shown; questions '
        'are answered word by word. The page loads no model and needs none. Ctrl-C ends it.')
    parser.add_argument('--node', default='/pixelrefer', metavar='NAME',
                        help='the node, with its namespace (default: %(default)s)')
    parser.add_argument('--port', type=_port, default=8765, help='0: any that is free '
                        '(default: %(default)s)')
    parser.add_argument('--host', default='127.0.0.1', metavar='ADDRESS', help='where to listen; '
                        'the default lets in nobody but the users of this machine')
    parser.add_argument('--camera', default='', metavar='NAME', help='which one to show first, '
                        'where the node has several')
    return parser


def run(given: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    return serve('/' + given.node.strip('/'), given.host, given.port, given.camera)


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f'{text}: 0 to 65535 is allowed')
    return int(text)
