# SPDX-License-Identifier: Apache-2.0
"""What a wording does to an answer: every kind of question about the same objects in ten phrasings,
and the task prompts of the published models.

A kind's ten are its first eight in `wording.py`, all trained on, and the two that never are.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from pixelrefer_model.language import LanguageModel, compose
from pixelrefer_model.language.generate import collect
from pixelrefer_model.language.tasks import CHOICE
from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder
from training.refer.answers import article, motion_claim, right
from training.refer.facts import visible
from training.refer.measure import (
    MOST_NEW_TOKENS, STAMPED, HeldOutScene, evidence_of, true_masks, tokens_of)
from training.refer.questions import GROUP, PAIR, SINGLE, Asker, Item, shuffled_pairs
from training.refer.wording import PREFIXES, PUBLISHED, WORDINGS
from training.tracker.measure import Figure, share_figure
from training.world import Contract

#: Where the answers to the published prompts are counted.
TASKS = 'task prompts'
#: Stands for a question with options, whose words differ every time.
CHOICES = f'question (A) ... (B) .... {CHOICE}'
#: Published prompts that number the regions before they ask, as the released demos do; none of them
#: is trained on.
NUMBERED = {
    'category': ('There is 1 region in the image: <region0> {a}. What is it?',),
    'relation': ('There are two regions in the image: <region0>{a}, <region1>{b}. Is <region0> '
                 'left or right of <region1>?',),
    'same_colour': ('There are 2 region in the image: <region0>{a}, <region1>{b}. Are they the '
                    'same colour?',),
}
#: How a prompt's objects are written in a table.
NAMES = {'{a}': '<region>', '{b}': '<region>'}
BATCH = 16


def ten(kind: str) -> tuple[str, ...]:
    """The phrasings of a kind that are compared; the last two are never trained on."""
    own = WORDINGS[kind]
    return own[:8] + own[-2:]


def published(kind: str, video: bool) -> tuple[str, ...]:
    """The published prompts that ask for this kind of answer, of an image or of a video."""
    if kind == 'choice':
        return (CHOICES,)
    own = tuple(w for w in (*PUBLISHED.get(kind, ()), *NUMBERED.get(kind, ()))
                if ('video' in w) == video)
    return own + ((PREFIXES[1][0] + 'What is it?',) if kind == 'category' else ())


def reworded(item: Item, wording: str) -> Item:
    """The same question in these words."""
    if wording == CHOICES:
        return item
    word = item.probes[0][0] if item.probes else ''
    asked = article(word) if item.kind == 'is_category' else word
    return replace(item, text=Asker.named(wording).replace('{k}', asked))


@dataclass
class Phrased:
    """Whether each answer was right: by kind, phrasing (or task) and scene."""

    hits: dict[str, dict[str, dict[int, list[bool]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: defaultdict(list))))

    def figure(self, kind: str, phrasing: str) -> Figure:
        """One phrasing's share of right answers."""
        return share_figure(list(self.hits[kind][phrasing].values()), np.random.default_rng(0))

    def spread(self, kind: str) -> float:
        """How far the best phrasing of a kind is from the worst."""
        values = [self.figure(kind, phrasing).value for phrasing in self.hits[kind]]
        return max(values) - min(values)


def ask_phrasings(model: PixelReferLite, scenes: Iterable[HeldOutScene], seed: int) -> Phrased:
    """Ask every kind of question of every scene in each phrasing; true masks, greedy."""
    encoder, language, phrased = RegionEncoder(model), LanguageModel(model), Phrased()
    asker = Asker(Random(seed), Contract.load(), 'train')
    for scene in scenes:
        tokens = tokens_of(scene, true_masks(scene), encoder)
        asked = []
        for item, frames in _items(scene, asker):
            evidence = evidence_of(item, frames, tokens, model.config.now_looks)
            if evidence is None:
                continue
            video = len(frames) > 1
            if item.kind in WORDINGS and not (video and item.kind != 'motion'):
                asked += [(item, item.kind, phrasing, evidence) for phrasing in ten(item.kind)]
            asked += [(item, TASKS, wording, evidence) for wording in published(item.kind, video)]
        for at in range(0, len(asked), BATCH):
            some = asked[at:at + BATCH]
            prompts = [compose(reworded(item, wording).text, evidence)
                       for item, _, wording, evidence in some]
            said = collect(language.generate(prompts, max_new_tokens=MOST_NEW_TOKENS), len(some))
            for (item, table, wording, _), one in zip(some, said, strict=True):
                phrased.hits[table][wording][scene.number].append(
                    right(item.kind, one.text, item.answer))
    return phrased


def _items(scene: HeldOutScene, asker: Asker) -> Iterator[tuple[Item, tuple[int, ...]]]:
    """One question of each kind, where the scene has one, and the frames it is about."""
    seen, facts = visible(scene.facts), scene.facts
    asker.rng.shuffle(seen)
    for kind in SINGLE:
        item = next(filter(None, (asker.single(kind, facts, i) for i in seen)), None)
        if item:
            yield item, STAMPED[-1:]
    pairs = [(seen[i], seen[j]) for i, j in shuffled_pairs(len(seen), asker.rng)]
    for kind in PAIR:
        item = next(filter(None, (asker.pair(kind, facts, i, j) for i, j in pairs)), None)
        if item:
            yield item, STAMPED[-1:]
    if len(seen) > 1:
        for kind in GROUP:
            item = asker.group(kind, facts, tuple(seen[:3]))
            if item:
                yield item, STAMPED[-1:]
    if scene.window:
        moved = asker.rng.choice(scene.window)
        yield moved, STAMPED
        i, = moved.objects
        facts = [*facts[:i], replace(facts[i], motion=motion_claim(moved.answer)), *facts[i + 1:]]
        for kind in ('sentence', 'detailed'):
            yield asker.single(kind, facts, i, video=True), STAMPED


def phrasings_table(phrased: Phrased) -> str:
    """Per kind the shares of right answers over its phrasings, as Markdown."""
    lines = ['| question | asked of | eight trained on | first never trained on | second '
             '| best less worst |', '|---|---|---|---|---|---|']
    for kind in sorted(set(phrased.hits) - {TASKS}):
        own = ten(kind)
        figures = [phrased.figure(kind, phrasing) for phrasing in own]
        trained = np.mean([f.value for f in figures[:8]])
        lines.append(f'| {kind} | {figures[0].n} | {trained:.3f} | {figures[8].value:.3f} | '
                     f'{figures[9].value:.3f} | {100 * phrased.spread(kind):.1f} points |')
    return '\n'.join(lines) + '\n'


def tasks_table(phrased: Phrased) -> str:
    """Per task prompt its share of right answers, as Markdown."""
    lines = ['| task prompt | share right | n | 95 % interval |', '|---|---|---|---|']
    for wording in phrased.hits[TASKS]:
        figure = phrased.figure(TASKS, wording)
        shown = re.sub(r'(<region\d>|{[ab]})', lambda found: f'`{NAMES.get(found[0], found[0])}`',
                       wording).replace('``', '').replace('\n', ' ⏎ ')
        lines.append(f'| {shown} | {figure.value:.3f} | {figure.n} | {figure.low:.3f} to '
                     f'{figure.high:.3f} |')
    return '\n'.join(lines) + '\n'
