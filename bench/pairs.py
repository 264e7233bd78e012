"""Steady work for many workers: pairs of tasks, of which one waits for the other."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import grpc.aio
from coord.v1 import coordinator_pb2, queue_pb2
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub

from bench.worker import Worker, attempt_of

_PAIRS_A_CALL_MAX = 500


class Pairs:
    """Pairs of tasks: `a-N`, and `b-N` that waits for it."""

    def __init__(self, channel: grpc.aio.Channel, project: str, workers: int) -> None:
        self._queue: Any = QueueServiceStub(channel)
        self._coordinator: Any = CoordinatorServiceStub(channel)
        self._project = project
        self._workers = workers
        self._numbers = count()
        self._completed: dict[str, float] = {}
        self._waits: list[float] = []

    async def measure(self, rate: float, round_s: float) -> tuple[list[float], float]:
        """Return the waits at `rate` tasks a second, in seconds, and the rate that was reached.

        Pairs are added one by one at an even pace, whatever has become of those before; what has
        come due while one call is under way goes with the next one.
        """
        self._waits.clear()
        begin, added = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - begin) < round_s:
            due = int(elapsed * rate / 2) + 1 - added // 2
            if (pairs := min(due, _PAIRS_A_CALL_MAX)) > 0:
                await self._add(pairs)
                added += 2 * pairs
            await asyncio.sleep(max(0.0, begin + added / rate - time.perf_counter()))
        reached = 2 * len(self._waits) / round_s
        async with asyncio.timeout(120):
            while len(self._waits) < added / 2:  # noqa: ASYNC110 - they come in their own time.
                await asyncio.sleep(0.05)
        return list(self._waits), reached

    @asynccontextmanager
    async def workers(self) -> AsyncIterator[None]:
        names = [f"w-{number:03}" for number in range(self._workers)]
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

    async def _add(self, pairs: int) -> None:
        tasks = []
        for _ in range(pairs):
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
            await asyncio.sleep(worker.heartbeat_s / len(workers))
