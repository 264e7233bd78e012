"""From ready to leased, while many workers wait."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

from coord.times import SECOND, duration
from coord.v1 import common_pb2, queue_pb2, queue_pb2_grpc

from bench.processes import PROJECT, no_op, service
from bench.report import Row, row
from bench.rounds import in_turns, percentile
from bench.samples import spec

_WORKERS = 200
# The goal is for the last; what the machine can do at all shows beside it.
_A_SECOND = (250, 1_000)
_BATCH = 10
_ROUNDS = 3
_SECONDS = 4
_GOAL_MS = 10
_MS = 1_000


class Fleet:
    """Workers that wait, and a client that adds tasks at an even pace."""

    def __init__(self, channel: Any, a_second: int) -> None:
        self._stub: Any = queue_pb2_grpc.QueueServiceStub(channel)
        self._a_second = a_second
        self._number = count()
        self._added: dict[str, float] = {}
        self._waits_s: list[float] = []

    async def p99_ms(self) -> float:
        """Return the 99th percentile from the answer to the adding to the lease at the worker."""
        self._waits_s.clear()
        workers = [asyncio.create_task(self._work(f"w{one:03}")) for one in range(_WORKERS)]
        await asyncio.sleep(1)
        begin = time.perf_counter()
        for number in range(self._a_second // _BATCH * _SECONDS):
            await asyncio.sleep(begin + number * _BATCH / self._a_second - time.perf_counter())
            await self._add()
        while len(self._waits_s) < self._a_second * _SECONDS:  # noqa: ASYNC110 - it happens in another process.
            await asyncio.sleep(0.05)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        return percentile(self._waits_s) * _MS

    async def _add(self) -> None:
        specs = [spec(f"t-{self._a_second}-{next(self._number):08}") for _ in range(_BATCH)]
        sent = time.perf_counter()
        self._added |= {one.id: sent for one in specs}
        await self._stub.AddTasks(queue_pb2.AddTasksRequest(project=PROJECT, tasks=specs))

    async def _work(self, worker: str) -> None:
        lease = queue_pb2.LeaseTasksRequest(
            project=PROJECT, worker=worker, max_tasks=1, wait=duration(30 * SECOND)
        )
        while True:
            for one in (await self._stub.LeaseTasks(lease)).leases:
                self._waits_s.append(time.perf_counter() - self._added.pop(one.spec.id))
                attempt = common_pb2.AttemptRef(
                    task_id=one.spec.id, fencing_token=one.attempt.fencing_token
                )
                done = [queue_pb2.Completion(attempt=attempt)]
                await self._stub.CompleteTasks(
                    queue_pb2.CompleteTasksRequest(project=PROJECT, worker=worker, completions=done)
                )


class Calls:
    """As many calls a second to a server that does nothing."""

    def __init__(self, channel: Any, a_second: int) -> None:
        self._stub: Any = queue_pb2_grpc.QueueServiceStub(channel)
        self._a_second = 2 * a_second
        # A server of gRPC cancels calls where thousands wait.
        self._callers = asyncio.Semaphore(_WORKERS)
        self._waits_s: list[float] = []

    async def p99_ms(self) -> float:
        """Return the 99th percentile of a call's time."""
        self._waits_s.clear()
        begin, calls = time.perf_counter(), []
        for number in range(self._a_second * _SECONDS):
            await asyncio.sleep(begin + number / self._a_second - time.perf_counter())
            calls.append(asyncio.create_task(self._call()))
        await asyncio.gather(*calls)
        return percentile(self._waits_s) * _MS

    async def _call(self) -> None:
        sent = time.perf_counter()
        request = queue_pb2.LeaseTasksRequest(project=PROJECT, worker="w", max_tasks=1)
        async with self._callers:
            await self._stub.LeaseTasks(request)
        self._waits_s.append(time.perf_counter() - sent)


async def run(state: Path) -> list[Row]:
    rows: list[Row] = []
    async with service("queue", state) as ours, no_op() as limit:
        for a_second in _A_SECOND:
            sides: dict[str, Callable[[], Awaitable[float]]] = {
                "coord": Fleet(ours, a_second).p99_ms,
                "no-op": Calls(limit, a_second).p99_ms,
            }
            rounds = await in_turns(sides, _ROUNDS)
            case = f"from adding to leased, {_WORKERS} wait, {a_second} tasks/s, p99"
            against = {"no-op call": rounds["no-op"]}
            goal = _GOAL_MS if a_second == _A_SECOND[-1] else None
            one = row(case, "ms", rounds["coord"], against=against, goal=goal, less_is_better=True)
            rows += [one, row(f"no-op call at {2 * a_second}/s, p99", "ms", rounds["no-op"])]
    return rows
