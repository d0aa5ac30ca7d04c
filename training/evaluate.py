# SPDX-License-Identifier: Apache-2.0
"""Measures the checkpoints on new scenes of the small world:
`./run python training/evaluate.py --seed N --scenes M`.

Prints one JSON object on standard output, progress on standard error. `tracker`: mean IoU after a
prompt, absence, return, mix-ups. `refer_true_masks` and `refer_tracked_masks`: share of right
answers, with the renderer's masks and with those that the tracker gives after a box prompt, on the
very last frame; `refer_last_sight`: with the tracker's last clear sight that looks like the object,
as the engine answers. Each figure is {"value", "n", "low", "high"} with its 95 % interval, or null
where it was not measured.
"""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from tqdm import tqdm

from pixelrefer_model.engine import checkpoint_folder
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.pixelrefer import PixelReferLite
from pixelrefer_model.sam2 import ObjectTracker
from training.refer.measure import BLOCK, Score, Scores, held_out_scenes, measure_refer
from training.tracker.measure import Figure, figures_of, follow_clips, scene_clips
from training.world import Contract, World

PARTS = ('tracker', 'refer_true_masks', 'refer_tracked_masks', 'refer_last_sight')
#: Parts that need the tracker's masks for the referring model.
TRACKED = set(PARTS[2:])


@dataclass(frozen=True)
class Found:
    """What one process measured: clips as `follow_clips` gives them, and scores."""

    clips: list[dict[str, list[float]]]
    scores: Scores


def evaluate(seed: int, scenes: int, tracker: Path, refer: Path, parts: tuple[str, ...] = PARTS,
             processes: int = 1) -> dict[str, dict[str, Figure | None]]:
    """All figures; those of parts that are left out are None. They do not depend on `processes`.

    Raises PixelReferError CHECKPOINT naming the file and the reason.
    """
    if processes == 1:
        found = [_measure(seed, range(scenes), tracker, refer, parts)]
    else:
        _models(tracker, refer, parts)  # what is wrong with a checkpoint is said here
        each = BLOCK * -(-scenes // (BLOCK * processes))
        shares = [range(at, min(at + each, scenes)) for at in range(0, scenes, each)]
        with ProcessPoolExecutor(len(shares), multiprocessing.get_context('spawn')) as pool:
            found = list(pool.map(_measure, *zip(*(
                (seed, share, tracker, refer, parts) for share in shares))))
    result: dict[str, dict[str, Figure | None]] = {
        'tracker': figures_of([clip for one in found for clip in one.clips])}
    for name, kind in zip(PARTS[1:], ('true', 'tracked', 'last_sight'), strict=True):
        score = Score()
        for one in found if name in parts else ():
            score.add(getattr(one.scores, kind))
        result[name] = score.figures()
        _tell_parts(name, score)
    return result


def _measure(seed: int, numbers: range, tracker: Path, refer: Path, parts: tuple[str, ...]
             ) -> Found:
    torch.set_num_threads(1)
    follower, model = _models(tracker, refer, parts)
    scores, clips = Scores(), []
    with World(Contract.load()) as world:
        if model is not None:
            tracked = bool(TRACKED & set(parts))
            made = held_out_scenes(world, seed, numbers, every_frame=tracked)
            scores = measure_refer(model, _shown(made, numbers, 'referring'),
                                   follower if tracked else None)
        if 'tracker' in parts:
            made = scene_clips(world, seed, numbers)
            clips = follow_clips(follower, _shown(made, numbers, 'tracking'), seed)
    return Found(clips, scores)


def _models(tracker: Path, refer: Path, parts: tuple[str, ...]
            ) -> tuple[ObjectTracker | None, PixelReferLite | None]:
    """The models that the parts need."""
    needed = {'tracker', *TRACKED} & set(parts)
    return (ObjectTracker.from_checkpoint(tracker) if needed else None,
            PixelReferLite.from_checkpoint(refer) if set(parts) - {'tracker'} else None)


def _shown(made: Iterable, numbers: range, what: str) -> Iterable:
    return tqdm(made, total=len(numbers), desc=f'{what} {numbers.start}', unit='scene',
                mininterval=5)


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
    parser.add_argument('--processes', type=int, default=1, help='of one CPU thread each')
    given = parser.parse_args()
    parts = tuple(given.parts.split(','))
    if not 0 <= given.seed <= 9999:
        parser.error(f'--seed {given.seed}: 0 to 9999 is allowed')
    if not 1 <= given.scenes <= 10_000:
        parser.error(f'--scenes {given.scenes}: 1 to 10000 is allowed')
    if unknown := set(parts) - set(PARTS):
        parser.error(f'--parts {", ".join(sorted(unknown))}: {", ".join(PARTS)} are allowed')
    if given.processes < 1:
        parser.error(f'--processes {given.processes}: at least 1 is allowed')
    try:
        figures = evaluate(given.seed, given.scenes, checkpoint_folder(given.tracker, 'tracker'),
                           checkpoint_folder(given.refer, 'refer'), parts, given.processes)
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
