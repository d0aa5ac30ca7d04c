# SPDX-License-Identifier: Apache-2.0
"""Questions of a step as token sequences, put together by the very function inference uses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import torch
from torch import Tensor

from pixelrefer_model.language import Evidence, Tokenizer, compose
from training.refer.questions import Asker, Item, shuffled_pairs
from training.refer.scenes import Scene, shift

#: How often each kind is asked of one object in one frame.
SINGLE_SHARES = {'category': 16, 'colour': 16, 'pattern': 12, 'size': 8, 'phrase': 10,
                 'sentence': 10, 'detailed': 40, 'position': 40, 'support': 16, 'choice': 16,
                 'is_category': 12, 'is_colour': 10, 'is_pattern': 10}
WINDOW_SHARES = {'motion': 60, 'category': 6, 'colour': 3, 'phrase': 5, 'sentence': 14,
                 'detailed': 12}
PAIR_SHARES = {'relation': 16, 'depth': 14, 'is_left': 10, 'is_right': 10, 'is_in_front': 10,
               'is_behind': 10, 'same_colour': 16, 'same_category': 12, 'held': 14, 'held_in': 12}
#: Questions about several objects per frame.
GROUPS = 4
#: How often an object that stands still is asked about something else instead, since most do.
STILL_SKIPPED = 0.4
#: Pair kinds that compare places.
COMPARED = ('relation', 'depth', 'is_left', 'is_right', 'is_in_front', 'is_behind')
#: Pair kinds whose yes is rare in a scene: every pair is tried.
RARE = ('same_colour', 'same_category', 'held', 'held_in')


#: Questions about a picture out of a clip: per object, and about pairs.
OF_A_CLIP = 3, 5
#: Share of the pictures out of clips in which an object shows as it was some time ago too: as the
#: engine asks about what was selected then and is tracked since.
LOOKED_BEFORE = 0.85

#: Kinds that are not asked where no colours are seen.
COLOURED = ('colour', 'phrase', 'sentence', 'detailed', 'choice', 'is_colour', 'same_colour')


@dataclass(frozen=True)
class Asked:
    """A question about regions of a step.

    regions: per object of the request its regions, oldest first. seconds: likewise, or None for
    the image form, where the last region is of now and one before it of an earlier look.
    difference: what the answer compares, in metres, where it compares places: the first object's
    from the second's in the camera frame, or how far an object moved, as `Labels` has it. facts:
    sentences of the prompt besides, which call objects by their numbers in the item.
    """

    item: Item
    regions: list[list[int]]
    seconds: list[list[float]] | None
    difference: tuple[float, float, float] | None = None
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sequences:
    """Prompts with their answers, padded at the end.

    ids: int64 [B, N]; places are counted through all of them, row by row. places, rows: int64 [T],
    every `<REGION>` place in order and its object token (region * K + k). due, truth: int64 [A],
    the places after which an answer's token comes, and that token. compared: int64 [C], the last
    place of each prompt that compares, and differences: float [C, 3], what. probes, matches: int64
    [P], the last token of each probed word, and how many objects match it.
    """

    ids: Tensor
    places: Tensor
    rows: Tensor
    due: Tensor
    truth: Tensor
    compared: Tensor
    differences: Tensor
    probes: Tensor
    matches: Tensor


class Questioner:
    """Draws the questions of training steps; keeps the answers balanced over all of them."""

    def __init__(self, rng: Random, asker: Asker) -> None:
        self.rng = rng
        self.asker = asker

    def _draw(self, shares: dict[str, int], grey: bool) -> str:
        known = {kind: share for kind, share in shares.items() if not grey or kind not in COLOURED}
        return self.rng.choices(list(known), list(known.values()))[0]

    def about(self, scene: Scene, offset: int, *, singles: int, pairs: int,
              windows: int) -> list[Asked]:
        """Questions about a scene whose first region has the number `offset`.

        singles and windows: per object; pairs: per scene. A clip is asked of as a window, and of
        one of its frames as a picture, mostly with an earlier look at each object before it.
        """
        asked: list[Asked] = []
        views = sorted({view for view, _ in scene.regions})
        view = self.rng.choice(views)
        facts = scene.facts[view]
        place = {i: [offset + scene.region(view, i)] for v, i in scene.regions if v == view}
        earlier = [v for v in views if v < view]
        if earlier and self.rng.random() < LOOKED_BEFORE:
            before = self.rng.choice(earlier)
            for i in place:
                if (row := scene.region(before, i)) is not None:
                    place[i] = [offset + row, *place[i]]
        clip = len(scene.seconds) > 1
        for i in place:
            for _ in range(min(singles, OF_A_CLIP[0]) if clip else singles):
                # At most one more try where an answer was ahead of the others.
                item = self.asker.faint(i) if not facts[i].visible else \
                    self.asker.single(self._draw(SINGLE_SHARES, scene.grey), facts, i) or \
                    self.asker.single(self._draw(SINGLE_SHARES, scene.grey), facts, i)
                if item:
                    asked.append(Asked(item, [place[i]], None))
        asked += self._several(facts, place, min(pairs, OF_A_CLIP[1]) if clip else pairs,
                               scene.grey)
        if clip:
            asked += self._windows(scene, offset, windows)
        return asked

    def _several(self, facts: list, place: dict[int, list[int]], pairs: int, grey: bool
                 ) -> list[Asked]:
        asked = []
        things = [i for i in place if facts[i].visible]
        if len(things) < 2:
            return asked
        for _ in range(pairs):
            kind = self._draw(PAIR_SHARES, grey)
            order = shuffled_pairs(len(things), self.rng)
            for i, j in order if kind in RARE else order[:2]:
                item = self.asker.pair(kind, facts, things[i], things[j])
                if item:
                    apart = None if kind not in COMPARED else tuple(
                        np.subtract(facts[things[i]].camera, facts[things[j]].camera))
                    asked.append(Asked(item, [place[k] for k in item.objects], None, apart))
                    break
        for _ in range(GROUPS):
            count = self.rng.randint(2, min(4, len(things)))
            chosen = tuple(self.rng.sample(things, count))
            kind = 'count' if grey or self.rng.random() < 0.75 else 'count_colour'
            item = self.asker.group(kind, facts, chosen)
            if item:
                asked.append(Asked(item, [place[k] for k in chosen], None))
        return asked

    def _windows(self, scene: Scene, offset: int, windows: int) -> list[Asked]:
        asked = []
        # Times count from the object's own first observation, which may be long ago.
        before = self.rng.choice((0.0, 0.0, round(self.rng.uniform(0, 40), 1)))
        for i, motion in scene.motions.items():
            views = scene.views_of(i)
            facts = list(scene.facts[views[-1]])
            facts[i] = replace(facts[i], motion=motion)
            rows = [offset + scene.region(v, i) for v in views]
            seconds = [before + scene.seconds[v] for v in views]
            for _ in range(windows):
                kind = self._draw(WINDOW_SHARES, scene.grey)
                if kind == 'motion' and motion == 'still' and self.rng.random() < STILL_SKIPPED:
                    kind = 'category' if scene.grey else 'sentence'
                item = self.asker.single(kind, facts, i, video=True)
                if item:
                    moved = shift(scene, i) if item.kind == 'motion' else None
                    asked.append(Asked(item, [rows], [seconds], moved))
        return asked


def sequences(asked: list[Asked], k: int, tokenizer: Tokenizer, *, buckets: int = 3
              ) -> list[Sequences]:
    """Token sequences of like length together, in at most `buckets` batches with as little padding
    as can be."""
    made, answers = [], {}
    for one in asked:
        evidence = [Evidence(str(thing), _rows(regions, k), None if one.seconds is None
                             else one.seconds[n])
                    for n, (thing, regions) in enumerate(zip(one.item.objects, one.regions))]
        prompt = compose(one.item.text, evidence, facts=one.facts)
        head = tokenizer.encode(prompt.text)
        answer = answers.get(one.item.answer)
        if answer is None:  # many are the same
            answer = answers[one.item.answer] = [
                *tokenizer.encode(one.item.answer), tokenizer.end_id]
        probes = [(word_end(head, tokenizer.encode(f' {word}')), number)
                  for word, number in one.item.probes]
        made.append((head + answer, len(head), prompt.tokens[:, 0], one.difference, probes))
    made.sort(key=lambda one: len(one[0]))
    starts = cuts([len(ids) for ids, *_ in made], buckets)
    return [_padded(made[start:end], tokenizer.region_id)
            for start, end in zip(starts, [*starts[1:], len(made)], strict=True)]


def cuts(lengths: Sequence[int], count: int) -> list[int]:
    """Where the batches of sequences with these lengths, shortest first, begin, so that `count`
    batches at most, each as wide as its longest, hold the fewest places."""
    if not lengths:
        return []
    widths, ends = np.unique(lengths, return_counts=True)
    ends = np.cumsum(ends)
    # [i, j]: places of a batch from width i to width j.
    places = (ends[None] - np.r_[0, ends[:-1]][:, None]) * widths[None]
    places = np.where(np.tri(len(widths), dtype=bool).T, places, np.iinfo(np.int64).max // 4)
    least, begins = places[0], []
    for _ in range(min(count, len(widths)) - 1):
        ways = np.minimum(np.r_[0, least[:-1]][:, None] + places, np.iinfo(np.int64).max // 4)
        begins.append(ways.argmin(0))
        least = ways.min(0)
    starts, last = [], len(widths) - 1
    for begin in reversed(begins):
        starts.append(int(np.r_[0, ends][begin[last]]))
        last = begin[last] - 1
        if last < 0:
            break
    return sorted({0, *starts})


def word_end(ids: list[int], word: list[int]) -> int:
    """Place of the last token of the last `word` in `ids`. Raises ValueError without any."""
    for end in range(len(ids), len(word) - 1, -1):
        if ids[end - len(word):end] == word:
            return end - 1
    raise ValueError(f'the tokens {word} are not in {ids}')


def _rows(regions: list[int], k: int) -> Tensor:
    """[n, K, 1]: the number of each object token instead of the token."""
    return (torch.tensor(regions)[:, None] * k + torch.arange(k))[..., None]


def _padded(made: list[tuple[list[int], int, Tensor, tuple[float, ...] | None,
                             list[tuple[int, int]]]], region_id: int) -> Sequences:
    longest = max(len(ids) for ids, *_ in made)
    ids = torch.zeros(len(made), longest, dtype=torch.long)
    due, truth, compared, differences, probes = [], [], [], [], []
    for n, (sequence, head, _, difference, some) in enumerate(made):
        ids[n, :len(sequence)] = torch.tensor(sequence)
        start = n * longest
        due += range(start + head - 1, start + len(sequence) - 1)
        truth += sequence[head:]
        probes += [(start + at, number) for at, number in some]
        if difference is not None:
            compared.append(start + head - 1)
            differences.append(difference)
    places = (ids == region_id).flatten().nonzero()[:, 0]
    rows = torch.cat([rows for _, _, rows, *_ in made])
    if len(places) != len(rows):
        raise ValueError(f'{len(places)} places for {len(rows)} tokens')
    probed = torch.tensor(probes, dtype=torch.long).reshape(-1, 2)
    return Sequences(ids, places, rows, torch.tensor(due), torch.tensor(truth),
                     torch.tensor(compared, dtype=torch.long),
                     torch.tensor(np.array(differences), dtype=torch.float32).reshape(-1, 3),
                     probed[:, 0].contiguous(), probed[:, 1].contiguous())
