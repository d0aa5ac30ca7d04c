# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer download NAME`: fetch a checkpoint while there is a network, for good."""

import argparse
import sys

from pixelrefer_model.weights import RELEASED, download


def add(verbs: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """The verb and its options."""
    parser = verbs.add_parser(
        'download', help='fetch a checkpoint from the Hugging Face hub (set-up time)',
        description='Fetch a checkpoint from the Hugging Face hub into the store '
        '($PIXELREFER_CHECKPOINTS, or ~/.cache/pixelrefer/checkpoints). A download that was broken '
        'off goes on where it stopped. Nothing else of this package downloads anything.',
        epilog='Released: ' + ', '.join(
            name for names in RELEASED.values() for name in names)
        + '. The part after the slash is enough for these.')
    parser.add_argument('name', metavar='NAME')
    parser.add_argument('--revision', help='branch, tag or commit of the repository (default: the '
                        'one that is there or was begun with, or else main)')
    return parser


def run(given: argparse.Namespace) -> int:
    """Fetch it; says on stdout where it lies."""
    found = download(given.name, given.revision, say=lambda text: print(text, file=sys.stderr))
    print(f'{found.name} is whole, at commit {found.manifest.commit}: {found.folder}')
    return 0
