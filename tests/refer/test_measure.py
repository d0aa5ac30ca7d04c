# SPDX-License-Identifier: Apache-2.0
"""Rules of measuring: what an answer rests on, and that sharing the work changes nothing."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from training.refer.facts import Fact
from training.refer.measure import (
    STAMPED, HeldOutScene, Score, count, evidence_of, held_out_scenes, last_sights, tokens_of)
from training.refer.questions import Item
from training.world import Contract, World

SCRIPT = Path(__file__).parents[2] / 'training' / 'evaluate.py'
LAST = STAMPED[-1]


class Encoder:
    """Gives each mask its number of pixels as object tokens, and counts the masks."""

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, image, masks) -> torch.Tensor:
        self.encoded += len(masks)
        return torch.tensor([float(mask.sum()) for mask in masks])[:, None, None]


def mask(pixels: int) -> np.ndarray:
    made = np.zeros(50, bool)
    made[:pixels] = True
    return made.reshape(5, 10)


def scene(window: list[Item]) -> HeldOutScene:
    return HeldOutScene(0, dict.fromkeys(STAMPED), {}, [], [], window, [])


#: Object 0 is seen to the end, 1 until the second stamp, 2 never.
MASKS = {f: {0: mask(10 + n), **({1: mask(20 + n)} if n < 2 else {})}
         for n, f in enumerate(STAMPED)}


def seen(item: Item, tokens: dict, frames=STAMPED[-1:], looks: int = 1) -> list[list[float]] | None:
    evidence = evidence_of(item, frames, tokens, looks)
    return evidence and [e.tokens.flatten().tolist() for e in evidence]


def test_the_very_last_frame_knows_only_what_has_a_mask_there():
    tokens = tokens_of(scene([]), MASKS, Encoder())
    assert seen(Item('category', '', (0,), ''), tokens) == [[13.0]]
    assert seen(Item('category', '', (1,), ''), tokens) is None


def test_the_engine_answers_from_the_last_sight_and_invents_none():
    tokens = last_sights(tokens_of(scene([]), MASKS, Encoder()), -1.0)
    assert seen(Item('same_colour', '', (0, 1), ''), tokens) == [[13.0], [21.0]]
    assert seen(Item('category', '', (2,), ''), tokens) is None


def test_a_window_rests_on_every_stamp():
    encoder = Encoder()
    tokens = tokens_of(scene([Item('motion', '', (0,), '')]), MASKS, encoder)
    assert seen(Item('motion', '', (0,), ''), tokens, STAMPED) == [[10.0, 11.0, 12.0, 13.0]]
    assert encoder.encoded == 6


def test_now_is_a_sight_that_looks_like_those_before():
    tokens = {(f, 0): torch.tensor([[x, 1 - x]]) for f, x in zip(STAMPED, (0.0, 0.1, 1.0, 0.9))}
    now = last_sights(tokens, 0.8)[STAMPED[-1], 0]
    assert torch.equal(now, tokens[STAMPED[1], 0])
    assert torch.equal(last_sights(tokens, -1.0)[STAMPED[-1], 0], tokens[STAMPED[-1], 0])


def test_in_two_looks_a_still_rests_on_the_first_sight_too_but_on_no_sight_twice():
    tokens = last_sights(tokens_of(scene([]), MASKS | {STAMPED[1]: {2: mask(30)}}, Encoder()), -1.0)
    assert seen(Item('category', '', (0,), ''), tokens, looks=2) == [[10.0, 13.0]]
    assert seen(Item('category', '', (2,), ''), tokens, looks=2) == [[30.0]]


def test_scenes_begin_where_questions_are_drawn_anew():
    with pytest.raises(ValueError, match='block of'):
        next(held_out_scenes(None, 1, range(3, 9)))


def test_what_is_sure_and_what_was_never_shown_together_is_counted_apart():
    fact = Fact('mug', 'red', 'plain', 'small', 900, 0.5, 0.5, (0.0, 0.0, 1.0))
    scene, score = HeldOutScene(0, {}, {}, [fact, fact], [], [], [], frozenset({1})), Score()
    for i, text, confidence in ((0, 'A mug.', 0.95), (1, 'A mug.', 0.5), (1, 'A can.', 0.9),
                                (0, '', 0.0)):
        count(Item('category', '', (i,), 'mug'), scene, text, confidence, score)
    assert score.hits['category'] == [[True, True, False, False]]
    assert score.hits['sure'] == [[True, False]]
    assert score.hits['unseen_category'] == [[True, False]]


def test_held_out_pairs_of_category_and_colour_are_what_is_called_unseen():
    contract, unseen = Contract.load(), 0
    with World(contract) as world:
        for scene in held_out_scenes(world, 6, 8, every_frame=False):
            for i, fact in enumerate(scene.facts):
                assert (i in scene.unseen) == ((fact.category, fact.colour) in contract.held_out)
            unseen += len(scene.unseen)
    assert unseen


def test_scores_of_other_scenes_are_taken_in_scene_by_scene():
    whole, first, second = Score(), Score(), Score()
    for n in range(6):
        for score in (whole, first if n < 4 else second):
            score.count('category', n, n % 3 > 0)
    first.add(second)
    assert first.hits == whole.hits and first.figure('category') == whole.figure('category')


def test_two_processes_measure_what_one_does():
    said = [json.loads(subprocess.run(
        [sys.executable, str(SCRIPT), '--seed', '6', '--scenes', '21',
         '--parts', 'refer_true_masks',
         '--processes', processes], capture_output=True, text=True, timeout=900,
        check=True).stdout) for processes in ('1', '2')]
    assert said[0] == said[1]
