"""The whole host: how soon it is ready, and what it takes at rest."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import psutil
from coord.client import connect

from bench.processes import started, token
from bench.report import Row, row
from bench.rounds import ROUNDS

_COORD = str(Path(sys.executable).with_name("coord"))
_REST_S = 3.0
_MIB = 2**20


@dataclass(frozen=True)
class Running:
    """A host that runs.

    Attributes:
        project: Its project.
        channel: To its services.
        address: Where they are.
        pid: Its process.
        ready_s: How long it took from exec until it said that it serves.
    """

    project: str
    channel: grpc.aio.Channel
    address: str
    pid: int
    ready_s: float


@asynccontextmanager
async def host(state: Path, *options: str, repository: bool = False) -> AsyncIterator[Running]:
    """Run `coord up` on a fresh repository and fresh state."""
    repo = state / "repo"
    _make_repository(repo)
    place = ["--repo", str(repo), "--state", str(state / "state")]
    plain = [] if repository else ["--set", "coordinator.repository=false"]
    begin = time.perf_counter()
    async with started([_COORD, "up", *place, "--no-check", "--json", *plain, *options]) as up:
        process, ready = up
        ready_s = time.perf_counter() - begin
        secret = token(state / "state", ready["project"])
        async with connect(ready["addresses"]["queue"], secret) as channel:
            address = ready["addresses"]["coordinator"]
            yield Running(ready["project"], channel, address, process.pid, ready_s)


def _make_repository(repo: Path) -> None:
    repo.mkdir(parents=True)
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "Begin"]):
        subprocess.run(["git", "-C", repo, *identity, *command], check=True)


async def run(state: Path) -> list[Row]:
    return [*await _starts(state), *await _memory(state)]


async def _starts(state: Path) -> list[Row]:
    embedded, split = [], []
    for number in range(ROUNDS):
        async with host(state / f"embedded-{number}", repository=True) as one:
            embedded.append(one.ready_s)
        async with host(state / f"split-{number}", "--split", repository=True) as one:
            split.append(one.ready_s)
    return [
        row("coord up, exec to ready", "s", embedded, goal=2.0, less_is_better=True),
        row("coord up --split, exec to ready", "s", split),
    ]


async def _memory(state: Path) -> list[Row]:
    hosts, workers = [], []
    for number in range(5):
        folder = state / f"memory-{number}"
        async with host(folder, repository=True) as running:
            place = ["--repo", str(folder / "repo"), "--state", str(folder / "state")]
            command = [_COORD, "worker", *place, "--agent", "true", "--json"]
            async with started(command) as (pool, _):
                await asyncio.sleep(_REST_S)
                hosts.append(_resident(running.pid))
                workers += [_resident(one) for one in _children(pool.pid)]
    return [
        row("memory at rest, coord up (all services)", "MiB", hosts),
        row("memory at rest, a worker process", "MiB", workers),
    ]


def _children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]


def _resident(pid: int) -> float:
    memory: Any = psutil.Process(pid).memory_info()
    return float(memory.rss / _MIB)
