"""No test holds up the others for ever; in CI one is skipped only for a reason that stands here."""

import faulthandler
import os
from collections.abc import Iterator

import pytest

# A timeout is an exception, which a loop of events may swallow, and after a failure there is none:
# past this the process ends, says where it was, and the other tests go on in a new one.
_STUCK_S = 500

# Nothing may be skipped where CI runs: Python, git and Node.js are there.
_ALLOWED_SKIPS: frozenset[str] = frozenset()

_unexpected: list[str] = []
_stderr = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_stderr] = os.dup(2)  # While a test runs, 2 is captured.


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    faulthandler.dump_traceback_later(_STUCK_S, exit=True, file=item.config.stash[_stderr])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and "CI" in os.environ and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason not in _ALLOWED_SKIPS:
            _unexpected.append(f"{report.nodeid}: {reason}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _unexpected:
        print("\nskipped, which is not allowed here:", *_unexpected, sep="\n  ")  # noqa: T201
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
