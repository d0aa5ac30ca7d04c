# SPDX-License-Identifier: Apache-2.0
"""Rules of training/evaluate.py: the JSON that it promises, and clear words for bad arguments."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'training' / 'evaluate.py'
TRACKER = {'box_prompt_frame', 'box_next_10', 'box_next_30', 'click_prompt_frame', 'click_next_10',
           'click_next_30', 'mask_prompt_frame', 'mask_next_10', 'mask_next_30', 'absent_empty',
           'refound', 'swapped', 'swapped_clips'}
REFER = {'category', 'colour', 'pattern', 'relation', 'support', 'same_colour', 'motion',
         'motion_still', 'count', 'caption', 'small_category', 'small_colour', 'size', 'position',
         'choice', 'is_so', 'unseen_category', 'unseen_colour', 'sure', 'faint', 'not_faint'}


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True,
                          text=True, timeout=600)


def test_one_scene_gives_the_promised_json_alone_on_standard_output(tmp_path):
    out = tmp_path / 'figures.json'
    done = run('--seed', '3', '--scenes', '1', '--parts', 'refer_true_masks', '--out', str(out))
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures == json.loads(out.read_text())
    assert {part: set(named) for part, named in figures.items()} == {
        'tracker': TRACKER, 'refer_true_masks': REFER, 'refer_tracked_masks': REFER,
        'refer_last_sight': REFER}
    assert all(f is None for f in figures['tracker'].values())
    category = figures['refer_true_masks']['category']
    assert set(category) == {'value', 'n', 'low', 'high'}
    assert 0 <= category['low'] <= category['value'] <= category['high'] <= 1


@pytest.mark.parametrize('arguments, words', [
    (('--seed', '-1', '--scenes', '1'), '0 to 9999'),
    (('--seed', '1', '--scenes', '0'), '1 to 10000'),
    (('--seed', '1', '--scenes', 'many'), 'many'),
    (('--seed', '1', '--scenes', '1', '--parts', 'speed'), 'speed'),
    (('--scenes', '1'), '--seed'),
    (('--seed', '1', '--scenes', '1', '--refer', '/no/such/folder'), '/no/such/folder')])
def test_bad_arguments_are_named(arguments, words):
    done = run(*arguments)
    assert done.returncode == 2 and words in done.stderr and not done.stdout
    assert 'Traceback' not in done.stderr
