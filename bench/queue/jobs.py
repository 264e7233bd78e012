"""The same no-op job, end to end, through this queue and others: two worker processes each."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from coord.client import connect
from coord.v1 import queue_pb2, queue_pb2_grpc

from bench.processes import PROJECT, python, started, token
from bench.queue import peers
from bench.report import Row, ratios, row
from bench.rounds import in_turns

_WORKERS = 2
_TASKS = 3_000
_SPAWNS = 2_000
_BATCH = 500
_POLL_S = 0.02
_ROUNDS = 3
# What each promises of a task once its adding has returned.
_DURABLE = {
    "celery": "in memory (Valkey without sync), at most once",
    "dramatiq": "in memory (Valkey without sync), at least once",
    "procrastinate": "synced (PostgreSQL)",
    "dask": "in memory",
    "hyperqueue": "in memory",
}


class Ours:
    """Adds tasks, and waits until they are complete."""

    def __init__(self, channel: Any, project: str = PROJECT) -> None:
        self._stub: Any = queue_pb2_grpc.QueueServiceStub(channel)
        self._project = project
        self._number = count()
        self._total = 0

    async def rate(self, tasks: int) -> float:
        """Return tasks a second, from the first adding until all are complete."""
        begin = time.perf_counter()
        for _ in range(0, tasks, _BATCH):
            specs = [queue_pb2.TaskSpec(id=f"t-{next(self._number)}") for _ in range(_BATCH)]
            await self._stub.AddTasks(queue_pb2.AddTasksRequest(project=self._project, tasks=specs))
        self._total += tasks
        request = queue_pb2.GetQueueStatsRequest(project=self._project)
        while (await self._stub.GetQueueStats(request)).ended < self._total:  # noqa: ASYNC110 - it happens in another process.
            await asyncio.sleep(_POLL_S)
        return tasks / (time.perf_counter() - begin)


@asynccontextmanager
async def _ours(state: Path, job: str) -> AsyncIterator[Ours]:
    async with AsyncExitStack() as stack:
        command = python("coord_queue", "--project", PROJECT, "--state", str(state))
        _, ready = await stack.enter_async_context(started(command))
        address, secret = ready["address"], token(state)
        for number in range(_WORKERS):
            worker = python("bench.queue.worker", address, f"w{number}", job)
            await stack.enter_async_context(started(worker, COORD_TOKEN=secret))
        yield Ours(await stack.enter_async_context(connect(address, secret)))


def _side(rate: Callable[[int], Awaitable[float]], tasks: int) -> Callable[[], Awaitable[float]]:
    return lambda: rate(tasks)


async def run(state: Path) -> list[Row]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        no_op = await enter(_ours(state / "no_op", "no_op"))
        others = await peers.start(stack, state)
        sides = {"coord": _side(no_op.rate, _TASKS)}
        sides |= {name: _side(rate, _TASKS) for name, rate in others.items()}
        jobs = await in_turns(sides, _ROUNDS)
        spawned = await enter(_ours(state / "spawn", "spawn"))
        hyperqueue = await enter(peers.hyperqueue(state))
        spawns = await in_turns(
            {"coord": _side(spawned.rate, _SPAWNS), "hyperqueue": _side(hyperqueue, _SPAWNS)},
            _ROUNDS,
        )
    rows = [row("no-op jobs, 2 workers, synced", "tasks/s", jobs["coord"])]
    for name, goal in {"celery": 20.0, "dramatiq": 1.0, "procrastinate": 1.0, "dask": 20.0}.items():
        case = f"no-op jobs: times {name}, {_DURABLE[name]}"
        rows.append(row(case, "times", ratios(jobs["coord"], jobs[name]), goal=goal))
    case = f"spawned programs: times hyperqueue, {_DURABLE['hyperqueue']}"
    rows.append(row("spawned programs, 2 workers, synced", "tasks/s", spawns["coord"]))
    rows.append(row(case, "times", ratios(spawns["coord"], spawns["hyperqueue"])))
    return rows
