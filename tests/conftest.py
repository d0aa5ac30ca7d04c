# SPDX-License-Identifier: Apache-2.0
"""For every test: a SIGINT that reaches the processes which tests start, and a run that fails where
tests are skipped that should not be."""

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from skips import listed, mistakes

# A shell that starts the tests in the background has them ignore SIGINT, children included; then a
# test of what a Ctrl-C does would wait for ever. A handler here gives children the default again.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: Of each test that was run, whether it was skipped; of a file, where all of it was.
skipped: dict[str, bool] = {}
_mistakes: list[str] = []


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        skipped[report.nodeid] = True


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if not hasattr(report, 'wasxfail'):
        skipped[report.nodeid] = skipped.get(report.nodeid, False) or report.skipped


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if hasattr(session.config, 'workerinput'):
        return  # one of several processes; the one that collects their reports sees all
    _mistakes[:] = mistakes(skipped, listed())
    if _mistakes and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _mistakes:
        terminalreporter.section('skips that were not expected', red=True)
        for mistake in _mistakes:
            terminalreporter.line(mistake)
