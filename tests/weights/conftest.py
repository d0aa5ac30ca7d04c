# SPDX-License-Identifier: Apache-2.0
"""A hub on this machine, a store of its own for each test, and the command as a person types it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from weights_support import NAME, ROOT, WATCHDOG_S, Hub, noise


@pytest.fixture
def content() -> dict[str, bytes]:
    """A repository with what is needed and what is not."""
    return {
        'config.json': b'{"model_type": "sam2_video"}\n', 'merges.txt': b'a b\n',
        'model.safetensors': noise(1 << 20),
        'sam2.1_hiera_tiny.pt': noise(1 << 17), 'README.md': b'# card\n',
        'modeling_evil.py': b'raise SystemExit\n', 'training_args.bin': noise(100),
        'onnx/config.json': b'{}',
    }


@pytest.fixture
def hub(content: dict[str, bytes]) -> Iterator[Hub]:
    with Hub(NAME, content) as served:
        yield served


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store, for this process and those it starts."""
    monkeypatch.setenv('PIXELREFER_CHECKPOINTS', str(tmp_path / 'store'))
    return tmp_path / 'store'


@pytest.fixture
def environment(hub: Hub, kept: Path, tmp_path: Path) -> dict[str, str]:
    """In which the hub is the one here, and nothing of the user's is touched."""
    return {**os.environ, 'HF_ENDPOINT': hub.url, 'HF_HOME': str(tmp_path / 'hf'),
            'NO_PROXY': '127.0.0.1', 'HF_HUB_OFFLINE': '0'}


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts `pixelrefer ...` against the hub here; ends it with the test."""
    started = []

    def start(*arguments: object, **more: str) -> subprocess.Popen:
        started.append(subprocess.Popen(
            [sys.executable, '-m', 'pixelrefer_model.cli', *map(str, arguments)], cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**environment, **more}))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=WATCHDOG_S)


@pytest.fixture
def pixelrefer(start: Callable[..., subprocess.Popen]) -> Callable[..., tuple[int, str, str]]:
    """Runs `pixelrefer ...` to its end: status, stdout, stderr."""
    def run(*arguments: object, **more: str) -> tuple[int, str, str]:
        process = start(*arguments, **more)
        out, err = process.communicate(timeout=WATCHDOG_S)
        assert 'Traceback' not in err, err
        return process.returncode, out, err
    return run
