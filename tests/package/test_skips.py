# SPDX-License-Identifier: Apache-2.0
"""A test that is skipped without its reason fails the run, and so does one that ran without it."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from skips import LIST, OTHER_NEEDS, is_here, listed, mistakes

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = {'a.py::test_one': ('tf2_ros',), 'a.py::test_two[x]': ('torchao',),
            'b.py': ('rclpy', 'pixelrefer'), 'b.py::test_signal': ('rclpy', 'linux')}


@pytest.mark.parametrize('skipped, present, said', [
    ({'a.py::test_one': True}, set(), ''),
    ({'a.py::test_one': False}, {'tf2_ros'}, ''),
    ({'a.py::test_one[x]': True}, {'tf2_ros'}, 'although tf2_ros is here'),
    ({'a.py::test_one': False}, set(), 'ran without tf2_ros'),
    ({'a.py::test_two[x]': True, 'a.py::test_two[y]': False}, set(), ''),
    ({'a.py::test_two[y]': True}, set(), 'is not in expected_skips.txt'),
    ({'a.py::test_other': True}, set(), 'is not in expected_skips.txt'),
    ({'a.py::test_other': False}, set(), ''),
    ({'b.py': True}, {'rclpy'}, ''),
    ({'b.py::test_any': True}, {'rclpy', 'pixelrefer'}, 'although rclpy, pixelrefer is here'),
    ({'b.py::test_signal': True}, {'rclpy', 'pixelrefer'}, ''),
])
def test_what_is_skipped_is_what_is_missing(skipped, present, said):
    found = mistakes(skipped, EXPECTED, present.__contains__)
    assert len(found) == bool(said) and said in ''.join(found)


def test_every_test_of_the_list_exists():
    for test in listed():
        path, _, name = test.partition('[')[0].partition('::')
        assert (ROOT / path).is_file(), test
        functions = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text()))
                     if isinstance(node, ast.FunctionDef)}
        assert not name or name in functions, test


def test_needs_are_packages_or_named():
    assert is_here('pytest') and not is_here('no_such_package')
    needs = {need for words in listed().values() for need in words}
    assert all(need.isidentifier() or need in OTHER_NEEDS for need in needs)
    assert set(OTHER_NEEDS) <= needs


@pytest.mark.parametrize('line', ['tests/x.py', 'tests/a.py tf2_ros\ntests/a.py rclpy'])
def test_a_line_that_says_nothing_or_twice_is_refused(tmp_path, line):
    (tmp_path / 'list.txt').write_text(line)
    with pytest.raises(ValueError):
        listed(tmp_path / 'list.txt')


def run(folder: Path, listed_: str, body: str) -> subprocess.CompletedProcess:
    """Run a file of tests under this project's hooks with another list."""
    tests = folder / 'tests'
    tests.mkdir()
    for name in ('conftest.py', 'skips.py'):
        shutil.copy(LIST.with_name(name), tests)
    (folder / 'pytest.ini').write_text('[pytest]\n')
    (tests / LIST.name).write_text(listed_)
    (tests / 'test_it.py').write_text('import pytest\n' + body)
    return subprocess.run([sys.executable, '-m', 'pytest', '-q', 'tests'], cwd=folder, text=True,
                          capture_output=True, timeout=300, check=False)


def test_a_run_with_a_skip_that_nobody_expected_fails(tmp_path):
    result = run(tmp_path, '', 'def test_it():\n    pytest.importorskip("no_such_package")\n')
    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert 'tests/test_it.py::test_it was skipped and is not in' in result.stdout


def test_a_run_with_the_expected_skips_passes(tmp_path):
    result = run(
        tmp_path, 'tests/test_it.py no_such_package\n', 'pytest.importorskip("no_such_package")\n')
    assert result.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, result.stdout
    assert 'not expected' not in result.stdout
