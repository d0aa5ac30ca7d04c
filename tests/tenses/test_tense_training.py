# SPDX-License-Identifier: Apache-2.0
"""The stage of the tenses: it reads what inference reads, and changes the language model alone."""

import re
from argparse import Namespace
from random import Random

import pytest
import torch
from tenses_support import CONTRACT, K

from pixelrefer_model.language import compose
from pixelrefer_model.memory.history import UNKNOWN
from pixelrefer_model.pixelrefer import PixelReferLite
from training.refer.sizes import tiny_config
from training.refer.texts import sequences
from training.tenses.kinds import RECENTLY
from training.tenses.pictures import Picture
from training.tenses.prompts import asked_of, evidence_of, facts_of_query
from training.tenses.recipe import TenseRecipe, recipe_of
from training.tenses.render import shard_path
from training.tenses.step import READ, later, scene_of, spread
from training.tenses.tokenizer import tense_tokenizer
from training.tenses.train import shards_there
from training.tenses.trainer import TenseTrainer
from training.tenses.watching import time_of


class Two:
    """A pool of the same records each time."""

    def __init__(self, records) -> None:
        self.records = records

    def draw(self, step: int, count: int, rank: int = 0):
        return self.records[:2]


class Seen:
    """Pictures of the stages before: a frame of a record, the same each time."""

    def __init__(self, records) -> None:
        scene, rows = scene_of(records[0], next(
            window for window in records[0].windows if len(window) == 1), CONTRACT)
        self.picture = Picture(scene, records[0].tokens[rows])

    def draw(self, step: int, singles: int, clips: int, rank: int = 0):
        return [self.picture]


def trainer(drills: int = 0, late: float = 1.0, ahead: int = 0) -> TenseTrainer:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = tense_tokenizer()
    # So long that no second counts: the rate depends on the clock.
    return TenseTrainer(PixelReferLite.from_config(tiny_config(tokenizer)), tokenizer,
                        TenseRecipe(minutes=1e9, scenes=1, queries=(4, 7), before=3, read=5,
                                    drills=(drills, 0), late=late, ahead=ahead), CONTRACT)


def test_a_training_sequence_is_the_prompt_of_inference_with_its_history(records):
    tokenizer, record = tense_tokenizer(), records[0]
    told = 0
    for query in record.queries[::3]:
        for history in (True, False):
            one = asked_of(query, record, 0, Random(2), history=history)
            batch, = sequences([one], K, tokenizer, buckets=1)
            prompt = compose(one.item.text, evidence_of(query, record),
                             facts=facts_of_query(query) if history else ())
            head = tokenizer.encode(prompt.text)
            assert batch.ids[0, :len(head)].tolist() == head
            assert torch.equal(record.tokens.flatten(0, 1)[batch.rows], prompt.tokens)
            last = asked_of(query, record, 0, Random(2), history=False, last=True)
            batch, = sequences([last], K, tokenizer, buckets=1)
            assert torch.equal(record.tokens.flatten(0, 1)[batch.rows], compose(
                last.item.text, evidence_of(query, record, last=True)).tokens)
            told += history and bool(one.facts)
    assert told > 3


def test_only_the_language_model_learns_and_a_run_goes_on_where_its_state_was_taken(
        records, tmp_path):
    first, pools = trainer(drills=4), (Two(records), Seen(records))
    before = {name: p.detach().clone() for name, p in first.model.named_parameters()}
    first.train_step(*pools)
    changed = {name.split('.')[1] for name, p in first.model.named_parameters()
               if not torch.equal(p, before[name])}
    assert changed == {'layers', 'embed_tokens', 'norm'}
    torch.save(first.state(), tmp_path / 'state.pt')
    second = trainer(drills=4)
    second.load_state(torch.load(tmp_path / 'state.pt', weights_only=True))
    for one in (first, second):
        one.train_step(*pools)
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_asks_of_the_past_and_what_was_asked_before_too(records):
    made = trainer()
    made.maker.questioner.rng.seed(1)
    tokens, asked = made.maker.asked(records[:2], made.late)
    assert len(tokens) == sum(len(record.regions) for record in records[:2])
    assert all(0 <= row < len(tokens) for one in asked for rows in one.regions for row in rows)
    first = [one for one in asked if one.regions[0][0] < len(records[0].regions)]
    kinds = {query.kind for query in records[0].queries}
    assert 4 <= len(first) <= 4 + 3 and not {one.item.kind for one in first} <= kinds


def test_more_is_asked_of_what_goes_on_and_comes_next(records):
    counts = []
    for ahead in (0, 3):
        made = trainer(ahead=ahead)
        made.maker.questioner.rng.seed(1)
        asked = [one for one in made.maker.asked(records[:2], made.late)[1]
                 if one.regions[0][0] < len(records[0].regions)]
        counts.append(sum(one.item.kind in RECENTLY for one in asked))
    assert counts[1] == counts[0] + 3


def test_what_is_read_rests_on_the_history_and_a_moment_or_two(records):
    made = trainer()
    made.maker.questioner.rng.seed(1)
    start = len(records[0].regions)
    read = [one for one in made.maker.asked(records[:2], made.late)[1] if one.regions[0][0] >= start]
    assert 1 < len(read) <= 5 and {one.item.kind for one in read} <= set(READ)
    assert all(1 <= len(rows) <= 2 for one in read for rows in one.regions)
    assert all(len(rows) == len(times) for one in read
               for rows, times in zip(one.regions, one.seconds, strict=True))
    assert sum(bool(one.facts) for one in read) > len(read) / 2


def test_places_in_a_history_change_nothing_else_of_it(records):
    query = max(records[0].queries, key=lambda query: len(query.events))
    plain, placed = facts_of_query(query), facts_of_query(query, Random(0))
    assert plain and any(' m in ' in one for one in placed)
    assert tuple(re.sub(r' at \(.*\) m in \w+', '', one) for one in placed) == plain


def test_kinds_take_turns_so_that_rare_ones_are_asked(records):
    queries = records[0].queries
    kinds = {query.kind for query in queries}
    assert {query.kind for query in spread(queries, len(kinds), Random(0))} == kinds


def test_a_window_is_a_scene_as_the_stages_before_know_it(records):
    record = records[0]
    for window in record.windows:
        scene, rows = scene_of(record, window, CONTRACT)
        assert [record.regions[n] for n in rows] == [
            (sorted({record.regions[n][0] for n in rows})[v], i) for v, i in scene.regions]
        assert scene.seconds == [time_of(k - min(window)) for k in sorted(
            {record.regions[n][0] for n in rows})] or scene.seconds[0] == 0.0
        if len(scene.seconds) > 1:
            for i, motion in scene.motions.items():
                views = scene.views_of(i)
                step = torch.tensor(scene.facts[views[-1]][i].world) - torch.tensor(
                    scene.facts[views[0]][i].world)
                if motion:
                    assert (float(step.norm()) < 0.01) == (motion == 'still')


@pytest.mark.parametrize('kind', ['was_on', 'moved', 'order'])
def test_what_is_asked_of_the_beginning_is_never_postponed(records, kind):
    own = [query for record in records for query in record.queries if query.kind == kind]
    assert own
    assert all(later(query, Random(n)) == query for query in own for n in range(6))


def test_without_places_a_history_tells_no_motion_and_says_that_it_cannot(records):
    query = max((q for record in records for q in record.queries),
                key=lambda q: sum(one.kind == 'moved' for one in q.events))
    record = next(record for record in records if query in record.queries)
    told = asked_of(query, record, 0, Random(0), history=True, unplaced=True).facts
    unknown = [UNKNOWN.format(i) for i in query.things]
    assert list(told[-len(unknown):]) == unknown
    assert not any(word in one for one in told[:-len(unknown)] for word in ('moved', 'still'))
    assert any(' moved at' in one for one in facts_of_query(query))
    assert not set(unknown) & set(facts_of_query(query))


def test_once_it_can_read_it_is_drilled_less_and_asked_more_of_what_is_seen(records, monkeypatch):
    drilled, seen = [], []
    monkeypatch.setattr('training.tenses.step.draw_drill',
                        lambda *_: drilled.append(made) or made.drill)
    for late in (1.0, 0.0):
        made = trainer(drills=6, late=late)
        made.maker.questioner.rng.seed(1)
        made.drill = None
        asked = made.maker.asked(records[:1], made.late)[1]
        seen.append(sum(one is not None for one in asked))
        assert drilled.count(made) == (6 if late else 0)
    assert seen[1] > seen[0]


def test_of_a_folder_that_holds_more_shards_only_those_of_the_run_count(tmp_path):
    for number in range(3):
        shard_path(tmp_path, number).touch()
    given = Namespace(shards_dir=tmp_path, shards=2)
    assert shards_there(given) == 2
    shard_path(tmp_path, 0).unlink()
    assert shards_there(given) == 1


def test_on_a_gpu_a_run_has_more_scenes_and_drills_less_where_it_can_read_already():
    cpu, gpu, again = (recipe_of(None, 3, *given) for given in (
        (False, False), (False, True), (True, True)))
    assert cpu == TenseRecipe(seed=3) and gpu.scenes == again.scenes > cpu.scenes
    assert (gpu.late, again.late, again.heads_later) == (0.4, 0.0, 0.0)
    assert again.drills[0] < gpu.drills[0] and again.rate < gpu.rate
    more = recipe_of(None, 3, True, False)
    assert (more.rate, more.heads_later, more.late) == (again.rate, 0.0, 0.0)
    assert more.scenes < cpu.scenes and more.clips > cpu.clips
    assert recipe_of(7.0, 3, True, True).minutes == 7.0
