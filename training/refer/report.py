# SPDX-License-Identifier: Apache-2.0
"""Where a checkpoint fails, how far its confidence can be believed, and what a wording does to it:
`./run python training/refer/report.py --seed N --scenes M --out docs/accuracy`.

Writes failures.jpg (40 of the surest wrong answers, few of a scene or kind), reliability.png and
.md, about the very answers that training/evaluate.py counts, with true masks; and wordings.md, from
the scenes of the next seed.
"""

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import matplotlib
import numpy as np
import torch
from tqdm import tqdm

matplotlib.use('Agg')
import matplotlib.pyplot as plt

from pixelrefer_model.engine import checkpoint_folder
from pixelrefer_model.pixelrefer import PixelReferLite
from training.refer.measure import STAMPED, Answered, HeldOutScene, held_out_scenes, measure_refer
from training.refer.phrasings import ask_phrasings, phrasings_table, tasks_table
from training.world import Contract, World

WORST, PER_ROW, PER_SCENE, PER_KIND = 40, 5, 2, 8
EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)
COLOURS = ((60, 220, 60), (255, 90, 60), (80, 140, 255), (240, 220, 60))


def worst(answers: Iterable[Answered]) -> list[Answered]:
    """The wrong answers that were surest, at most PER_SCENE of a scene and PER_KIND of a kind."""
    chosen: list[Answered] = []
    scenes, kinds = defaultdict(int), defaultdict(int)
    for one in sorted((a for a in answers if not a.good and a.text), key=lambda a: -a.confidence):
        if scenes[one.scene] < PER_SCENE and kinds[one.item.kind] < PER_KIND:
            scenes[one.scene] += 1
            kinds[one.item.kind] += 1
            chosen.append(one)
    return chosen[:WORST]


def draw_failure(one: Answered, scene: HeldOutScene) -> np.ndarray:
    """The scene's last frame with the objects outlined, the question, what was said, the truth."""
    image = scene.images[STAMPED[-1]].copy()
    for n, i in enumerate(one.item.objects):
        mask = (scene.segs[STAMPED[-1]] == i + 1).astype(np.uint8)
        outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, outline, -1, COLOURS[n % len(COLOURS)], 1)
        if mask.any():
            y, x = (int(v.min()) for v in np.nonzero(mask))
            cv2.putText(image, str(n + 1), (x, max(10, y - 2)), cv2.FONT_HERSHEY_SIMPLEX, 0.4,
                        COLOURS[n % len(COLOURS)], 1, cv2.LINE_AA)
    below = np.full((104, image.shape[1], 3), 255, np.uint8)
    lines = [(line, colour) for text, colour in (
        (one.item.text, (0, 0, 0)), (f'said ({one.confidence:.2f}): {one.text}', (190, 0, 0)),
        (f'true: {one.item.answer}', (0, 120, 0))) for line in _wrapped(text, 48)[:2]]
    for n, (line, colour) in enumerate(lines):
        cv2.putText(below, line, (3, 14 + 16 * n), cv2.FONT_HERSHEY_SIMPLEX, 0.36, colour, 1,
                    cv2.LINE_AA)
    return np.concatenate([image, below])


def _wrapped(text: str, width: int) -> list[str]:
    lines = ['']
    for word in text.replace('<object', 'object ').replace('>', '').split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append('')
        lines[-1] += f' {word}' if lines[-1] else word
    return lines


def contact_sheet(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one size, PER_ROW in a row."""
    blank = np.full_like(pictures[0], 255)
    rows = [pictures[at:at + PER_ROW] for at in range(0, len(pictures), PER_ROW)]
    return np.concatenate([np.concatenate(row + [blank] * (PER_ROW - len(row)), axis=1)
                           for row in rows])


def reliability(answers: list[Answered]) -> list[tuple[float, float, float, int]]:
    """Per bin of confidence that has answers: mean confidence, share right, upper edge, n."""
    rows = []
    for low, high in zip(EDGES, EDGES[1:]):
        some = [a for a in answers if a.text and (low < a.confidence <= high
                                                  or low == a.confidence == 0)]
        if some:
            rows.append((float(np.mean([a.confidence for a in some])),
                         float(np.mean([a.good for a in some])), high, len(some)))
    return rows


def draw_reliability(answers: list[Answered], file: Path) -> None:
    """Share right over confidence, with what every answer over a confidence is worth."""
    rows = reliability(answers)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    left.plot([0.3, 1], [0.3, 1], color='0.7', linestyle='--')
    left.plot([r[0] for r in rows], [r[1] for r in rows], marker='o')
    for sure, good, _, n in rows:
        left.annotate(f' {n}', (sure, good), fontsize=8)
    left.set(xlabel='confidence (n beside the point)', ylabel='share right', xlim=(0.3, 1.01),
             ylim=(0, 1.01), title='right as often as it says?')
    said = [a for a in answers if a.text]
    levels = np.linspace(0.4, 0.995, 60)
    kept = [[a.good for a in said if a.confidence >= level] for level in levels]
    right.plot(levels, [np.mean(some) if some else np.nan for some in kept], label='share right')
    right.plot(levels, [len(some) / len(said) for some in kept], label='share answered')
    right.set(xlabel='answers of at least this confidence', ylim=(0, 1.01),
              title='what abstaining below it gives')
    right.legend()
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, dpi=90)
    plt.close(figure)


def reliability_table(answers: list[Answered]) -> str:
    """The bins as a Markdown table."""
    lines = ['| confidence up to | mean confidence | share right | n |', '|---|---|---|---|']
    lines += [f'| {high:g} | {sure:.3f} | {good:.3f} | {n} |'
              for sure, good, high, n in reliability(answers)]
    return '\n'.join(lines) + '\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--seed', type=int, required=True, help='as of evaluate.py')
    parser.add_argument('--scenes', type=int, required=True)
    parser.add_argument('--out', type=Path, required=True, help='folder for the files')
    parser.add_argument('--refer', default='tiny', help='checkpoint (default: packaged)')
    given = parser.parse_args()
    os.environ.setdefault('LP_NUM_THREADS', '1')
    torch.set_num_threads(1)
    model = PixelReferLite.from_checkpoint(checkpoint_folder(given.refer, 'refer'))
    given.out.mkdir(parents=True, exist_ok=True)
    with World(Contract.load()) as world:
        def scenes() -> Iterable[HeldOutScene]:
            return held_out_scenes(world, given.seed, given.scenes, every_frame=False)

        answers = measure_refer(model, tqdm(scenes(), total=given.scenes, unit='scene'),
                                None).true.answers
        chosen = worst(answers)
        pictures: dict[int, np.ndarray] = {}
        for scene in scenes():
            pictures.update({n: draw_failure(one, scene) for n, one in enumerate(chosen)
                             if one.scene == scene.number})
    sheet = contact_sheet([pictures[n] for n in range(len(chosen))])
    cv2.imwrite(str(given.out / 'failures.jpg'), sheet[..., ::-1],
                [cv2.IMWRITE_JPEG_QUALITY, 88])
    with World(Contract.load()) as world:
        phrased = ask_phrasings(model, tqdm(
            held_out_scenes(world, given.seed + 1, given.scenes, every_frame=False),
            total=given.scenes, unit='scene'), given.seed)
    (given.out / 'wordings.md').write_text(
        phrasings_table(phrased) + '\n' + tasks_table(phrased))
    draw_reliability(answers, given.out / 'reliability.png')
    (given.out / 'reliability.md').write_text(reliability_table(answers))


if __name__ == '__main__':
    main()
