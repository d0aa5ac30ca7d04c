# SPDX-License-Identifier: Apache-2.0
"""The options that `describe` and `ask` have in common."""

import argparse
from functools import partial
from pathlib import Path

#: Tokens of an answer, where nobody says: a detailed description is rarely longer.
USUAL_TOKENS = 256


def add_common(parser: argparse.ArgumentParser) -> None:
    """Objects, the part of a video, models, and what comes out."""
    group = parser.add_argument_group(
        'objects', 'Each of these selects one object; the first is <object1>. In a video, N: '
        'before it says on which frame, counted from 0; without, it is the first looked at.')
    for kind, form, what in (
            ('box', '[N:]X0,Y0,X1,Y1', 'a box round it, in pixels; X1 and Y1 are outside'),
            ('point', '[N:]X,Y', 'a pixel of it'),
            ('mask', '[N:]FILE', 'an image of the same size that is black everywhere else'),
            ('words', '[N:]TEXT', 'what it is called, as "the red mug"')):
        group.add_argument(f'--{kind}', dest='selected', metavar=form, action='append',
                           type=partial(_typed, kind), default=[], help=what)
    group = parser.add_argument_group('videos')
    group.add_argument('--every', type=float, metavar='S', help='seconds between observations of '
                       'an object (default: 0.5, more in a long video; 0: every frame)')
    group.add_argument('--frames', type=int, default=4, metavar='N', help='most observations of '
                       'one object in a question, evenly spread (default: %(default)s)')
    group.add_argument('--start', type=float, default=0.0, metavar='S', help='look from here on')
    group.add_argument('--stop', type=float, default=float('inf'), metavar='S',
                       help='look no further')
    group = parser.add_argument_group('models')
    for kind, what in (('tracker', 'SAM 2'), ('refer', 'PixelRefer')):
        group.add_argument(f'--{kind}', default='tiny', metavar='NAME', help=f'{what} checkpoint: '
                           'tiny (packaged), a folder, or a name that was downloaded '
                           '(default: %(default)s)')
    group.add_argument('--detector', default='tiny', metavar='NAME', help='for --words: tiny (of '
                       'the packaged ones), or a Grounding DINO or OWLv2, a folder or a name that '
                       'was downloaded (default: %(default)s)')
    group.add_argument('--device', default='auto', help='cpu, cuda, cuda:0, mps, or auto: a CUDA '
                       'GPU where there is one (default: %(default)s)')
    group.add_argument('--dtype', default='auto', help='float32, bfloat16, float16, or auto: '
                       'bfloat16 on a GPU that has it, else float32 (default: %(default)s)')
    group.add_argument('--quantization', choices=('none', 'int8', 'int4'), default='none',
                       help="of the language model's weights; needs torchao")
    group.add_argument('--attention', choices=('sdpa', 'flash'), default='sdpa',
                       help="kernel of the vision tower's attention; flash needs CUDA and "
                       'flash-attn')
    group.add_argument('--temperature', type=float, default=0.0, metavar='T', help='draw answers '
                       'by chance (default: the best token each time)')
    group.add_argument('--seed', type=int, default=0, metavar='N',
                       help='of that chance (default: %(default)s)')
    group.add_argument('--max-tokens', type=int, default=USUAL_TOKENS, metavar='N',
                       help='most tokens of an answer (default: %(default)s)')
    group = parser.add_argument_group('what comes out')
    group.add_argument('--json', action='store_true', help='JSON instead of text')
    group.add_argument('--save', type=Path, metavar='FILE', help='write a picture with the objects '
                       'drawn on it; of a video, the last frame that was looked at')


def _typed(kind: str, text: str) -> tuple[str, str]:
    """A selection as it was typed: all three options fill one list, in their order."""
    return kind, text
