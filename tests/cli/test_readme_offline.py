# SPDX-License-Identifier: Apache-2.0
"""What the README shows of the use without ROS is run as it stands there."""

import re
import shlex

import pytest
from cli_support import ROOT

SECTION = (ROOT / 'README.md').read_text().split('## Without ROS')[1].split('\n## ')[0]
COMMANDS = [shlex.split(line) for line in re.findall(r'^    (\./run .*)$', SECTION, re.MULTILINE)]


@pytest.mark.parametrize(('number', 'words'), [
    (0, ('mug', 'can')), (1, ('right',)), (2, ('left',))])
def test_a_command_in_the_readme_gives_the_right_answer(
        pixelrefer, monkeypatch, tmp_path, number, words):
    run, name, *line = COMMANDS[number]
    assert (run, name, len(COMMANDS)) == ('./run', 'pixelrefer', 3)
    (tmp_path / 'docs').symlink_to(ROOT / 'docs')
    monkeypatch.chdir(tmp_path)
    status, out, err = pixelrefer(*line)
    assert status == 0, err
    assert all(word in out.lower() for word in words), out
    assert '--save' not in line or (tmp_path / line[-1]).stat().st_size


def test_the_python_example_in_the_readme_gives_the_right_answers(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(SECTION.split('```python\n')[1].split('```')[0], {})
    category, motion = capsys.readouterr().out.splitlines()
    assert 'mug' in category and 'left' in motion.lower()
