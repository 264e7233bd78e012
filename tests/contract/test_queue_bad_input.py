"""Bad input to the queue: a clear error each, over both ways in, and nothing is stored."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from coord.errors import CoordError, from_rpc
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_queue.service import QueueService

from tests.serving import PROJECT, WAYS, served

_CHAIN = 10_000
_BAD_IDS = ["", "nul\0", "🙂", "x" * 300, "two words"]


@pytest.fixture(params=WAYS)
async def stub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    async with served(QueueService, tmp_path, request.param) as running:
        yield QueueServiceStub(running.channel())


async def refusal(call: Any) -> CoordError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc(caught.value)


async def stored(stub: Any) -> tuple[Any, ...]:
    """All that a refused call could have changed."""
    stats = await stub.GetQueueStats(pb.GetQueueStatsRequest(project=PROJECT))
    for rate in ("added_per_second", "assigned_per_second", "completed_per_second"):
        stats.ClearField(rate)
    tasks = await stub.ListTasks(pb.ListTasksRequest(project=PROJECT, page_size=1_000))
    return stats, tasks


async def add(stub: Any, *specs: pb.TaskSpec) -> None:
    await stub.AddTasks(pb.AddTasksRequest(project=PROJECT, tasks=specs))


def named(task_id: str) -> list[tuple[str, Any]]:
    """Every call that takes a task's id, with this one."""
    attempt = common_pb2.AttemptRef(task_id=task_id, fencing_token=1)
    spec = pb.TaskSpec(id="x", deps=[task_id])
    requests: list[Any] = [
        pb.AddTasksRequest(tasks=[spec]),
        pb.AddDependenciesRequest(
            dependencies=[pb.TaskDependencies(task_id=task_id, deps=["there"])]
        ),
        pb.AssignTasksRequest(worker="w", task_ids=[task_id]),
        pb.CancelTasksRequest(task_ids=[task_id]),
        pb.CompleteTasksRequest(completions=[pb.Completion(attempt=attempt)]),
        pb.FailTasksRequest(
            failures=[pb.Failure(attempt=attempt, reason=pb.FAILURE_REASON_AGENT_ERROR)]
        ),
        pb.ReassignTasksRequest(reassignments=[pb.Reassignment(attempt=attempt, worker="w")]),
        pb.ReleaseTasksRequest(releases=[pb.Release(attempt=attempt)]),
        pb.RemoveTasksRequest(task_ids=[task_id]),
        pb.RenewLeasesRequest(renewals=[pb.LeaseRenewal(attempt=attempt)]),
        pb.RetryTasksRequest(task_ids=[task_id]),
        pb.StartTasksRequest(attempts=[attempt]),
        pb.SubmitTasksRequest(attempts=[attempt]),
    ]
    for request in requests:
        request.project = PROJECT
    return [(type(request).__name__.removesuffix("Request"), request) for request in requests]


@pytest.mark.parametrize("task_id", _BAD_IDS, ids=["empty", "nul", "emoji", "long", "blank"])
async def test_what_is_no_id_is_refused_by_every_call(stub: Any, task_id: str) -> None:
    await add(stub, pb.TaskSpec(id="there"))
    before = await stored(stub)
    for method, request in named(task_id):
        error = await refusal(getattr(stub, method)(request))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert await stored(stub) == before


async def test_an_unknown_task_is_that_items_error(stub: Any) -> None:
    await add(stub, pb.TaskSpec(id="there"))
    before = await stored(stub)
    for method, request in named("ghost"):
        if method == "AddTasks":
            error = await refusal(stub.AddTasks(request))
            assert error.reason == "UNKNOWN_DEPENDENCY"
            continue
        (result,) = (await getattr(stub, method)(request)).results
        if method == "RenewLeases":
            assert result.directive == pb.LEASE_DIRECTIVE_REVOKE
        else:
            assert result.error.reason == "TASK_NOT_FOUND"
    assert await stored(stub) == before


async def test_a_batch_has_at_most_a_thousand_items(stub: Any) -> None:
    before = await stored(stub)
    specs = [pb.TaskSpec(id=f"t{number}") for number in range(1_001)]
    error = await refusal(add(stub, *specs))
    assert (error.reason, error.metadata["field"]) == ("TOO_MANY_ITEMS", "tasks")
    error = await refusal(add(stub, pb.TaskSpec(id="a", deps=[one.id for one in specs])))
    assert (error.reason, error.metadata["field"]) == ("TOO_MANY_ITEMS", "deps")
    assert await stored(stub) == before
    await add(stub, *specs[1:])


@pytest.mark.parametrize("priority", [-1_000_001, 1_000_001, 2**31 - 1, -(2**31)])
async def test_a_priority_out_of_range_is_refused(stub: Any, priority: int) -> None:
    before = await stored(stub)
    error = await refusal(add(stub, pb.TaskSpec(id="a"), pb.TaskSpec(id="b", priority=priority)))
    assert (error.reason, error.metadata["field"]) == ("INVALID_FIELD", "task b: priority")
    assert await stored(stub) == before


@pytest.mark.parametrize("field", ["prompt", "payload"])
async def test_a_body_of_5_megabytes_is_refused(stub: Any, field: str) -> None:
    before = await stored(stub)
    body: Any = {"prompt": "x" * 5_000_000, "payload": b"x" * 5_000_000}[field]
    error = await refusal(add(stub, pb.TaskSpec(id="a", **{field: body})))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert field in error.message
    assert await stored(stub) == before


async def test_a_page_token_of_another_list_is_refused(stub: Any) -> None:
    await add(stub, *(pb.TaskSpec(id=f"t{number}") for number in range(3)))
    lists: dict[str, Any] = {
        "ListTasks": pb.ListTasksRequest(project=PROJECT, page_size=1),
        "ListReadyTasks": pb.ListReadyTasksRequest(project=PROJECT, page_size=1),
        "GetDependencyGraph": pb.GetDependencyGraphRequest(project=PROJECT, page_size=1),
    }
    filtered = pb.ListTasksRequest(project=PROJECT, page_size=1, worker="w")
    for method, request in lists.items():
        token = (await getattr(stub, method)(request)).next_page_token
        others = [(other, one) for other, one in lists.items() if other != method]
        for other, one in (*others, ("ListTasks", filtered)):
            asked = type(one)()
            asked.CopyFrom(one)
            asked.page_token = token
            assert (await refusal(getattr(stub, other)(asked))).reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("length", [1, 2])
async def test_dependencies_that_close_a_short_cycle_are_refused(stub: Any, length: int) -> None:
    await add(stub, *(pb.TaskSpec(id=f"t{number}") for number in range(length)))
    before = await stored(stub)
    items = [
        pb.TaskDependencies(task_id=f"t{number}", deps=[f"t{(number + 1) % length}"])
        for number in range(length)
    ]
    request = pb.AddDependenciesRequest(project=PROJECT, dependencies=items)
    error = await refusal(stub.AddDependencies(request))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CYCLE")
    assert error.metadata["length"] == str(length)
    assert await stored(stub) == before


async def test_a_cycle_of_ten_thousand_is_found_and_told_by_its_ends(stub: Any) -> None:
    for first in range(0, _CHAIN, 1_000):
        numbers = range(first, first + 1_000)
        await add(stub, *(pb.TaskSpec(id=f"t{number}") for number in numbers))
        items = [
            pb.TaskDependencies(task_id=f"t{number}", deps=[f"t{number - 1}"])
            for number in numbers
            if number
        ]
        request = pb.AddDependenciesRequest(project=PROJECT, dependencies=items)
        await stub.AddDependencies(request)
    before = await stored(stub)
    closing = pb.TaskDependencies(task_id="t0", deps=[f"t{_CHAIN - 1}"])
    request = pb.AddDependenciesRequest(project=PROJECT, dependencies=[closing])
    error = await refusal(stub.AddDependencies(request))
    assert (error.reason, error.metadata["length"]) == ("CYCLE", str(_CHAIN))
    assert len(error.metadata["first"].split()) == len(error.metadata["last"].split()) == 10
    assert await stored(stub) == before


@pytest.mark.parametrize("paths", [["a"] * 101, ["a" * 1_025]])
async def test_a_task_declares_no_more_than_a_claim_takes(stub: Any, paths: list[str]) -> None:
    error = await refusal(add(stub, pb.TaskSpec(id="t", paths=paths)))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert "task t: paths" in error.message
