# SPDX-License-Identifier: Apache-2.0
"""Measures the checkpoints on new scenes of the small world:
`./run python training/evaluate.py --seed N --scenes M`.

Prints one JSON object on standard output, progress on standard error. `tracker`: mean IoU after a
prompt, absence, return, mix-ups. `refer_true_masks` and `refer_tracked_masks`: share of right
answers, with the renderer's masks and with those that the tracker gives after a box prompt. Each
figure is {"value", "n", "low", "high"} with its 95 % interval, or null where it was not measured.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from tqdm import tqdm

from pixelrefer_model.engine import checkpoint_folder
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.pixelrefer import PixelReferLite
from pixelrefer_model.sam2 import ObjectTracker
from training.refer.measure import NAMES, Score, held_out_scenes, measure_refer
from training.tracker.measure import MEANS, SHARES, Figure, measure_tracker
from training.world import Contract, World

PARTS = ('tracker', 'refer_true_masks', 'refer_tracked_masks')


def evaluate(seed: int, scenes: int, tracker: Path, refer: Path,
             parts: tuple[str, ...] = PARTS) -> dict[str, dict[str, Figure | None]]:
    """All figures; those of parts that are left out are None.

    Raises PixelReferError CHECKPOINT naming the file and the reason.
    """
    result: dict[str, dict[str, Figure | None]] = {
        'tracker': dict.fromkeys((*MEANS, *SHARES)),
        'refer_true_masks': dict.fromkeys(NAMES), 'refer_tracked_masks': dict.fromkeys(NAMES)}
    follower = ObjectTracker.from_checkpoint(tracker) if {
        'tracker', 'refer_tracked_masks'} & set(parts) else None
    model = PixelReferLite.from_checkpoint(refer) if len(set(parts) - {'tracker'}) else None
    with World(Contract.load()) as world:
        if model is not None:
            tracked = 'refer_tracked_masks' in parts
            made = tqdm(held_out_scenes(world, seed, scenes, every_frame=tracked), total=scenes,
                        desc='referring', unit='scene')
            scores = measure_refer(model, made, follower if tracked else None)
            for name, score in zip(PARTS[1:], scores, strict=True):
                if score is not None and name in parts:
                    result[name] = score.figures()
                    _tell_parts(name, score)
        if 'tracker' in parts:
            print('tracking ...', file=sys.stderr)
            result['tracker'] = measure_tracker(tracker, world, seed, scenes)
    return result


def _tell_parts(name: str, score: Score) -> None:
    """What the figure `relation` is made of, for people."""
    for kind, words in (('relation', 'left/right'), ('depth', 'in front/behind')):
        figure = score.figure(f'only_{kind}')
        if figure is not None:
            print(f'{name}: {words} {figure.value:.3f} of {figure.n} '
                  f'({figure.low:.3f} to {figure.high:.3f})', file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description='Measures the checkpoints on new scenes.')
    parser.add_argument('--seed', type=int, required=True, help='0 to 9999: which test scenes')
    parser.add_argument('--scenes', type=int, required=True, help='how many, 1 to 10000')
    parser.add_argument('--tracker', default='tiny', help='tracker checkpoint (default: packaged)')
    parser.add_argument('--refer', default='tiny', help='PixelRefer-Lite checkpoint (packaged)')
    parser.add_argument('--out', type=Path, help='write the JSON to this file as well')
    parser.add_argument('--parts', default=','.join(PARTS),
                        help='comma-separated, what to measure; the rest is null')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads')
    given = parser.parse_args()
    parts = tuple(given.parts.split(','))
    if not 0 <= given.seed <= 9999:
        parser.error(f'--seed {given.seed}: 0 to 9999 is allowed')
    if not 1 <= given.scenes <= 10_000:
        parser.error(f'--scenes {given.scenes}: 1 to 10000 is allowed')
    if unknown := set(parts) - set(PARTS):
        parser.error(f'--parts {", ".join(sorted(unknown))}: {", ".join(PARTS)} are allowed')
    torch.set_num_threads(max(1, given.threads))
    try:
        figures = evaluate(given.seed, given.scenes, checkpoint_folder(given.tracker, 'tracker'),
                           checkpoint_folder(given.refer, 'refer'), parts)
    except PixelReferError as error:
        print(f'evaluate.py: {error.message}', file=sys.stderr)
        return 2
    text = json.dumps({part: {name: figure and asdict(figure) for name, figure in named.items()}
                       for part, named in figures.items()}, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
