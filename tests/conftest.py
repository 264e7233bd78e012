"""In CI a test may be skipped only for a reason that stands here."""

import os

import pytest

# Nothing may be skipped where CI runs: Python, git and Node.js are there.
_ALLOWED_SKIPS: frozenset[str] = frozenset()

_unexpected: list[str] = []


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
