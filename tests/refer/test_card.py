# SPDX-License-Identifier: Apache-2.0
"""A model card says what its run was, and what the stages before it were."""

import json
import shutil
from dataclasses import asdict

import pytest

from pixelrefer_model.engine import TINY
from training.refer.card import TENSES_HEADING, write_card
from training.tenses.recipe import TenseRecipe


@pytest.mark.parametrize('device, made', [
    ('cpu', '1 processes of one CPU thread each'), ('NVIDIA H200', 'NVIDIA H200')])
def test_a_card_of_the_tenses_tells_the_stages_before_once(tmp_path, device, made):
    run, checkpoint = tmp_path / 'run', tmp_path / 'checkpoint'
    run.mkdir()
    shutil.copytree(TINY['refer'], checkpoint)
    (run / 'recipe.json').write_text(json.dumps(
        {**asdict(TenseRecipe(minutes=7.0)), 'shards': 3, 'processes': 1, 'device': device}))
    (run / 'log.jsonl').write_text(json.dumps(
        {'step': 5, 'seconds': 420.0, 'records': 12, 'held_out': {'moved': 0.5},
         'before': {'colour': 1.0}}) + '\n')
    before = (checkpoint / 'README.md').read_text()
    stages = before[before.index('## Training'):before.index(TENSES_HEADING)]
    figures = {f'refer_{part}': {} for part in ('true_masks', 'last_sight', 'tracked_masks')}
    for _ in range(2):
        (checkpoint / 'tenses.png').unlink()
        write_card(run, figures, checkpoint, 1, 20, 'A note.')
        card = (checkpoint / 'README.md').read_text()
        assert card.count(stages) == card.count(TENSES_HEADING) == card.count('## Limits') == 1
        assert '--minutes 7' in card and 'A note.' in card
        assert f'{made}, 5 steps (7.0 minutes)' in card
        assert ('--device cuda`' in card) == (device != 'cpu')
        assert '`now_looks` 2' in card and '--start' not in card.split(TENSES_HEADING)[1]
        assert (checkpoint / 'tenses.png').exists()


@pytest.mark.parametrize('looks, told', [(1, False), (2, True)])
def test_a_card_tells_what_its_questions_rest_on_and_what_its_run_began_with(tmp_path, looks, told):
    run, checkpoint = tmp_path / 'run', tmp_path / 'checkpoint'
    run.mkdir()
    shutil.copytree(TINY['refer'], checkpoint)
    config = json.loads((checkpoint / 'config.json').read_text())
    (checkpoint / 'config.json').write_text(json.dumps({**config, 'now_looks': looks}))
    (run / 'recipe.json').write_text(json.dumps(
        {**asdict(TenseRecipe()), 'shards': 3, 'processes': 2, 'start': 'somewhere'}))
    (run / 'log.jsonl').write_text(json.dumps(
        {'step': 5, 'seconds': 420.0, 'records': 12, 'held_out': {}, 'before': {}}) + '\n')
    write_card(run, {f'refer_{part}': {} for part in ('true_masks', 'last_sight', 'tracked_masks')},
               checkpoint, 1, 20)
    card = (checkpoint / 'README.md').read_text()
    assert ('`now_looks` 2' in card) is told
    assert '--start CHECKPOINT' in card.split(TENSES_HEADING)[1] and 'somewhere' not in card
