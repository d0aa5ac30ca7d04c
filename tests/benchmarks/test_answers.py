# SPDX-License-Identifier: Apache-2.0
"""The benchmark of answers: what it counts, what it compares, and that its command runs."""

import dataclasses

import pytest

from benchmarks import answers
from benchmarks.answers import SMALL, Answers, about, in_turn, scene
from benchmarks.figures import Curve, Ratio


@pytest.fixture(scope='module')
def bench():
    return Answers(SMALL)


def test_a_ratio_is_the_median_of_the_runs_ratios_and_says_whether_it_is_met():
    ratio = Ratio('it', [1, 9, 3], [2, 10, 4], 0.7)
    assert ratio.value == 0.75 and '**no**' in ratio.row and '0.750 (0.500 to 0.900)' in ratio.row
    assert '| yes |' in dataclasses.replace(ratio, target=0.75).row
    assert ratio.row.startswith('| it | 3.000 | 4.000 |')


def test_a_slope_is_seconds_for_each_unit():
    curve = Curve('cost', 'frame')
    for size in (1, 2, 4):
        curve.add('ours', size, 0.5 + 0.02 * size)
    assert curve.slope('ours') == pytest.approx((0.02, 0.5))
    assert curve.words == ['cost, ours: 20.0 ms more for each frame, on 500 ms (least squares '
                           'over 3 points).']


def test_ways_are_run_in_turn_and_a_first_round_is_thrown_away():
    order = []
    results = in_turn(2, lambda: order.append('a') or len(order),
                      lambda: order.append('b') or len(order))
    assert order == ['a', 'b'] * 3 and results == [[3, 5], [4, 6]]


def test_both_make_as_many_tokens_and_the_baseline_sees_each_region_by_itself(bench, monkeypatch):
    seen, tower = [], bench.plain.tower
    monkeypatch.setattr(bench.plain, 'tower', lambda p, g: (seen.append(len(p)), tower(p, g))[1])
    made, answer = [], bench.plain.answer
    monkeypatch.setattr(bench.plain, 'answer',
                        lambda *a: (made.append(answer(*a)), made[-1])[1])
    bench.describe_plainly(3, 7)
    assert len(seen) == 9 and seen[1::3] == [576] * 3 and seen[2::3] == [256] * 3
    assert [len(one.token_ids) for one in made] == [7] * 3
    calls = bench.encoder.calls
    run = bench.describe(3, 7)
    assert bench.encoder.calls.calls == calls.calls + 1
    assert 0 < run.first < run.whole and run.first + run.decoding == pytest.approx(run.whole)
    told = list(bench.language().generate([about('What?', bench.encoded(1))], max_new_tokens=7))
    assert len(told) == 7


def test_a_question_that_calls_the_vision_tower_is_a_fault(bench, monkeypatch):
    prompt, language = about('What is it?', bench.encoded(1)), bench.language()
    assert bench.first_token(language, prompt) > 0
    generate = language.generate
    monkeypatch.setattr(language, 'generate', lambda *a, **k: (
        bench.encoder.encode(*scene(1)), generate(*a, **k))[1])
    with pytest.raises(AssertionError, match='vision tower'):
        bench.first_token(language, prompt)


def test_the_command_writes_its_table_and_its_picture(tmp_path, monkeypatch, capsys):
    pytest.importorskip('matplotlib')
    monkeypatch.setattr(answers, 'SMALL', dataclasses.replace(SMALL, repeats=1))
    out = tmp_path / 'answers.md'
    status = answers.main(['--small', '--out', str(out)])
    text = out.read_text()
    assert capsys.readouterr().out == text + '\n' and text.count('| ours, s |') == 1
    assert sum(line.count('| yes |') + line.count('| **no** |') for line in text.splitlines()) == 6
    assert status == int('**no**' in text)
    assert (tmp_path / 'answers.png').read_bytes().startswith(b'\x89PNG') and 'least squares' in text
