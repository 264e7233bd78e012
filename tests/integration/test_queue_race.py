"""Many clients at one queue, over gRPC."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_queue.service import QueueService

from tests.serving import PROJECT, Served, served

_TASKS = 5_000
_CLIENTS = 64


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(QueueService, tmp_path, "grpc") as one:
        yield one


async def add(stub: Any, number: int) -> None:
    for first in range(0, number, 1_000):
        ids = [f"t{index}" for index in range(first, min(first + 1_000, number))]
        specs = [pb.TaskSpec(id=task_id) for task_id in ids]
        await stub.AddTasks(pb.AddTasksRequest(project=PROJECT, tasks=specs))


async def drain(stub: Any, worker: str, most: int) -> list[tuple[str, int]]:
    """Lease until nothing is left; return tasks and fencing tokens."""
    found: list[tuple[str, int]] = []
    request = pb.LeaseTasksRequest(project=PROJECT, worker=worker, max_tasks=most)
    while leases := (await stub.LeaseTasks(request)).leases:
        assert {lease.attempt.worker for lease in leases} == {worker}
        found += [(lease.spec.id, lease.attempt.fencing_token) for lease in leases]
    return found


async def test_64_clients_get_each_task_once(running: Served) -> None:
    stubs: list[Any] = [QueueServiceStub(running.channel()) for _ in range(_CLIENTS)]
    await add(stubs[0], _TASKS)
    each = [drain(stub, f"w{number}", 1 + number % 9) for number, stub in enumerate(stubs)]
    given = [one for part in await asyncio.gather(*each) for one in part]
    assert sorted(task_id for task_id, _ in given) == sorted(f"t{one}" for one in range(_TASKS))
    assert len({token for _, token in given}) == _TASKS


async def test_32_reports_of_one_success_have_one_effect_and_one_answer(running: Served) -> None:
    stubs: list[Any] = [QueueServiceStub(running.channel()) for _ in range(32)]
    await add(stubs[0], 1)
    ((task_id, token),) = await drain(stubs[0], "w", 1)
    attempt = common_pb2.AttemptRef(task_id=task_id, fencing_token=token)
    request = pb.CompleteTasksRequest(
        project=PROJECT, worker="w", completions=[pb.Completion(attempt=attempt, message="done")]
    )
    answers = await asyncio.gather(*(stub.CompleteTasks(request) for stub in stubs))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].results[0].state == pb.TASK_STATE_COMPLETE
    watch = stubs[0].WatchQueueEvents(pb.WatchQueueEventsRequest(project=PROJECT))
    events: list[pb.QueueEvent] = []
    while len(events) < 3:
        events += (await watch.read()).events
    assert [event.to_state for event in events].count(pb.TASK_STATE_COMPLETE) == 1
    stats = await stubs[0].GetQueueStats(pb.GetQueueStatsRequest(project=PROJECT))
    assert [(one.state, one.count) for one in stats.counts] == [(pb.TASK_STATE_COMPLETE, 1)]
