# SPDX-License-Identifier: Apache-2.0
"""What the commands that write a model card are given."""

import argparse
from pathlib import Path


def card_arguments() -> argparse.Namespace:
    """run, figures, checkpoint, seed, scenes and note from the command line."""
    parser = argparse.ArgumentParser(description='Writes a model card.')
    parser.add_argument('--run', type=Path, required=True, help='folder of the training')
    parser.add_argument('--figures', type=Path, required=True, help='JSON of evaluate.py')
    parser.add_argument('--checkpoint', type=Path, required=True, help='folder for the card')
    parser.add_argument('--seed', type=int, required=True, help='as given to evaluate.py')
    parser.add_argument('--scenes', type=int, required=True)
    parser.add_argument('--note', default='', help='what else a reader should know of the run')
    return parser.parse_args()
