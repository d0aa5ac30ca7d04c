# SPDX-License-Identifier: Apache-2.0
"""The command line in this process, its pictures, and a store that is empty."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pixelrefer_model.cli import main
from pixelrefer_model.cli.selection import read_selections


@pytest.fixture(autouse=True)
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing was downloaded, whatever the user of this machine has."""
    monkeypatch.setenv('PIXELREFER_CHECKPOINTS', str(tmp_path / 'store'))
    return tmp_path / 'store'


@pytest.fixture
def pixelrefer(capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str, str]]:
    """Runs `pixelrefer ...`: status, stdout, stderr."""
    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            status = main([str(one) for one in arguments])
        except SystemExit as ended:     # as argparse does it
            status = ended.code
        out, err = capsys.readouterr()
        return status, out, err
    return run


@pytest.fixture
def told(pixelrefer: Callable[..., tuple[int, str, str]]) -> Callable[..., dict]:
    """Runs `pixelrefer ... --json` and reads what it says."""
    def run(*arguments: object) -> dict:
        status, out, err = pixelrefer(*arguments, '--device', 'cpu', '--json')
        assert status == 0, err
        return json.loads(out)
    return run


@pytest.fixture
def asked(pixelrefer: Callable[..., tuple[int, str, str]],
          monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, list[str]]]]:
    """The questions that `pixelrefer ...` would put to a model, with the objects of each."""
    from pixelrefer_model.cli import session

    def put(*arguments: object, full: bool = False) -> list[tuple[str, list[str]]]:
        questions: list[tuple[str, list[str]]] = []

        def instead(given: argparse.Namespace, make: session.Questions) -> int:
            ids = [one.object_id for one in read_selections(given.selected)]
            questions.extend(make(ids, full))
            return 0
        monkeypatch.setattr(session, 'run', instead)
        status, _, err = pixelrefer(*arguments)
        assert status == 0, err
        return questions
    return put
