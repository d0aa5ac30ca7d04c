# SPDX-License-Identifier: Apache-2.0
"""Measures how often questions about time are answered rightly:
`./run python -m training.tenses.measure --seed N --scenes M`.

Test scenes of 30 to 120 s that were never trained on, with true masks, greedy answers of the
shipped inference path. Each question is asked four times: with the stamped observations that the
memory chooses and the text history, with that of a robot that knows no places, with none, and with
the last sight of each object alone. Prints one JSON object: per checkpoint and tense or kind the
share of right answers for each, and that of the one answer that is right most often, each
{"value", "n", "low", "high"}.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random

import numpy as np
import torch
from tqdm import tqdm

from pixelrefer_model.language import LanguageModel, compose
from pixelrefer_model.language.generate import collect
from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder
from pixelrefer_model.weights import checkpoint_folder
from training.tenses.grading import right
from training.tenses.kinds import KINDS, TENSES
from training.tenses.prompts import evidence_of, facts_of_query
from training.tenses.records import FIRST_SEED, LongRecord, Query, Scribe, read_shard, write_shard
from training.tenses.wording import text_of
from training.tracker.measure import Figure, share_figure
from training.world import Contract, World
from training.world.long_scenes import SECONDS

#: How each question is asked, and the best that one answer to all of a kind would do.
WAYS, MAJORITY = ('with history', 'without places', 'observations', 'last sight'), 'usual answer'
MOST_NEW_TOKENS, BATCH = 16, 16


def measured_scenes(world: World, encoder: RegionEncoder, seed: int, scenes: int
                 ) -> Iterator[LongRecord]:
    """The scenes of a seed with their questions; the same for the same arguments."""
    scribe = Scribe(world, encoder, vary=False)
    for index in range(scenes):
        yield from scribe.records(FIRST_SEED + seed * 10_000 + index, 'test', SECONDS)


def answers_to(record: LongRecord, language: LanguageModel, way: str, number: int) -> list[str]:
    """What is said to each question of a scene. number: of the scene; it decides the wordings."""
    rng, said = Random(f'wording {number}'), []
    prompts = [compose(text_of(query.kind, query.now, rng, 'all'),
                       evidence_of(query, record, last=way == 'last sight'),
                       facts=facts_of_query(query, unplaced=way == 'without places')
                       if way in ('with history', 'without places') else ())
               for query in record.queries]
    for at in range(0, len(prompts), BATCH):
        some = prompts[at:at + BATCH]
        said += [one.text for one in collect(
            language.generate(some, max_new_tokens=MOST_NEW_TOKENS), len(some))]
    return said


class Tally:
    """Whether each question was answered rightly, by kind, way and scene."""

    def __init__(self) -> None:
        self.hits: dict[str, dict[str, dict[int, list[bool]]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(list)))

    def count(self, kind: str, way: str, scene: int, good: bool) -> None:
        """One more answer."""
        self.hits[kind][way][scene].append(good)

    def figures(self, kinds: Sequence[str]) -> dict[str, Figure | None]:
        """Of some kinds together, per way."""
        made = {}
        for way in (*WAYS, MAJORITY):
            scenes = defaultdict(list)
            for kind in kinds:
                for scene, hits in self.hits[kind][way].items():
                    scenes[scene] += hits
            made[way] = share_figure(list(scenes.values()), np.random.default_rng(0))
        return made

    def table(self) -> dict[str, dict[str, Figure | None]]:
        """By tense, and by kind."""
        return {**{tense: self.figures(list(kinds)) for tense, kinds in TENSES.items()},
                **{kind: self.figures([kind]) for kind in KINDS}}


def usual(queries: Iterable[Query]) -> dict[str, str]:
    """Per kind the one answer that would be right most often."""
    expected = defaultdict(list)
    for query in queries:
        expected[query.kind].append(query.answer)
    return {kind: max(dict.fromkeys(all_of), key=lambda answer: sum(
        right(kind, answer, one) for one in all_of)) for kind, all_of in expected.items()}


def measure(records: Sequence[LongRecord], language: LanguageModel) -> Tally:
    """Ask all questions of all scenes in every way."""
    tally = Tally()
    most = usual(query for record in records for query in record.queries)
    for number, record in enumerate(tqdm(records, desc='asking', unit='scene', mininterval=5)):
        for way in WAYS:
            for query, said in zip(record.queries, answers_to(record, language, way, number)):
                tally.count(query.kind, way, number, right(query.kind, said, query.answer))
        for query in record.queries:
            tally.count(query.kind, MAJORITY, number,
                        right(query.kind, most[query.kind], query.answer))
    return tally


def made_once(folder: Path | None, model: PixelReferLite, seed: int, scenes: int
              ) -> list[LongRecord]:
    """The scenes of a seed, kept in `folder` for other checkpoints that see alike."""
    encoder = RegionEncoder(model)
    file = folder and folder / f'test-{encoder.key[:16]}-{seed}-{scenes}.pt'
    if file and file.exists():
        return read_shard(file, encoder.key)
    with World(Contract.load()) as world:
        made = list(tqdm(measured_scenes(world, encoder, seed, scenes), total=scenes,
                         desc='scenes', unit='scene'))
    if file:
        write_shard(file, made, encoder.key)
    return made


def markdown(table: dict[str, dict[str, Figure | None]]) -> str:
    """The figures of one checkpoint as Markdown."""
    lines = ['| questions | n | ' + ' | '.join((*WAYS, MAJORITY)) + ' |',
             '|---' * (3 + len(WAYS)) + '|']
    for name, figures in table.items():
        if figures[MAJORITY] is None:
            continue
        shown = [f'{f.value:.3f} ({f.low:.3f} to {f.high:.3f})' for f in
                 (figures[way] for way in WAYS)] + [f'{figures[MAJORITY].value:.3f}']
        bold = '**' if name in TENSES else ''
        lines.append(f'| {bold}{name.replace("_", " ")}{bold} | {figures[MAJORITY].n} | '
                     + ' | '.join(shown) + ' |')
    return '\n'.join(lines) + '\n'


def main() -> None:
    parser = argparse.ArgumentParser(description='Measures answers to questions about time.')
    parser.add_argument('--seed', type=int, required=True, help='0 to 9999: which test scenes')
    parser.add_argument('--scenes', type=int, required=True, help='how many, 1 to 10000')
    parser.add_argument('--refer', action='append', help='checkpoint, may be given several times '
                        '(default: packaged)')
    parser.add_argument('--out', type=Path, help='folder for figures.json, figures.md and '
                        'the rendered scenes')
    given = parser.parse_args()
    if not 0 <= given.seed <= 9999 or not 1 <= given.scenes <= 10_000:
        parser.error('--seed is 0 to 9999, --scenes 1 to 10000')
    os.environ.setdefault('LP_NUM_THREADS', '1')
    torch.set_num_threads(1)
    figures, pages = {}, []
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
    for name in given.refer or ['tiny']:
        model = PixelReferLite.from_checkpoint(checkpoint_folder(name, 'refer'))
        records = made_once(given.out, model, given.seed, given.scenes)
        table = measure(records, LanguageModel(model)).table()
        figures[name] = {row: {way: figure and asdict(figure) for way, figure in columns.items()}
                         for row, columns in table.items()}
        pages.append(f'### {name}\n\n{markdown(table)}')
    text = json.dumps(figures, indent=1)
    print(text)
    if given.out:
        (given.out / 'figures.json').write_text(text + '\n')
        (given.out / 'figures.md').write_text('\n'.join(pages))


if __name__ == '__main__':
    sys.exit(main())
