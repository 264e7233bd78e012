"""Lease and complete: one task a call, and in batches."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from coord.v1 import common_pb2, queue_pb2, queue_pb2_grpc

from bench.processes import PROJECT, no_op, service
from bench.report import Row, compared
from bench.rounds import in_turns, rate
from bench.samples import spec

_CLIENTS = 32
_TASKS = 1_600
_BATCH = 64
_BATCH_CLIENTS = 8
_BATCHES = 6


class Client:
    """A queue's client, the same for both sides."""

    def __init__(self, channel: Any) -> None:
        self._stub: Any = queue_pb2_grpc.QueueServiceStub(channel)
        self._number = count()

    async def unary(self) -> float:
        """Return pairs of LeaseTasks and CompleteTasks a second."""
        for _ in range(_TASKS // 100):
            await self._add(100)
        each = _TASKS // _CLIENTS
        return await rate(_TASKS, (self._singles(f"w{one:02}", each) for one in range(_CLIENTS)))

    async def batched(self) -> float:
        """Return tasks a second that were added, leased, started and completed."""
        tasks = _BATCH * _BATCHES * _BATCH_CLIENTS
        return await rate(tasks, (self._batches(f"w{one:02}") for one in range(_BATCH_CLIENTS)))

    async def _singles(self, worker: str, tasks: int) -> None:
        for _ in range(tasks):
            await self._complete(worker, await self._lease(worker, 1))

    async def _batches(self, worker: str) -> None:
        for _ in range(_BATCHES):
            await self._add(_BATCH)
            attempts = await self._lease(worker, _BATCH)
            request = queue_pb2.StartTasksRequest(project=PROJECT, worker=worker, attempts=attempts)
            _check(await self._stub.StartTasks(request), _BATCH)
            await self._complete(worker, attempts)

    async def _add(self, tasks: int) -> None:
        specs = [spec(f"t-{next(self._number):08}") for _ in range(tasks)]
        await self._stub.AddTasks(queue_pb2.AddTasksRequest(project=PROJECT, tasks=specs))

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


async def run(state: Path) -> list[Row]:
    async with service("queue", state) as ours, no_op() as limit:
        clients = {"coord": Client(ours), "no-op": Client(limit)}
        unary = await in_turns({name: one.unary for name, one in clients.items()})
        batched = await in_turns({name: one.batched for name, one in clients.items()})
    return [
        *compared("lease + complete, one a call, 32 clients", "tasks/s", unary, goal=0.75),
        *compared("add + lease + start + complete, batches of 64", "tasks/s", batched),
    ]
