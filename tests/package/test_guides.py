# SPDX-License-Identifier: Apache-2.0
"""What docs/troubleshooting.md and docs/tuning.md quote from the sources is there, word for word."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TROUBLE = (ROOT / 'docs' / 'troubleshooting.md').read_text()
TUNING = (ROOT / 'docs' / 'tuning.md').read_text()
PAGES = {'troubleshooting.md': TROUBLE, 'tuning.md': TUNING}
MODULES = [ast.parse(path.read_text()) for package in ('pixelrefer_model', 'pixelrefer_ros')
           for path in sorted((ROOT / package).rglob('*.py'))]
#: Stands for what a message is filled with when it is sent, and for dots in a quotation.
FILLED, DOTS = '\0', '...'
#: A message is quoted as "`...`", with two backticks where it has one itself.
QUOTED = re.compile(r'"(`+)(.+?)\1"')


def templates() -> Iterator[str]:
    """Every string of the packages, FILLED where an f-string is."""
    for module in MODULES:
        for node in ast.walk(module):
            if isinstance(node, ast.JoinedStr):
                yield ''.join(part.value if isinstance(part, ast.Constant) else FILLED
                              for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
    for script in (ROOT / 'pixelrefer_ros' / 'page' / 'static').glob('*.js'):
        yield re.sub(r'\$\{[^}]*\}', FILLED, script.read_text())


SOURCES = '\n'.join(templates()) + '\n'


def said(message: str) -> bool:
    """Whether a string holds the message, with anything in the place of its dots."""
    words = [re.escape(part) for part in message.split(DOTS)]
    return re.search('[^\n]*?'.join(words), SOURCES) is not None


def quotations() -> list[str]:
    return [message for _, message in QUOTED.findall(TROUBLE)]


def constants() -> dict[str, set[object]]:
    """Numbers that modules give names in capitals."""
    found: dict[str, set[object]] = {}
    for node in (node for module in MODULES for node in module.body):
        if isinstance(node, ast.Assign):
            names, value = node.targets[0], node.value
            pairs = zip(names.elts, value.elts) if (
                isinstance(names, ast.Tuple) and isinstance(value, ast.Tuple)) else [(names, value)]
            for name, number in pairs:
                if isinstance(name, ast.Name) and isinstance(number, ast.Constant):
                    found.setdefault(name.id, set()).add(number.value)
    return found


def parameters() -> dict[str, str]:
    """Names and defaults in config/pixelrefer.yaml."""
    text = (ROOT / 'config' / 'pixelrefer.yaml').read_text()
    return dict(re.findall(r'^    (\w+): (.*)$', text, re.M))


@pytest.mark.parametrize('message', quotations())
def test_every_message_that_is_quoted_is_one(message):
    assert said(message)


def test_most_of_the_page_is_looked_at_and_a_wrong_message_is_found():
    assert len(quotations()) > 60
    assert not said('no image has come yet in this epoch, requests ...')
    assert not said('nobody publishes ... anywhere')


@pytest.mark.parametrize('page', PAGES)
def test_codes_and_parameters_of_the_pages_are_there(page):
    """What is written like a code or in backticks like a parameter of ours."""
    text = re.sub(r'```.*?```', '', PAGES[page], flags=re.S)
    known = set(re.findall(r'uint16 (\w+)=', (ROOT / 'msg' / 'ErrorCode.msg').read_text()))
    codes = {code for cell in re.findall(r'^\| ([A-Z_, ]+?)(?: on| of a)?\b.* \|', text, re.M)
             for code in re.findall(r'[A-Z][A-Z_]{3,}', cell)}
    assert codes <= known and (codes or page == 'tuning.md'), codes - known
    prefix = r'abstain|detector|tracker|encoder|language|answer|frame_ring|keep|keyframe|max|jump|depth'
    named = set(re.findall(rf'`((?:{prefix})_\w+)`', text)) - {
        name for name in re.findall(r"'(\w+)'", (ROOT / 'pixelrefer_ros/health.py').read_text())}
    assert named and named <= set(parameters()), named - set(parameters())


def test_the_table_of_bounds_has_the_defaults_that_hold():
    rows = re.findall(r'^\|[^|]*\| `(\w+)`[^|]*\| ([\d.]+) \|', TUNING, re.M)
    values = {name: {value} for name, value in parameters().items()} | {
        name: {str(value) for value in found} for name, found in constants().items()}
    assert len(rows) >= 12
    assert not [(name, default) for name, default in rows if default not in values.get(name, ())]


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
    broken = []
    for target in re.findall(r'\]\(([^)#]*)(?:#[\w-]*)?\)', PAGES[page]):
        if target and not (ROOT / 'docs' / target).exists():
            broken.append(target)
    assert not broken
