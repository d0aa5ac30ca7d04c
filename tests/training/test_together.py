# SPDX-License-Identifier: Apache-2.0
"""Rules of training in several processes: every one steps by the mean of all gradients."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from training.optimizer import Optimizer
from training.together import Together, run_together

ROOT = Path(__file__).parents[2]
#: Ends what hangs; nothing is measured against it.
WATCHDOG_S = 120.0


def average_in(together: Together, folder: Path) -> None:
    """Each process brings its own gradients and seconds; the second has none for `b`, nobody for
    `c`."""
    a, b, c = (nn.Parameter(torch.zeros(size)) for size in (2, 3, 1))
    a.grad = torch.tensor([1.0, 2.0]) * (together.rank + 1)
    if together.first:
        b.grad = torch.full((3,), 4.0)
    seconds = together.average([a, b, c], float(together.rank))
    (folder / f'{together.rank}.json').write_text(
        json.dumps([a.grad.tolist(), b.grad.tolist(), c.grad, seconds]))


def test_every_process_gets_the_mean_gradient_and_the_mean_time(tmp_path):
    run_together(2, average_in, tmp_path)
    got = [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1)]
    assert got[0] == got[1] == [[1.5, 3.0], [2.0, 2.0, 2.0], None, 0.5]


def share_in(together: Together, folder: Path) -> None:
    torch.manual_seed(together.rank)
    layer = nn.Linear(2, 2)
    together.share(layer)
    (folder / f'{together.rank}.json').write_text(json.dumps(layer.weight.tolist()))


def test_every_process_starts_with_the_weights_of_the_first(tmp_path):
    run_together(2, share_in, tmp_path)
    torch.manual_seed(0)
    first = nn.Linear(2, 2).weight.tolist()
    assert [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1)] == [first] * 2


def fail_in_the_second(together: Together) -> None:
    if not together.first:
        raise ValueError('the second process has no shards')


def test_a_process_that_fails_ends_all_with_its_reason():
    with pytest.raises(torch.multiprocessing.ProcessRaisedException, match='has no shards'):
        run_together(2, fail_in_the_second)


def wait_for_ever(together: Together, folder: Path) -> None:
    (folder / str(together.rank)).write_text(str(os.getpid()))
    threading.Event().wait()


def test_a_terminated_run_leaves_no_process_behind(tmp_path):
    program = ('import sys; from pathlib import Path; from training.together import run_together; '
               'from test_together import wait_for_ever; '
               'run_together(2, wait_for_ever, Path(sys.argv[1]))')
    parent = subprocess.Popen([sys.executable, '-c', program, tmp_path], env={
        **os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), str(Path(__file__).parent)])})
    end = time.monotonic() + WATCHDOG_S
    while len(list(tmp_path.iterdir())) < 2 or not all(p.read_text() for p in tmp_path.iterdir()):
        assert time.monotonic() < end and parent.poll() is None
        time.sleep(0.05)
    children = [int(path.read_text()) for path in tmp_path.iterdir()]
    parent.terminate()
    assert parent.wait(WATCHDOG_S) == 128 + signal.SIGTERM
    while any(Path(f'/proc/{pid}').exists() for pid in children):
        assert time.monotonic() < end, 'a process outlived the run'
        time.sleep(0.05)


def test_one_process_needs_no_other(tmp_path):
    run_together(1, average_in, tmp_path)
    assert json.loads((tmp_path / '0.json').read_text()) == [[1.0, 2.0], [4.0] * 3, None, 0.0]


def test_hidden_matrices_go_to_muon_and_every_parameter_to_exactly_one_group():
    sizes = {'layer.mlp.weight': (4, 2), 'layer.mlp.bias': (4,), 'embed.weight': (9, 2),
             'mlp.conv.weight': (2, 3, 7, 7)}
    named = [(name, nn.Parameter(torch.ones(size))) for name, size in sizes.items()]
    optimizer = Optimizer(named, 0.1, 0.5, hidden=lambda name: 'mlp' in name,
                          part=lambda name: name.split('.')[0])

    def names(parameters: list[nn.Parameter]) -> set[str]:
        return {name for name, p in named if any(p is other for other in parameters)}

    assert names([p for g in optimizer.muon.param_groups for p in g['params']]) == {
        'layer.mlp.weight'}
    assert len(optimizer.parameters()) == len(named) and names(optimizer.parameters()) == set(sizes)
    assert names(optimizer.parameters('layer')) == {'layer.mlp.weight', 'layer.mlp.bias'}
    decayed = [p for g in optimizer.param_groups if g['weight_decay'] for p in g['params']]
    assert names(decayed) == set(sizes) - {'layer.mlp.bias'}
