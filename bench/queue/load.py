"""Clients of the queue in a process of their own, so that not they are what is measured.

python -m bench.queue.load ADDRESS NAME

Reads cases from standard input, a line each: prepares one, says so with a line, and runs it at the
next line; then prints a line of JSON with the number of tasks, and when they began and ended.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Coroutine, Sequence
from itertools import count
from typing import Any

from coord.client import connect
from coord.v1 import common_pb2, queue_pb2, queue_pb2_grpc

from bench.processes import PROJECT
from bench.samples import spec

_CLIENTS = 16
_TASKS = 800
_BATCH = 64
_BATCH_CLIENTS = 4
_BATCHES = 12


class Clients:
    """A queue's clients, the same for both sides."""

    def __init__(self, channel: Any, name: str) -> None:
        self._stub: Any = queue_pb2_grpc.QueueServiceStub(channel)
        self._name = name
        self._number = count()

    async def unary(self) -> tuple[int, list[Coroutine[Any, Any, None]]]:
        """Prepare to lease and complete, a task a call; return how many, and what to run."""
        for _ in range(_TASKS // 100):
            await self._stub.AddTasks(self._adding(100))
        each = _TASKS // _CLIENTS
        return _TASKS, [self._singles(f"{self._name}-{one}", each) for one in range(_CLIENTS)]

    async def batched(self) -> tuple[int, list[Coroutine[Any, Any, None]]]:
        """Prepare to add, lease, start and complete in batches."""
        adding = [[self._adding(_BATCH) for _ in range(_BATCHES)] for _ in range(_BATCH_CLIENTS)]
        work = [self._batches(f"{self._name}-{one}", batch) for one, batch in enumerate(adding)]
        return _BATCH * _BATCHES * _BATCH_CLIENTS, work

    async def _singles(self, worker: str, tasks: int) -> None:
        for _ in range(tasks):
            await self._complete(worker, await self._lease(worker, 1))

    async def _batches(self, worker: str, adding: Sequence[queue_pb2.AddTasksRequest]) -> None:
        for request in adding:
            await self._stub.AddTasks(request)
            attempts = await self._lease(worker, _BATCH)
            start = queue_pb2.StartTasksRequest(project=PROJECT, worker=worker, attempts=attempts)
            _check(await self._stub.StartTasks(start), _BATCH)
            await self._complete(worker, attempts)

    def _adding(self, tasks: int) -> queue_pb2.AddTasksRequest:
        specs = [spec(f"t-{self._name}-{next(self._number):08}") for _ in range(tasks)]
        return queue_pb2.AddTasksRequest(project=PROJECT, tasks=specs)

    async def _lease(self, worker: str, tasks: int) -> list[common_pb2.AttemptRef]:
        request = queue_pb2.LeaseTasksRequest(project=PROJECT, worker=worker, max_tasks=tasks)
        leases = (await self._stub.LeaseTasks(request)).leases
        assert len(leases) == tasks
        return [
            common_pb2.AttemptRef(task_id=one.spec.id, fencing_token=one.attempt.fencing_token)
            for one in leases
        ]

    async def _complete(self, worker: str, attempts: Sequence[common_pb2.AttemptRef]) -> None:
        done = [queue_pb2.Completion(attempt=one, message="done") for one in attempts]
        request = queue_pb2.CompleteTasksRequest(project=PROJECT, worker=worker, completions=done)
        _check(await self._stub.CompleteTasks(request), len(attempts))


def _check(response: Any, reports: int) -> None:
    assert len(response.results) == reports
    assert not any(result.HasField("error") for result in response.results)


async def _main(address: str, name: str) -> None:
    async with connect(address, os.environ["COORD_TOKEN"]) as channel:
        clients = Clients(channel, name)
        _say({})
        while case := (await asyncio.to_thread(sys.stdin.readline)).strip():
            tasks, work = await getattr(clients, case)()
            _say({})
            await asyncio.to_thread(sys.stdin.readline)
            begin = time.perf_counter()
            await asyncio.gather(*work)
            _say({"tasks": tasks, "begin": begin, "end": time.perf_counter()})


def _say(line: dict[str, float]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
