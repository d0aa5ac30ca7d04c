# SPDX-License-Identifier: Apache-2.0
"""The mean of the weights of checkpoints that come from one another:
`./run python -m training.refer.mean CHECKPOINT CHECKPOINT ... --out DIR`.

What a later stage of training gained and what it forgot lie in different directions from the
weights that it began with, so that half of the way keeps most of both (arXiv:2109.01903). All else
is the first checkpoint's, its card too, which has to be written anew; they have to have the same
sizes and the same vocabulary.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file

from pixelrefer_model.weights import checkpoint_folder

#: Where sizes, words and weights lie; and what of the first may be of its own, since it says what
#: a question about now rests on.
CONFIG, WORDS, WEIGHTS = 'config.json', 'tokenizer.json', 'model.safetensors'
OF_THE_FIRST = ('now_looks', 'now_likeness')


def mean_of(folders: Sequence[Path], shares: Sequence[float], out: Path) -> None:
    """Write the checkpoint whose weights are the mean, by `shares`, of those of `folders`. Raises
    ValueError for shares that are no shares, checkpoints of other sizes or words, or where `out` is
    there already."""
    if len(shares) != len(folders) or not (min(shares) >= 0 and abs(sum(shares) - 1) <= 1e-6):
        raise ValueError(f'one share for each of {len(folders)} checkpoints is needed, 1 in all, '
                         f'not {list(shares)}')
    if out.exists():
        raise ValueError(f'{out} is there already; the folder of a new checkpoint is allowed')
    for name, read in ((CONFIG, _sizes), (WORDS, Path.read_bytes)):
        if any(read(folder / name) != read(folders[0] / name) for folder in folders):
            raise ValueError(f'{name} is not the same in {", ".join(map(str, folders))}')
    weights = [load_file(folder / WEIGHTS) for folder in folders]
    made = {name: sum(share * one[name].double() for share, one in zip(shares, weights)).to(
        first.dtype).contiguous() for name, first in weights[0].items()}
    shutil.copytree(folders[0], out, ignore=shutil.ignore_patterns(WEIGHTS))
    save_file(made, out / WEIGHTS, metadata={'format': 'pt'})


def _sizes(path: Path) -> dict:
    config = json.loads(path.read_text(encoding='utf-8'))
    return {name: value for name, value in config.items() if name not in OF_THE_FIRST}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(':')[0] + '.')
    parser.add_argument('checkpoints', nargs='+', help='folders, or names of packaged ones')
    parser.add_argument('--shares', type=float, nargs='+', help='of each (default: equal ones)')
    parser.add_argument('--out', type=Path, required=True, help='folder of the new checkpoint')
    given = parser.parse_args()
    count = len(given.checkpoints)
    try:
        mean_of([checkpoint_folder(name, 'refer') for name in given.checkpoints],
                given.shares or [1 / count] * count, given.out)
    except ValueError as error:
        parser.error(str(error))


if __name__ == '__main__':
    main()
