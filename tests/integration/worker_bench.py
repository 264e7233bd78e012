"""A worker before a fake coordinator, with the shell's commands for agents."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from coord.client import connect
from coord.identity import Identity
from coord.session import SessionSettings
from coord.times import duration, from_seconds
from coord.v1 import common_pb2, coordinator_pb2, integrator_pb2, queue_pb2
from coord_worker import worker as worker_module
from coord_worker.config import WorkerConfig

from tests.integration.fake_coordinator import FakeCoordinator, fake_coordinator
from tests.integration.waiting import until

ANSWER = Path(__file__).parents[1] / "unit/answers/claude_success.json"
QUICK = SessionSettings(backoff_initial_s=0.01, backoff_max_s=0.05)


class Bench:
    """A worker before a fake coordinator."""

    def __init__(self, fake: FakeCoordinator, folder: Path) -> None:
        self.fake, self.folder = fake, folder
        self.worktree = folder / "worktree"
        self.worktree.mkdir()
        self._tokens = itertools.count(1)

    def assign(self, task_id: str = "t1", **fields: Any) -> common_pb2.AttemptRef:
        token = next(self._tokens)
        spec = queue_pb2.TaskSpec(id=task_id, title="A title", prompt="Do it.")
        spec.prompt = fields.get("prompt", spec.prompt)
        if "timeout_s" in fields:
            spec.timeout.CopyFrom(duration(from_seconds(fields["timeout_s"])))
        attempt = queue_pb2.Attempt(number=token, fencing_token=token)
        lease = queue_pb2.Lease(spec=spec, attempt=attempt, previous=fields.get("previous"))
        budget = fields.get("budget_usd")
        assigned = coordinator_pb2.Assigned(
            lease=lease,
            worktree=integrator_pb2.Worktree(
                path=str(self.worktree), branch="coord/w1/t1", base_commit="abc"
            ),
            budget=budget and common_pb2.Money(currency="USD", nanos=round(budget * 10**9)),
        )
        self.fake.send(assigned=assigned)
        return common_pb2.AttemptRef(task_id=task_id, fencing_token=token)

    def seen(self, name: str) -> str:
        return (self.worktree / name).read_text()

    async def until_file(self, name: str) -> str:
        path = self.worktree / name
        await until(lambda: path.exists() and path.read_text())
        return self.seen(name)


@asynccontextmanager
async def bench(
    folder: Path, agent: str, *, acknowledges: bool = True, **config: Any
) -> AsyncIterator[Bench]:
    async with fake_coordinator() as fake:
        fake.acknowledges = acknowledges
        identity = Identity(fake.address, "secret", "p", "w1")
        given = WorkerConfig(folder=folder / "state", agent=agent, stop_grace_s=2.0)
        async with connect(fake.address, "secret") as channel:
            worker = worker_module.Worker(
                identity, replace(given, **config), channel, settings=QUICK
            )
            running = asyncio.create_task(worker.run())
            await fake.until_hellos()
            try:
                yield Bench(fake, folder)
            finally:
                worker.stop()
                await asyncio.wait({running}, timeout=10)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


def install_claude(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Put a `claude` on the PATH that runs a line and answers."""
    script = folder / "bin/claude"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\n{line}; cat {ANSWER}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
