# SPDX-License-Identifier: Apache-2.0
"""What the demo starts never outlives it, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from demo_support import WATCHDOG_S, until

from pixelrefer_ros.demo.processes import Processes

HERE = Path(__file__).parent
ENVIRONMENT = {'PYTHONPATH': os.pathsep.join((str(HERE), os.environ.get('PYTHONPATH', '')))}


def gone(pid: int) -> bool:
    """Whether there is no such process any more; one that only waits to be reaped is gone."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z'
    except OSError:
        return True


def pid_in(path: Path) -> int:
    """The process that wrote its id there, once it has."""
    until(lambda: path.exists() and path.read_text() != '', f'the process of {path.name}')
    return int(path.read_text())


def test_leaving_ends_every_process_also_a_stubborn_one(tmp_path):
    with Processes(ENVIRONMENT, tmp_path / 'log', grace_s=1.0) as processes:
        processes.start('kind', 'child', tmp_path / 'kind')
        processes.start('stubborn', 'child', tmp_path / 'stubborn', 'stubborn')
        pids = [pid_in(tmp_path / name) for name in ('kind', 'stubborn')]
        assert not any(gone(pid) for pid in pids)
    assert all(gone(pid) for pid in pids)


def test_an_error_in_between_ends_them_too(tmp_path):
    with pytest.raises(RuntimeError), Processes(ENVIRONMENT, tmp_path / 'log') as processes:
        processes.start('kind', 'child', tmp_path / 'kind')
        pid = pid_in(tmp_path / 'kind')
        raise RuntimeError
    assert gone(pid)


@pytest.mark.skipif(sys.platform != 'linux', reason='prctl is Linux')
@pytest.mark.parametrize('ending', [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_child_survives_its_parent(tmp_path, ending):
    parent = subprocess.Popen([sys.executable, '-c', f'''
import signal, time
from pathlib import Path
from pixelrefer_ros.demo.processes import Processes
signal.signal(signal.SIGTERM, signal.default_int_handler)
with Processes({ENVIRONMENT!r}, Path({str(tmp_path / 'log')!r}), grace_s=1.0) as processes:
    processes.start('kind', 'child', {str(tmp_path / 'kind')!r})
    time.sleep(600)
'''], stderr=subprocess.DEVNULL)
    child = pid_in(tmp_path / 'kind')
    parent.send_signal(ending)
    parent.wait(WATCHDOG_S)
    until(lambda: gone(child), 'the end of the child')


def test_the_status_of_one_is_waited_for_and_the_end_of_another_is_noticed(tmp_path):
    with Processes(ENVIRONMENT, tmp_path / 'log', grace_s=1.0) as processes:
        processes.start('waits', 'child', tmp_path / 'waits')
        processes.start('ends', 'child', tmp_path / 'ends', '7')
        assert processes.wait_for('ends', needed=('waits',)) == 7
        assert processes.wait_for('waits', needed=('ends',)) is None
