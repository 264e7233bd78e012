"""Who gets a lease, for how long, and what of it is measured."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from coord.errors import CoordError
from coord.times import SECOND, duration, timestamp_ns
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_queue.service import QueueService
from coord_runtime.calls import Call
from coord_runtime.database import Database
from coord_runtime.tokens import Kind, Principal

from tests.serving import PROJECT, WAYS, Clock, Served, served

CALL = Call(Principal(Kind.OPERATOR, "tester", PROJECT), "LeaseTasks")
LEASE_S = 0.4
WAIT = duration(20 * SECOND)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=WAYS)
async def running(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[Served]:
    flags = {"queue": {"lease_s": LEASE_S}}
    async with served(QueueService, tmp_path, request.param, clock, flags) as running:
        yield running


@pytest.fixture
def stub(running: Served) -> Any:
    return QueueServiceStub(running.channel())


async def add(stub: Any, *specs: pb.TaskSpec) -> None:
    await stub.AddTasks(pb.AddTasksRequest(project=PROJECT, tasks=specs))


async def lease(stub: Any, worker: str, **more: Any) -> list[pb.Lease]:
    request = pb.LeaseTasksRequest(project=PROJECT, worker=worker, max_tasks=1, **more)
    return list((await stub.LeaseTasks(request)).leases)


def ref(lease: pb.Lease) -> common_pb2.AttemptRef:
    return common_pb2.AttemptRef(task_id=lease.spec.id, fencing_token=lease.attempt.fencing_token)


async def reason(stub: Any, task_id: str) -> pb.FailureReason:
    request = pb.GetTaskRequest(project=PROJECT, task_id=task_id)
    attempts = (await stub.GetTask(request)).task.attempts
    return attempts[-1].reason if attempts else pb.FAILURE_REASON_UNSPECIFIED


async def until_ended(stub: Any, task_id: str) -> pb.FailureReason:
    async with asyncio.timeout(60):
        while not (ended := await reason(stub, task_id)):
            await asyncio.sleep(0.02)
    return ended


async def waiting(stub: Any, *workers: str, **more: Any) -> list["asyncio.Task[list[pb.Lease]]"]:
    """Let workers wait, one after another."""
    polls = []
    for worker in workers:
        polls.append(asyncio.create_task(lease(stub, worker, wait=WAIT, **more)))
        await asyncio.sleep(0.05)
    return polls


async def test_who_waits_longest_is_served_first(stub: Any) -> None:
    polls = await waiting(stub, "w1", "w2", "w3")
    await add(stub, pb.TaskSpec(id="a"), pb.TaskSpec(id="b"))
    assert [one.spec.id for poll in polls[:2] for one in await poll] == ["a", "b"]
    assert not polls[2].done()
    await add(stub, pb.TaskSpec(id="c"))
    assert (await polls[2])[0].spec.id == "c"


async def test_who_cannot_do_a_task_does_not_keep_it_from_the_next_in_line(stub: Any) -> None:
    (first,) = await waiting(stub, "w1")
    (second,) = await waiting(stub, "w2", capabilities=["gpu"])
    await add(stub, pb.TaskSpec(id="a", required_capabilities=["gpu"]))
    assert (await second)[0].spec.id == "a"
    await add(stub, pb.TaskSpec(id="b"))
    assert (await first)[0].spec.id == "b"


async def test_a_task_is_not_given_to_a_worker_that_has_gone(stub: Any) -> None:
    gone, here = await waiting(stub, "w1", "w2")
    gone.cancel()
    await asyncio.sleep(0.05)
    await add(stub, pb.TaskSpec(id="a"))
    assert (await here)[0].spec.id == "a"


async def test_what_the_merge_queue_holds_does_not_expire_however_long_it_is_silent(
    tmp_path: Path, clock: Clock
) -> None:
    flags = {"queue": {"lease_s": LEASE_S}}
    submitted = False
    for other in "bc":
        async with served(QueueService, tmp_path, "in process", clock, flags) as running:
            stub = QueueServiceStub(running.channel())
            if not submitted:
                await add(stub, *(pb.TaskSpec(id=name) for name in "abc"))
                attempts = [ref(each) for each in await lease(stub, "w1")]
                await stub.SubmitTasks(pb.SubmitTasksRequest(project=PROJECT, attempts=attempts))
                submitted = True
            await lease(stub, "w2")
            clock.pass_ns(3600 * SECOND)
            assert await until_ended(stub, other) == pb.FAILURE_REASON_WORKER_LOST
            assert not await reason(stub, "a")


async def test_a_wall_clock_that_was_set_back_gives_no_attempt_more_time(
    tmp_path: Path, clock: Clock
) -> None:
    flags = {"queue": {"lease_s": LEASE_S}}
    async with served(QueueService, tmp_path, "in process", clock, flags) as running:
        stub = QueueServiceStub(running.channel())
        await add(stub, pb.TaskSpec(id="a", timeout=duration(60 * SECOND)))
        (one,) = await lease(stub, "w1")
        await stub.StartTasks(pb.StartTasksRequest(project=PROJECT, attempts=[ref(one)]))
    clock.wall_ns -= 24 * 3600 * SECOND
    async with served(QueueService, tmp_path, "in process", clock, flags) as running:
        clock.pass_ns(61 * SECOND)
        stub = QueueServiceStub(running.channel())
        assert await until_ended(stub, "a") == pb.FAILURE_REASON_TIMEOUT


async def test_a_waiting_worker_gets_a_task_when_its_backoff_ends(stub: Any, clock: Clock) -> None:
    policy = pb.RetryPolicy(initial_backoff=duration(SECOND // 10), max_attempts=2)
    await add(stub, pb.TaskSpec(id="a", retry_policy=policy))
    (first,) = await lease(stub, "w1")
    failure = pb.Failure(attempt=ref(first), reason=pb.FAILURE_REASON_AGENT_ERROR)
    await stub.FailTasks(pb.FailTasksRequest(project=PROJECT, failures=[failure]))
    (poll,) = await waiting(stub, "w2")
    assert not poll.done()
    clock.pass_ns(SECOND)
    assert (await poll)[0].attempt.number == 2


async def fail_once(stub: Any) -> None:
    """Let a task fail that is to be tried again after 30 to 60 seconds."""
    policy = pb.RetryPolicy(initial_backoff=duration(60 * SECOND), max_attempts=2)
    await add(stub, pb.TaskSpec(id="a", retry_policy=policy))
    (first,) = await lease(stub, "w1")
    failure = pb.Failure(attempt=ref(first), reason=pb.FAILURE_REASON_AGENT_ERROR)
    await stub.FailTasks(pb.FailTasksRequest(project=PROJECT, failures=[failure]))


async def backoff_s(stub: Any, clock: Clock) -> float:
    request = pb.ListReadyTasksRequest(project=PROJECT)
    return (
        timestamp_ns((await stub.ListReadyTasks(request)).next_ready_at) - clock.wall_ns
    ) / SECOND


async def test_a_wall_clock_that_is_set_back_lengthens_no_backoff(stub: Any, clock: Clock) -> None:
    await fail_once(stub)
    (poll,) = await waiting(stub, "w2")
    clock.wall_ns -= 24 * 3600 * SECOND
    async with asyncio.timeout(60):
        while await backoff_s(stub, clock) > 60:
            await asyncio.sleep(0.02)
    assert not poll.done()
    clock.pass_ns(60 * SECOND)
    assert (await poll)[0].attempt.number == 2


async def test_a_wall_clock_that_was_set_back_while_nothing_ran_lengthens_no_backoff(
    tmp_path: Path, clock: Clock
) -> None:
    flags = {"queue": {"lease_s": LEASE_S}}
    async with served(QueueService, tmp_path, "in process", clock, flags) as running:
        await fail_once(QueueServiceStub(running.channel()))
    clock.wall_ns -= 24 * 3600 * SECOND
    async with served(QueueService, tmp_path, "in process", clock, flags) as running:
        stub = QueueServiceStub(running.channel())
        async with asyncio.timeout(60):
            while await backoff_s(stub, clock) > 60:
                await asyncio.sleep(0.02)


async def fail_before_a_dependency(stub: Any) -> pb.Lease:
    """Let `a` fail once, then depend on `b`; return the lease of that."""
    await fail_once(stub)
    await add(stub, pb.TaskSpec(id="b"))
    (first,) = await lease(stub, "w1")
    item = pb.TaskDependencies(task_id="a", deps=["b"])
    await stub.AddDependencies(pb.AddDependenciesRequest(project=PROJECT, dependencies=[item]))
    return first


async def complete(stub: Any, lease: pb.Lease) -> None:
    done = pb.Completion(attempt=ref(lease))
    await stub.CompleteTasks(pb.CompleteTasksRequest(project=PROJECT, completions=[done]))


async def test_a_backoff_that_ends_before_a_dependency_does_is_not_forgotten(
    stub: Any, clock: Clock
) -> None:
    first = await fail_before_a_dependency(stub)
    clock.wall_ns += 61 * SECOND
    assert await lease(stub, "w2") == []
    await complete(stub, first)
    assert [one.spec.id for one in await lease(stub, "w2")] == ["a"]


async def test_a_wall_clock_that_is_set_back_lengthens_no_backoff_before_a_dependency(
    stub: Any, clock: Clock
) -> None:
    first = await fail_before_a_dependency(stub)
    clock.wall_ns -= 24 * 3600 * SECOND
    request = pb.GetTaskRequest(project=PROJECT, task_id="a")
    async with asyncio.timeout(60):
        while (
            timestamp_ns((await stub.GetTask(request)).task.not_before)
            > clock.wall_ns + 60 * SECOND
        ):
            await asyncio.sleep(0.02)
    await complete(stub, first)
    assert await backoff_s(stub, clock) <= 60


async def test_an_empty_answer_is_not_remembered_while_a_worker_waits(stub: Any) -> None:
    (poll,) = await waiting(stub, "w1", request_id="r1")
    await add(stub, pb.TaskSpec(id="a"))
    assert [one.spec.id for one in await poll] == ["a"]
    again = await lease(stub, "w1", request_id="r1", wait=WAIT)
    assert [one.spec.id for one in again] == ["a"]


async def test_a_lease_whose_client_went_while_it_was_committed_expires(
    running: Served, clock: Clock
) -> None:
    stub: Any = QueueServiceStub(running.channel())
    await add(stub, pb.TaskSpec(id="a"))
    request = pb.LeaseTasksRequest(project=PROJECT, worker="w1", max_tasks=1)
    service = running.node._services[0]
    handler = asyncio.ensure_future(service.lease_tasks(request, CALL))  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    handler.cancel()
    stats = pb.GetQueueStatsRequest(project=PROJECT)
    async with asyncio.timeout(60):
        while (await stub.GetQueueStats(stats)).counts[0].state != pb.TASK_STATE_ASSIGNED:
            await asyncio.sleep(0.01)
    clock.pass_ns(SECOND)
    assert await until_ended(stub, "a") == pb.FAILURE_REASON_WORKER_LOST


async def test_a_lease_that_the_store_could_not_end_is_ended_later(
    running: Served, stub: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(stub, pb.TaskSpec(id="a"))
    await lease(stub, "w1")
    service: Any = running.node._services[0]
    with monkeypatch.context() as broken:
        broken.setattr(Database, "_run_items", lambda *_: 1 / 0)
        clock.pass_ns(SECOND)
        with pytest.raises(CoordError, match="cannot be used"):
            await service._leases.expire_due()
    assert await until_ended(stub, "a") == pb.FAILURE_REASON_WORKER_LOST


async def test_a_line_that_could_not_be_looked_at_is_served_later(
    running: Served, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (poll,) = await waiting(stub, "w1")
    service: Any = running.node._services[0]
    with monkeypatch.context() as broken:
        broken.setattr(service._store, "next_ready_ns", lambda *_: 1 / 0)
        service._line.look()
        await asyncio.sleep(0.05)
    await add(stub, pb.TaskSpec(id="a"))
    assert [one.spec.id for one in await poll] == ["a"]


async def test_a_waiter_whose_request_is_wrong_is_told_and_holds_up_nobody(stub: Any) -> None:
    first, wrong = await waiting(stub, "w1", "w2", request_id="r1")
    (good,) = await waiting(stub, "w3")
    await add(stub, *(pb.TaskSpec(id=one) for one in "ab"))
    assert (await first)[0].spec.id == "a"
    with pytest.raises(grpc.aio.AioRpcError, match="request_id"):
        await wrong
    assert (await good)[0].spec.id == "b"


async def test_the_clock_ends_what_outlives_its_timeout_for_a_lease_time(
    stub: Any, clock: Clock
) -> None:
    await add(stub, pb.TaskSpec(id="a", timeout=duration(4 * SECOND)))
    (first,) = await lease(stub, "w1")
    await stub.StartTasks(pb.StartTasksRequest(project=PROJECT, worker="w1", attempts=[ref(first)]))
    renewal = pb.RenewLeasesRequest(
        project=PROJECT, worker="w1", renewals=[pb.LeaseRenewal(attempt=ref(first))]
    )
    for _ in range(20):  # 4 s, in steps that are shorter than the lease.
        clock.pass_ns(SECOND // 5)
        await stub.RenewLeases(renewal)
    assert await reason(stub, "a") == pb.FAILURE_REASON_UNSPECIFIED
    for _ in range(3):
        clock.pass_ns(SECOND // 5)
        await stub.RenewLeases(renewal)
    assert await until_ended(stub, "a") == pb.FAILURE_REASON_TIMEOUT
    (result,) = (await stub.RenewLeases(renewal)).results
    assert result.directive == pb.LEASE_DIRECTIVE_REVOKE


async def test_the_timeout_does_not_count_in_the_merge_queue(stub: Any, clock: Clock) -> None:
    await add(stub, pb.TaskSpec(id="a", timeout=duration(SECOND)))
    (first,) = await lease(stub, "w1")
    attempts = [ref(first)]
    await stub.StartTasks(pb.StartTasksRequest(project=PROJECT, attempts=attempts))
    await stub.SubmitTasks(pb.SubmitTasksRequest(project=PROJECT, attempts=attempts))
    renewal = pb.RenewLeasesRequest(project=PROJECT, renewals=[pb.LeaseRenewal(attempt=ref(first))])
    for _ in range(20):
        clock.pass_ns(SECOND // 5)
        await stub.RenewLeases(renewal)
    await asyncio.sleep(LEASE_S / 5)
    assert await reason(stub, "a") == pb.FAILURE_REASON_UNSPECIFIED


async def test_rates_ages_and_counts_are_told(running: Served, stub: Any, clock: Clock) -> None:
    await add(stub, *(pb.TaskSpec(id=f"t{number}") for number in range(4)))
    clock.pass_ns(2 * SECOND)
    (first,) = await lease(stub, "w1")
    done = [pb.Completion(attempt=ref(first))]
    await stub.CompleteTasks(pb.CompleteTasksRequest(project=PROJECT, completions=done))
    stats = await stub.GetQueueStats(pb.GetQueueStatsRequest(project=PROJECT))
    rates = (stats.added_per_second, stats.assigned_per_second, stats.completed_per_second)
    assert rates == (2.0, 0.5, 0.5)
    assert stats.oldest_ready_at.ToNanoseconds() == clock.wall_ns - 2 * SECOND

    def sample(name: str, **labels: str) -> float | None:
        return running.node.registry.get_sample_value(name, labels)

    async with asyncio.timeout(60):
        while sample("coord_queue_tasks", project=PROJECT, state="complete") != 1:
            await asyncio.sleep(0.02)
    assert sample("coord_queue_tasks", project=PROJECT, state="pending") == 3
    assert sample("coord_queue_backlog_age_seconds", project=PROJECT) == 2
    assert sample("coord_queue_ready_to_assigned_seconds_sum") == 2
    assert sample("coord_queue_assigned_to_complete_seconds_count") == 1


async def test_an_error_that_nobody_foresaw_fails_its_group_and_not_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(QueueService, tmp_path, "in process") as running:
        stub = QueueServiceStub(running.channel())
        with monkeypatch.context() as broken:
            broken.setattr(Database, "_run_items", lambda *_: 1 / 0)
            with pytest.raises(Exception, match="the store cannot be used"):
                await add(stub, pb.TaskSpec(id="a"))
        await add(stub, pb.TaskSpec(id="a"))
        assert len(await lease(stub, "w1")) == 1
