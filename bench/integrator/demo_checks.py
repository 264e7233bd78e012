"""Real checks, real git: 32 changes to the demo project, whose check sleeps most of its time."""

import asyncio
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
from coord.client import connect
from coord.v1 import common_pb2, integrator_pb2, queue_pb2
from coord.v1.integrator_pb2_grpc import IntegratorServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_integrator.service import IntegratorService
from coord_queue.service import QueueService
from coord_runtime.node import Node, NodePlan
from coord_runtime.tokens import Kind, Principal

from bench.report import Row, row
from demo.verify import CHECK

_PROJECT = "bench"
_CHANGES, _SLOTS, _FASTER_MIN = 32, 4, 3.0
# One in sixteen breaks the tests.
_BAD_EVERY = 16
_SLEEP_S = 3.0
_DEMO = Path(__file__).parents[2] / "demo" / "project"
_LANDED = integrator_pb2.CHANGE_STATE_LANDED
_ENDED = {_LANDED, integrator_pb2.CHANGE_STATE_REJECTED}


class Bench:
    """A queue and an integrator on a repository of their own."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._queue: Any = QueueServiceStub(channel)
        self._integrator: Any = IntegratorServiceStub(channel)

    async def check_target(self) -> None:
        await self._integrator.CheckTarget(integrator_pb2.CheckTargetRequest(project=_PROJECT))

    async def prepare(self, task: str, content: str) -> integrator_pb2.SubmitChangeRequest:
        """Do a task's work up to its submission."""
        policy = queue_pb2.RetryPolicy(max_attempts=1)
        spec = queue_pb2.TaskSpec(id=task, prompt="do it", category="code", retry_policy=policy)
        await self._queue.AddTasks(queue_pb2.AddTasksRequest(project=_PROJECT, tasks=[spec]))
        asked = queue_pb2.AssignTasksRequest(project=_PROJECT, worker=task, task_ids=[task])
        lease = (await self._queue.AssignTasks(asked)).results[0].lease
        attempt = common_pb2.AttemptRef(task_id=task, fencing_token=lease.attempt.fencing_token)
        setup = integrator_pb2.SetupWorktreeRequest(project=_PROJECT, worker=task, attempt=attempt)
        worktree = (await self._integrator.SetupWorktree(setup)).worktree
        (Path(worktree.path) / "tests" / f"test_{task}.py").write_text(content)
        return integrator_pb2.SubmitChangeRequest(
            project=_PROJECT, worker=task, attempt=attempt, title=task
        )

    async def submit(self, request: integrator_pb2.SubmitChangeRequest) -> str:
        change_id: str = (await self._integrator.SubmitChange(request)).change.change_id
        return change_id

    async def landed(self, ids: Sequence[str]) -> int:
        """Wait until changes have ended; return how many have landed."""
        request = integrator_pb2.WatchIntegratorEventsRequest(project=_PROJECT)
        states: dict[str, int] = {}
        call = self._integrator.WatchIntegratorEvents(request)
        async for answer in call:
            moved = [event.change_moved.change for event in answer.events]
            states |= {one.change_id: one.state for one in moved if one.state in _ENDED}
            if states.keys() >= set(ids):
                break
        call.cancel()
        return sum(states[change_id] == _LANDED for change_id in ids)


async def run(state: Path) -> list[Row]:
    serial = await _serial(state / "serial")
    ours = await _all_at_once(state / "ours")
    return [
        row(f"{_CHANGES} changes, real checks, one after the other", "s", [serial]),
        row(f"{_CHANGES} changes, real checks, {_SLOTS} slots", "s", [ours]),
        row("real checks: times as fast as serial", "times", [serial / ours], goal=_FASTER_MIN),
    ]


async def _serial(folder: Path) -> float:
    async with _serving(folder, slots=1) as bench:
        requests = await _prepared(bench)
        begin = time.perf_counter()
        counts = [await bench.landed([await bench.submit(request)]) for request in requests]
        return _checked(sum(counts), begin)


async def _all_at_once(folder: Path) -> float:
    async with _serving(folder, slots=_SLOTS) as bench:
        requests = await _prepared(bench)
        begin = time.perf_counter()
        ids = await asyncio.gather(*map(bench.submit, requests))
        return _checked(await bench.landed(ids), begin)


async def _prepared(bench: Bench) -> list[integrator_pb2.SubmitChangeRequest]:
    return [
        await bench.prepare(f"t{number}", _content(bad=number % _BAD_EVERY == _BAD_EVERY - 1))
        for number in range(_CHANGES)
    ]


def _content(*, bad: bool) -> str:
    value = "False" if bad else "True"
    test = f"    def test_it(self) -> None:\n        self.assertTrue({value})\n"
    return f"import unittest\n\n\nclass TestIt(unittest.TestCase):\n{test}"


def _checked(landed: int, begin: float) -> float:
    """Return the time since the beginning, if as many have landed as should."""
    if landed != _CHANGES - _CHANGES // _BAD_EVERY:
        raise AssertionError(f"{landed} of {_CHANGES} have landed")
    return time.perf_counter() - begin


@asynccontextmanager
async def _serving(folder: Path, slots: int) -> AsyncIterator[Bench]:
    repo = _repository(folder / "repo")
    check = f"sleep {_SLEEP_S} && {shlex.join([sys.executable, *CHECK])}"
    flags: dict[str, dict[str, Any]] = {
        "integrator": {
            "repo": str(repo),
            "target": "main",
            "check": check,
            "check_slots": slots,
        },
        "node": {"metrics": ""},
        # Nobody renews the leases of those that wait for their turn.
        "queue": {"lease_s": 600.0},
    }
    services = [QueueService, IntegratorService]
    node = await Node.start(NodePlan(services, _PROJECT, folder / "state", flags=flags))
    token = node.mint.mint(Principal(Kind.OPERATOR, "operator", _PROJECT))
    try:
        async with connect(node.address, token) as channel:
            bench = Bench(channel)
            await bench.check_target()
            yield bench
    finally:
        await node.stop()


def _repository(folder: Path) -> Path:
    shutil.copytree(_DEMO, folder)
    identity = ("-c", "user.name=Bench", "-c", "user.email=bench@example.org")
    for arguments in (
        ("init", "-q", "-b", "main"),
        ("add", "-A"),
        (*identity, "commit", "-q", "-m", "first"),
        ("checkout", "-q", "--detach"),
    ):
        subprocess.run(("git", *arguments), cwd=folder, check=True)
    return folder
