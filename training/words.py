# SPDX-License-Identifier: Apache-2.0
"""Measures what the tiny detector makes of words in new scenes of the small world:
`./run python training/words.py --seed N --scenes M --out docs/accuracy/words.md`.

With `--calibrate` it fits the detector's Calibration on scenes of the training split instead, and
prints it; no scene of the figures is ever used for that. Progress goes to standard error.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from pixelrefer_model.detection import NotSelected
from pixelrefer_model.detection.match import box_iou
from pixelrefer_model.detection.proposals import Proposal
from pixelrefer_model.detection.tiny import (
    LEAST_SURE, Calibration, ReferringDetector, content_words, distinct)
from pixelrefer_model.prompt import Box
from pixelrefer_model.sam2.pixels import box_of
from training.refer.facts import CATEGORIES, COLOURS, PATTERNS, Fact, facts_of
from training.refer.measure import FIRST_SEED
from training.tracker.measure import Figure, share_figure
from training.world import Contract, World

#: First seed of the scenes that the calibration is fitted on.
CALIBRATION_SEED = 700_000
#: Moments of a scene that one frame is taken at, in turn, seconds.
MOMENTS = (0.1, 0.6, 1.1, 1.6, 2.1)
#: Phrases of a scene, at most: that one object fits, none, none though each word fits something,
#: several.
MOST = {'unique': 3, 'absent': 2, 'near': 2, 'several': 2}
#: The calibration rests on every phrase of one or two words that something fits, and on this share
#: of the others: together about as many.
ABSENT_SHARE = 0.15
RIGHT_IOU = 0.5
#: How often the calibration is fitted to what is left when it has chosen among overlapping
#: proposals.
ROUNDS = 4


@dataclass(frozen=True)
class Scene:
    """One frame. boxes: of the visible part of each object, None where nothing of it is seen."""

    image: np.ndarray
    facts: list[Fact]
    boxes: list[Box | None]


@dataclass(frozen=True)
class Phrase:
    """Words, of which kind (see MOST), and the objects that they fit."""

    words: str
    kind: str
    objects: tuple[int, ...]


@dataclass
class Outcomes:
    """What was answered, by kind of phrase and scene."""

    answers: dict[str, list[list[str]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, scene: int, answer: str) -> None:
        """One more answer about a scene."""
        scenes = self.answers[kind]
        scenes.extend([] for _ in range(scene + 1 - len(scenes)))
        scenes[scene].append(answer)

    def figure(self, kind: str, *answers: str) -> Figure | None:
        """Share of phrases of a kind that were answered by one of these."""
        return share_figure([[one in answers for one in scene] for scene in self.answers[kind]],
                            np.random.default_rng(0))


def scenes(world: World, first: int, split: str, count: int) -> Iterator[Scene]:
    """One frame of each scene from seed `first` on; the same for the same arguments."""
    for number in range(count):
        plan = world.plan(first + number, split, MOMENTS[-1] + 0.2, None)
        shot = world.render(plan, MOMENTS[number % len(MOMENTS)])
        facts = facts_of(plan, MOMENTS[number % len(MOMENTS)], shot.seg)
        yield Scene(shot.rgb, facts, [_box(shot.seg == i + 1) for i in range(len(facts))])


def phrases(scene: Scene, rng: Random) -> list[Phrase]:
    """Those that are measured: a few of each kind. What also fits an object of which too little is
    seen is left out."""
    found: dict[str, list[Phrase]] = defaultdict(list)
    pairs = [(colour, kind) for colour in COLOURS for kind in CATEGORIES]
    whole = [(pattern, *pair) for pattern in PATTERNS for pair in pairs]
    seen = {word for fact in scene.facts if fact.visible for word in (fact.colour, fact.category)}
    for words in [*((kind,) for kind in CATEGORIES), *pairs, *whole]:
        fitting = [i for i, fact in enumerate(scene.facts) if fact.area and _fits(words, fact)]
        if not all(scene.facts[i].visible for i in fitting):
            continue
        made = Phrase('the ' + ' '.join(words), 'several', tuple(fitting))
        if len(fitting) > 1 and len(words) < 3:
            found['several'].append(made)
        elif len(fitting) == 1 and len(words) == 2 or len(words) == 3 and len(fitting) == 1 \
                and not _alone(words[1:], scene.facts):
            found['unique'].append(Phrase(made.words, 'unique', made.objects))
        elif not fitting and len(words) == 2:
            kind = 'near' if set(words) <= seen else 'absent'
            found[kind].append(Phrase(made.words, kind, ()))
    return [one for kind, most in MOST.items()
            for one in rng.sample(found[kind], min(most, len(found[kind])))]


def calibration_phrases(scene: Scene, rng: Random) -> list[Phrase]:
    """Those that the calibration rests on: a kind, a colour or a pattern with a kind."""
    made = []
    for words in [*((kind,) for kind in CATEGORIES), *(
            (look, kind) for look in (*COLOURS, *PATTERNS) for kind in CATEGORIES)]:
        fitting = [i for i, fact in enumerate(scene.facts) if fact.area and _fits(words, fact)]
        if all(scene.facts[i].visible for i in fitting) and (
                fitting or rng.random() < ABSENT_SHARE):
            made.append(Phrase('the ' + ' '.join(words), 'calibration', tuple(fitting)))
    return made


def _fits(words: Sequence[str], fact: Fact) -> bool:
    return set(words) <= {fact.category, fact.colour, fact.pattern}


def _alone(words: Sequence[str], facts: Sequence[Fact]) -> bool:
    return sum(bool(fact.area) and _fits(words, fact) for fact in facts) == 1


def _box(mask: np.ndarray) -> Box | None:
    found = box_of(mask)
    return found and Box(found[0], found[1], found[0] + found[2], found[1] + found[3])


def _is_one_of(box: Box, scene: Scene, objects: Sequence[int]) -> bool:
    return any(box_iou(box, scene.boxes[i]) > RIGHT_IOU for i in objects)


def _asked(detector: ReferringDetector, scene: Scene, made: list[Phrase]
           ) -> tuple[list[Proposal], list[tuple[Phrase, list[float]]]]:
    """The proposals of a scene, and each phrase with how well it fits them; no word is asked about
    twice."""
    proposals, objects = detector.look(scene.image)
    words = sorted({word for phrase in made for word in content_words(phrase.words)})
    fit = dict(zip(words, detector.fit(objects, words).T, strict=True))
    return proposals, [(phrase, sum(fit[word] for word in content_words(phrase.words)).tolist())
                       for phrase in made]


def measure(detector: ReferringDetector, made: Iterator[Scene], seed: int) -> Outcomes:
    """What the detector and its policy answer: 'right' or 'wrong' for a box that was selected, else
    the name of the error. Of several fitting objects each is right."""
    outcomes = Outcomes()
    for number, scene in enumerate(made):
        proposals, asked = _asked(detector, scene, phrases(scene, Random(f'{seed} {number}')))
        for phrase, fits in asked:
            try:
                chosen = detector.policy.choose(phrase.words, detector.matches(proposals, fits))
                answer = 'right' if _is_one_of(chosen.box, scene, phrase.objects) else 'wrong'
            except NotSelected as error:
                answer = error.code
            outcomes.add(phrase.kind, number, answer)
    return outcomes


def calibrate(detector: ReferringDetector, made: Iterator[Scene]) -> Calibration:
    """Log odds by logistic regression over the proposals and phrases of scenes: whether a
    proposal's box is that of an object which the phrase fits."""
    rows = []
    for number, scene in enumerate(made):
        proposals, asked = _asked(
            detector, scene, calibration_phrases(scene, Random(f'calibration {number}')))
        for phrase, fits in asked:
            right = [_is_one_of(_box(one.mask), scene, phrase.objects) for one in proposals]
            rows.append((proposals, fits, right))
    fitted = Calibration(0.0, 1.0, 1.0)
    for _ in range(ROUNDS):
        fitted = _fit(fitted, rows)
    return fitted


def _fit(before: Calibration, rows: Sequence[tuple[list[Proposal], list[float], list[bool]]]
         ) -> Calibration:
    """One round: on the proposals that are left when `before` chooses among overlapping ones."""
    values, truth = [], []
    for proposals, fits, right in rows:
        place = {id(one): n for n, one in enumerate(proposals)}
        scored = [(before.score(fit, one.sure), one)
                  for fit, one in zip(fits, proposals, strict=True)]
        for _, one in distinct(scored):
            at = place[id(one)]
            values.append((1.0, fits[at], float(np.log(max(one.sure, LEAST_SURE)))))
            truth.append(float(right[at]))
    inputs, wanted = torch.tensor(values).double(), torch.tensor(truth).double()
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn='strong_wolfe')

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        made = F.binary_cross_entropy_with_logits(inputs @ weights, wanted)
        made.backward()
        return made

    optimizer.step(loss)
    return Calibration(*weights.detach().tolist())


def table(outcomes: Outcomes) -> str:
    """The figures as rows of a table."""
    unsure = ('NO_MATCH', 'UNSURE_MATCH')
    rows = [('one object fits: it is selected', 'unique', ('right',)),
            ('one object fits: another place is selected', 'unique', ('wrong',)),
            ('one object fits: asked back (the rest)', 'unique', (*unsure, 'SEVERAL_MATCHES')),
            ('none fits: NO_MATCH or UNSURE_MATCH', 'absent', unsure),
            ('none fits: something is selected', 'absent', ('right', 'wrong')),
            ('none fits, each word fits something: NO_MATCH or UNSURE_MATCH', 'near', unsure),
            ('none fits, each word fits something: something is selected', 'near',
             ('right', 'wrong')),
            ('several fit: SEVERAL_MATCHES', 'several', ('SEVERAL_MATCHES',)),
            ('several fit: one of them is selected', 'several', ('right',)),
            ('several fit: another place is selected', 'several', ('wrong',))]
    lines = ['| phrase and answer | share | n | 95 % interval |', '|---|---|---|---|']
    for name, kind, answers in rows:
        figure = outcomes.figure(kind, *answers)
        lines.append(f'| {name} | ' + ('not measured | 0 | |' if figure is None else
                     f'{figure.value:.3f} | {figure.n} | {figure.low:.3f} to {figure.high:.3f} |'))
    return '\n'.join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description='Measures the tiny detector on new scenes.')
    parser.add_argument('--seed', type=int, default=14, help='0 to 9999: which test scenes')
    parser.add_argument('--scenes', type=int, default=80, help='how many')
    parser.add_argument('--calibrate', action='store_true', help='fit the calibration instead')
    parser.add_argument('--out', type=Path, help='put the table into this file, below its text')
    given = parser.parse_args()
    torch.set_num_threads(1)
    detector = ReferringDetector.packaged()
    first, split = (CALIBRATION_SEED, 'train') if given.calibrate else (
        FIRST_SEED + 10_000 * given.seed, 'test')
    with World(Contract.load()) as world:
        made = tqdm(scenes(world, first, split, given.scenes), total=given.scenes, unit='scene')
        if given.calibrate:
            print(calibrate(detector, made))
            return 0
        outcomes = measure(detector, made, given.seed)
    text = table(outcomes)
    print(text)
    for kind, by_scene in outcomes.answers.items():
        print(kind, dict(Counter(one for scene in by_scene for one in scene)), file=sys.stderr)
    if given.out:
        before = given.out.read_text(encoding='utf-8').split('| phrase and answer |')[0] \
            if given.out.exists() else ''
        given.out.write_text(before + text + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
