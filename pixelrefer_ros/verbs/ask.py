# SPDX-License-Identifier: Apache-2.0
"""`ros2 pixelrefer ask QUESTION`: an answer about objects, printed as it is made."""

import argparse

from pixelrefer_ros.client import PixelReferClient
from pixelrefer_ros.verbs.command import VerbExtension


class AskVerb(VerbExtension):
    """Ask about objects; the answer is printed as it is made. Ctrl-C stops it."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        parser.add_argument('question', metavar='QUESTION',
                            help='<object:ID> in it names an object, <object1> the first ID')
        parser.add_argument('ids', nargs='*', metavar='ID', help='the objects it is about; without '
                            'one: those that it names, else every object')
        parser.add_argument('--window', type=float, metavar='S',
                            help='what was seen in the last S seconds, and not only now')
        parser.add_argument('--max-tokens', type=int, default=0, metavar='N',
                            help='most tokens of the answer (default: as the node has it)')
        super().add_arguments(parser, cli_name)

    def call(self, client: PixelReferClient, args: argparse.Namespace) -> None:
        told = ''
        stream = client.stream(args.question, *args.ids, window=args.window,
                               max_tokens=args.max_tokens)
        try:
            for piece in stream:
                print(piece, end='', flush=True)
                told += piece
        finally:
            if told:
                print()
        # Of an answer that is not sure enough, that is found out at its end.
        if stream.answer.text.strip() != told.strip():
            print(stream.answer.text)
