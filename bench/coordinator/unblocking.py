"""How long it takes from the completion of a dependency until its dependent is at a worker."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc.aio
from coord.v1 import coordinator_pb2, queue_pb2
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub

from bench.processes import no_op
from bench.report import Row, row
from bench.spine.host import host
from bench.worker import Worker, attempt_of

_WORKERS = 500
_PAIRS_A_BATCH = 10
_ROUND_S = 6.0
_RATES = (100, 300, 1_000)
_ROUND_TRIPS = 500
_P99_S_MAX = 0.010


class _Pairs:
    """Pairs of tasks: `a-N`, and `b-N` that waits for it."""

    def __init__(self, channel: grpc.aio.Channel, project: str) -> None:
        self._queue: Any = QueueServiceStub(channel)
        self._coordinator: Any = CoordinatorServiceStub(channel)
        self._project = project
        self._numbers = count()
        self._completed: dict[str, float] = {}
        self._waits: list[float] = []

    async def measure(self, rate: int) -> tuple[list[float], float]:
        """Return the waits at `rate` tasks a second, in seconds, and the rate that was reached."""
        self._waits.clear()
        begin, added = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - begin) < _ROUND_S:
            while added < elapsed * rate:
                await self._add()
                added += 2 * _PAIRS_A_BATCH
            await asyncio.sleep(0.005)
        reached = 2 * len(self._waits) / _ROUND_S
        async with asyncio.timeout(120):
            while len(self._waits) < added / 2:  # noqa: ASYNC110 - they come in their own time.
                await asyncio.sleep(0.05)
        return list(self._waits), reached

    @asynccontextmanager
    async def workers(self) -> AsyncIterator[None]:
        names = [f"w-{number:03}" for number in range(_WORKERS)]
        workers = [Worker(self._coordinator, self._project, name, 1) for name in names]
        await asyncio.gather(*(worker.join() for worker in workers))
        working = [asyncio.create_task(self._work(one)) for one in workers]
        beating = asyncio.create_task(_beat(workers))
        yield
        beating.cancel()
        for work in working:
            work.cancel()

    async def _work(self, worker: Worker) -> None:
        while (response := await worker.read()) is not None:
            if not response.HasField("assigned"):
                continue
            attempt = attempt_of(response)
            kind, _, number = attempt.task_id.partition("-")
            if kind == "b":
                self._waits.append(time.perf_counter() - self._completed.pop(number))
            else:
                self._completed[number] = time.perf_counter()
            await worker.say(complete=coordinator_pb2.Complete(attempt=attempt))

    async def _add(self) -> None:
        tasks = []
        for _ in range(_PAIRS_A_BATCH):
            number = f"{next(self._numbers):07}"
            tasks += [
                queue_pb2.TaskSpec(id=f"a-{number}"),
                queue_pb2.TaskSpec(id=f"b-{number}", deps=[f"a-{number}"]),
            ]
        await self._queue.AddTasks(queue_pb2.AddTasksRequest(project=self._project, tasks=tasks))


async def _beat(workers: list[Worker]) -> None:
    while True:
        for worker in workers:
            await worker.beat()
            await asyncio.sleep(2.0 / len(workers))


async def run(state: Path) -> list[Row]:
    async with host(state) as running, no_op() as limit:
        round_trip = await _round_trip(limit)
        pairs = _Pairs(running.channel, running.project)
        rows: list[Row] = []
        async with pairs.workers():
            await pairs.measure(_RATES[0])
            for rate in _RATES:
                rows += _rows(rate, *await pairs.measure(rate), round_trip)
    return rows


def _rows(rate: int, waits: list[float], reached: float, round_trip: float) -> list[Row]:
    case = f"completed to assigned, {_WORKERS} workers, {rate:,} tasks/s wanted"
    p99 = statistics.quantiles(waits, n=100)[98]
    goal = _P99_S_MAX if rate == _RATES[-1] else None
    return [
        row(f"{case}: reached", "tasks/s", [reached]),
        row(f"{case}: median", "ms", [1e3 * statistics.median(waits)]),
        row(
            f"{case}: p99",
            "ms",
            [1e3 * p99],
            against={"no-op round trip": [1e3 * round_trip]},
            goal=goal and 1e3 * goal,
            less_is_better=True,
        ),
    ]


async def _round_trip(limit: grpc.aio.Channel) -> float:
    """Return the median time of a call to the server that does nothing, in seconds."""
    stub: Any = QueueServiceStub(limit)
    request = queue_pb2.AddTasksRequest(project="bench", tasks=[queue_pb2.TaskSpec(id="a")])
    times = []
    for _ in range(_ROUND_TRIPS):
        begin = time.perf_counter()
        await stub.AddTasks(request)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
