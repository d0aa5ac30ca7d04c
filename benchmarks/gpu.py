# SPDX-License-Identifier: Apache-2.0
"""Speed and memory of the released sizes on a CUDA GPU, with random weights.

    ./run python benchmarks/gpu.py --out FILE.md [--device cuda] [--parts tracker session ...]

The tracker alone, against transformers' session, and with a compiled encoder; loading
PixelRefer-Lite-2B, its object tokens, decoding and first tokens, against benchmarks/plain.py. Each
part is a process of its own, and one begins when the one before has ended, so that nothing of this
runs beside what is timed. It writes a checkpoint of 4 GB to a temporary folder first (`--folder`:
where). Prints the table, and writes it with --out. `--small` is for trying it out, on a CPU too:
its figures mean nothing. What the small checkpoints answer on a GPU: benchmarks/parity.py --device.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ''):
    sys.path.insert(0, str(ROOT))

import torch

from benchmarks.figures import ran_on

#: In the order in which they are run.
PARTS = ('tracker', 'session', 'compile', 'load', 'answers')


def section(part: str, device: str, small: bool, folder: Path) -> list[str]:
    """Measure one part in this process: lines of the page."""
    if part in ('load', 'answers'):
        from benchmarks import gpu_answers
        measure = gpu_answers.load if part == 'load' else gpu_answers.asked
        return measure(device, small, folder)
    from benchmarks import gpu_tracker
    return {'tracker': gpu_tracker.tracker, 'session': gpu_tracker.session,
            'compile': gpu_tracker.compiled}[part](device, small)


def in_process(part: str, options: argparse.Namespace, folder: Path) -> str:
    """The same in a process of its own, to whose end it waits. Raises CalledProcessError."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), '--part', part, '--device', options.device,
         '--folder', str(folder), *(['--small'] if options.small else [])],
        stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def named(device: str) -> str:
    """The device, in words."""
    return torch.cuda.get_device_name(device) if device.startswith('cuda') else 'the CPU'


def page(options: argparse.Namespace) -> str:
    """Run the parts one after another and put their sections together."""
    from benchmarks.load_memory import SIZES, write_checkpoint
    sections = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        checkpoint = Path(folder) / 'model'
        if {'load', 'answers'} & set(options.parts):
            print('writing a checkpoint', file=sys.stderr)
            write_checkpoint(checkpoint, SIZES['small' if options.small else '2b'])
        for part in options.parts:
            print(part, file=sys.stderr)
            sections.append(in_process(part, options, checkpoint))
    small = ', small: its figures mean nothing' if options.small else ''
    return '\n'.join([f'# {named(options.device)}, by `benchmarks/gpu.py`{small}', '',
                      f'On {ran_on()}', '', *sections])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 1 where a part has failed, which is then the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cuda', help='cuda or cpu (default: %(default)s)')
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument('--small', action='store_true', help='tiny sizes, to try the command')
    parser.add_argument('--out', type=Path, help='write the table to this file as well')
    parser.add_argument('--folder', type=Path, help='where there is room for a checkpoint of 4 GB')
    parser.add_argument('--part', choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        print('\n'.join(section(options.part, options.device, options.small, options.folder)))
        return 0
    try:
        text = page(options)
    except subprocess.CalledProcessError as error:
        print(f'gpu.py: {error}', file=sys.stderr)
        return 1
    print(text)
    if options.out:
        options.out.write_text(text, encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
