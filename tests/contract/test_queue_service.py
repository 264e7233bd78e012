"""What the queue answers, over gRPC and in process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from coord.errors import CoordError, from_rpc
from coord.times import SECOND, duration, timestamp_ns
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_queue.service import QueueService
from coord_runtime.tokens import Kind

from tests.serving import PROJECT, WAYS, Clock, Served, served

PENDING, RUNNING, COMPLETE = pb.TASK_STATE_PENDING, pb.TASK_STATE_RUNNING, pb.TASK_STATE_COMPLETE


class Queue:
    """The queue, as tests talk to it."""

    def __init__(self, running: Served) -> None:
        self.running = running
        self.stub: Any = QueueServiceStub(running.channel())

    async def add(self, *tasks: pb.TaskSpec) -> pb.AddTasksResponse:
        return await self.stub.AddTasks(pb.AddTasksRequest(project=PROJECT, tasks=tasks))

    async def lease(self, number: int = 1, worker: str = "w", **more: Any) -> list[pb.Lease]:
        request = pb.LeaseTasksRequest(project=PROJECT, worker=worker, max_tasks=number, **more)
        return list((await self.stub.LeaseTasks(request)).leases)

    async def attempt(self, worker: str = "w") -> common_pb2.AttemptRef:
        return ref((await self.lease(worker=worker))[0])

    async def start(self, *attempts: common_pb2.AttemptRef, worker: str = "") -> pb.ReportResult:
        request = pb.StartTasksRequest(project=PROJECT, worker=worker, attempts=attempts)
        return (await self.stub.StartTasks(request)).results[0]

    async def submit(self, attempt: common_pb2.AttemptRef, worker: str = "") -> pb.ReportResult:
        request = pb.SubmitTasksRequest(project=PROJECT, worker=worker, attempts=[attempt])
        return (await self.stub.SubmitTasks(request)).results[0]

    async def complete(self, attempt: common_pb2.AttemptRef, worker: str = "") -> pb.ReportResult:
        done = pb.Completion(attempt=attempt, message="done")
        request = pb.CompleteTasksRequest(project=PROJECT, worker=worker, completions=[done])
        return (await self.stub.CompleteTasks(request)).results[0]

    async def fail(
        self,
        attempt: common_pb2.AttemptRef,
        reason: pb.FailureReason = pb.FAILURE_REASON_AGENT_ERROR,
        worker: str = "",
        **more: Any,
    ) -> pb.ReportResult:
        failure = pb.Failure(attempt=attempt, reason=reason, message="why", **more)
        request = pb.FailTasksRequest(project=PROJECT, worker=worker, failures=[failure])
        return (await self.stub.FailTasks(request)).results[0]

    async def renew(self, attempt: common_pb2.AttemptRef, **more: Any) -> pb.LeaseRenewalResult:
        renewal = pb.LeaseRenewal(attempt=attempt, **more)
        request = pb.RenewLeasesRequest(project=PROJECT, renewals=[renewal])
        return (await self.stub.RenewLeases(request)).results[0]

    async def cancel(self, task_id: str) -> pb.ReportResult:
        request = pb.CancelTasksRequest(project=PROJECT, task_ids=[task_id], message="no need")
        return (await self.stub.CancelTasks(request)).results[0]

    async def retry(self, task_id: str) -> pb.ReportResult:
        request = pb.RetryTasksRequest(project=PROJECT, task_ids=[task_id])
        return (await self.stub.RetryTasks(request)).results[0]

    async def task(self, task_id: str) -> pb.Task:
        request = pb.GetTaskRequest(project=PROJECT, task_id=task_id)
        return (await self.stub.GetTask(request)).task

    async def states(self) -> dict[str, str]:
        tasks = (await self.stub.ListTasks(pb.ListTasksRequest(project=PROJECT))).tasks
        return {task.spec.id: name(task.state) for task in tasks}

    async def why(self, task_id: str) -> list[str]:
        request = pb.ExplainTaskRequest(project=PROJECT, task_id=task_id)
        return [reason.code for reason in (await self.stub.ExplainTask(request)).reasons]


def name(state: pb.TaskState) -> str:
    return pb.TaskState.Name(state).removeprefix("TASK_STATE_")


def ref(lease: pb.Lease) -> common_pb2.AttemptRef:
    return common_pb2.AttemptRef(task_id=lease.spec.id, fencing_token=lease.attempt.fencing_token)


def spec(task_id: str, *deps: str, **more: Any) -> pb.TaskSpec:
    return pb.TaskSpec(id=task_id, deps=deps, **more)


async def refusal(call: Any) -> CoordError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc(caught.value)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=WAYS)
async def queue(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[Queue]:
    async with served(QueueService, tmp_path, request.param, clock) as running:
        yield Queue(running)


async def test_a_task_waits_for_its_dependencies(queue: Queue) -> None:
    await queue.add(spec("b", "a"), spec("a"))
    assert await queue.why("b") == ["WAITS_FOR_DEPENDENCY"]
    attempt = await queue.attempt()
    assert attempt.task_id == "a"
    assert await queue.lease() == []
    assert (await queue.start(attempt)).state == RUNNING
    assert (await queue.complete(attempt)).state == COMPLETE
    assert [lease.spec.id for lease in await queue.lease()] == ["b"]


async def test_order_is_priority_then_age(queue: Queue) -> None:
    await queue.add(
        spec("late"), spec("urgent", priority=1), spec("later"), spec("zero", priority=0)
    )
    leases = await queue.lease(10)
    assert [lease.spec.id for lease in leases] == ["zero", "urgent", "late", "later"]
    tokens = [lease.attempt.fencing_token for lease in leases]
    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize("length", [1, 2, 1_000])
async def test_a_cycle_is_refused_whole_and_named(queue: Queue, length: int) -> None:
    tasks = [spec(f"t{number}", f"t{(number + 1) % length}") for number in range(length)]
    error = await refusal(queue.add(*tasks))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CYCLE")
    assert error.metadata["length"] == str(length)
    assert await queue.states() == {}


@pytest.mark.parametrize(
    ("tasks", "reason"),
    [
        ([spec("a"), spec("a")], "DUPLICATE_TASK"),
        ([spec("a"), spec("b", "ghost")], "UNKNOWN_DEPENDENCY"),
        ([spec("a", priority=2_000_000)], "INVALID_FIELD"),
        ([spec("a" * 300)], "INVALID_FIELD"),
        ([spec("🙂")], "INVALID_FIELD"),
        ([spec("a", "b", "b"), spec("b")], "INVALID_FIELD"),
        ([spec("a", payload=b"x" * (2**20 + 1))], "INVALID_FIELD"),
        ([spec("a", budget=common_pb2.Money(currency="dollars", nanos=1))], "INVALID_FIELD"),
        ([spec("a", timeout=duration(-1))], "INVALID_FIELD"),
    ],
)
async def test_a_bad_batch_is_refused_and_nothing_is_stored(
    queue: Queue, tasks: list[pb.TaskSpec], reason: str
) -> None:
    assert (await refusal(queue.add(*tasks))).reason == reason
    assert await queue.states() == {}


async def test_adding_again_changes_nothing_and_a_differing_task_is_refused(queue: Queue) -> None:
    await queue.add(spec("a"))
    assert (await queue.add(spec("a"), spec("b"))).existing == 1
    error = await refusal(queue.add(spec("c"), spec("a", title="other")))
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "TASK_EXISTS")
    assert set(await queue.states()) == {"a", "b"}


async def test_a_report_of_a_lost_attempt_changes_nothing(queue: Queue) -> None:
    await queue.add(spec("a"))
    first = await queue.attempt("w1")
    await queue.fail(first, pb.FAILURE_REASON_RATE_LIMITED)
    second = await queue.attempt("w2")
    for report in (queue.start, queue.submit, queue.complete, queue.fail):
        result = await report(first)
        if report != queue.fail:
            assert result.error.reason == "STALE_TOKEN"
    assert (await queue.renew(first)).directive == pb.LEASE_DIRECTIVE_REVOKE
    assert (await queue.renew(second)).directive == pb.LEASE_DIRECTIVE_CONTINUE
    assert (await queue.task("a")).state == pb.TASK_STATE_ASSIGNED


@pytest.mark.parametrize(
    ("reason", "used"),
    [
        (pb.FAILURE_REASON_AGENT_CRASHED, 1),
        (pb.FAILURE_REASON_AGENT_UNAVAILABLE, 0),
        (pb.FAILURE_REASON_NO_CHANGE, 1),
        (pb.FAILURE_REASON_RATE_LIMITED, 0),
        (pb.FAILURE_REASON_REFUSED, 1),
    ],
)
async def test_what_the_agent_cannot_help_uses_up_no_attempt(
    queue: Queue, reason: pb.FailureReason, used: int
) -> None:
    await queue.add(spec("a"))
    result = await queue.fail(await queue.attempt(), reason)
    assert result.state == pb.TASK_STATE_PENDING
    assert (await queue.task("a")).attempts_used == used


async def test_repeating_a_report_gets_the_same_answer(queue: Queue) -> None:
    await queue.add(spec("a"), spec("b"))
    done, failed = ref((await queue.lease())[0]), ref((await queue.lease())[0])
    assert await queue.complete(done) == await queue.complete(done)
    assert not (await queue.fail(failed)).HasField("error")
    assert not (await queue.fail(failed)).HasField("error")
    assert (await queue.task("b")).attempts_used == 1


async def test_another_workers_attempt_cannot_be_reported(queue: Queue) -> None:
    await queue.add(spec("a"))
    attempt = await queue.attempt("w1")
    thief: Any = QueueServiceStub(queue.running.channel(Kind.WORKER, "w2"))
    done = pb.Completion(attempt=attempt)
    response = await thief.CompleteTasks(
        pb.CompleteTasksRequest(project=PROJECT, worker="w2", completions=[done])
    )
    assert response.results[0].error.reason == "STALE_TOKEN"


async def test_a_submitted_attempt_is_out_of_its_workers_hands(queue: Queue) -> None:
    await queue.add(spec("a"))
    attempt = await queue.attempt("w1")
    assert (await queue.submit(attempt, "w1")).state == pb.TASK_STATE_MERGING
    assert (await queue.complete(attempt, "w1")).error.reason == "STALE_TOKEN"
    assert (await queue.fail(attempt, worker="w1")).error.reason == "STALE_TOKEN"
    assert await queue.why("a") == ["MERGING"]
    assert (await queue.complete(attempt)).state == COMPLETE


async def test_one_stale_report_among_others_is_that_items_error(queue: Queue) -> None:
    await queue.add(*(spec(f"t{number}") for number in range(64)))
    attempts = [ref(lease) for lease in await queue.lease(64)]
    attempts[7].fencing_token += 1_000
    request = pb.StartTasksRequest(project=PROJECT, attempts=attempts)
    results = (await queue.stub.StartTasks(request)).results
    assert [result.HasField("error") for result in results].index(True) == 7
    assert sum(result.state == RUNNING for result in results) == 63


async def test_failures_are_repeated_with_backoff_until_the_policy_ends(
    queue: Queue, clock: Clock
) -> None:
    await queue.add(spec("a"), spec("b", "a"))
    waits = []
    for _ in range(3):
        await queue.fail(await queue.attempt(), detail="the output")
        task = await queue.task("a")
        waits.append(max(0, timestamp_ns(task.not_before) - clock.wall_ns))
        clock.pass_ns(60 * SECOND)
    assert SECOND / 2 <= waits[0] <= SECOND <= waits[1] <= 2 * SECOND
    assert await queue.states() == {"a": "FAILED", "b": "ABORTED"}
    assert await queue.why("b") == ["ENDED"]


async def test_a_task_in_backoff_is_not_given_away_before_its_time(
    queue: Queue, clock: Clock
) -> None:
    await queue.add(spec("a"))
    await queue.fail(await queue.attempt())
    assert await queue.lease() == []
    assert await queue.why("a") == ["IN_BACKOFF"]
    clock.pass_ns(SECOND)
    assert len(await queue.lease()) == 1


async def test_the_next_attempt_knows_how_the_last_one_ended(queue: Queue, clock: Clock) -> None:
    await queue.add(spec("a"))
    attempt = await queue.attempt("w1")
    await queue.renew(attempt, progress=common_pb2.Progress(summary="half way", fraction=0.5))
    await queue.fail(attempt, pb.FAILURE_REASON_CHECK_FAILED, detail="red")
    clock.pass_ns(SECOND)
    lease = (await queue.lease(worker="w2"))[0]
    assert lease.attempt.number == 2
    assert (lease.previous.worker, lease.previous.detail) == ("w1", "red")
    assert lease.previous.progress.summary == "half way"


async def test_a_task_that_has_lost_its_worker_lets_others_go_first(queue: Queue) -> None:
    await queue.add(spec("a", priority=1), spec("b"))
    result = await queue.fail(await queue.attempt(), pb.FAILURE_REASON_WORKER_LOST)
    assert result.state == PENDING
    assert [lease.spec.id for lease in await queue.lease()] == ["b"]
    assert await queue.lease() == []


async def test_lost_workers_use_up_no_attempt_but_five_are_enough(
    queue: Queue, clock: Clock
) -> None:
    await queue.add(spec("a", retry_policy=pb.RetryPolicy(max_attempts=1)))
    for _ in range(4):
        assert (await queue.fail(await queue.attempt(), pb.FAILURE_REASON_WORKER_LOST)).state == (
            PENDING
        )
        clock.pass_ns(60 * SECOND)
    task = await queue.task("a")
    assert (task.attempts_used, task.workers_lost) == (0, 4)
    result = await queue.fail(await queue.attempt(), pb.FAILURE_REASON_WORKER_LOST)
    assert result.state == pb.TASK_STATE_FAILED


async def test_a_spent_budget_ends_the_task(queue: Queue) -> None:
    await queue.add(spec("a"))
    result = await queue.fail(await queue.attempt(), pb.FAILURE_REASON_OUT_OF_BUDGET)
    assert result.state == pb.TASK_STATE_FAILED


async def test_a_released_attempt_is_as_if_it_had_not_been(queue: Queue) -> None:
    await queue.add(spec("a", retry_policy=pb.RetryPolicy(max_attempts=1)))
    release = pb.Release(attempt=await queue.attempt(), message="drained")
    request = pb.ReleaseTasksRequest(project=PROJECT, releases=[release])
    assert (await queue.stub.ReleaseTasks(request)).results[0].state == PENDING
    assert (await queue.task("a")).attempts_used == 0
    assert len(await queue.lease()) == 1


async def test_a_cancelled_attempt_learns_of_it_and_its_dependents_are_aborted(
    queue: Queue,
) -> None:
    await queue.add(spec("a"), spec("b", "a"), spec("c", "b"))
    attempt = await queue.attempt()
    assert (await queue.cancel("a")).state == pb.TASK_STATE_CANCELLED
    assert (await queue.renew(attempt)).directive == pb.LEASE_DIRECTIVE_CANCEL
    assert (await queue.complete(attempt)).error.reason == "STALE_TOKEN"
    assert await queue.states() == {"a": "CANCELLED", "b": "ABORTED", "c": "ABORTED"}
    assert (await queue.cancel("a")).error.reason == "TASK_ENDED"


async def test_a_retry_revives_the_dependents_that_the_task_had_aborted(queue: Queue) -> None:
    await queue.add(spec("a"), spec("x"), spec("b", "a", "x"), spec("c", "b"))
    await queue.cancel("a")
    await queue.cancel("x")
    assert (await queue.retry("b")).error.reason == "NOT_RETRYABLE"
    assert (await queue.retry("a")).state == PENDING
    assert (await queue.states())["b"] == "ABORTED"
    assert (await queue.retry("x")).state == PENDING
    assert await queue.states() == dict.fromkeys("axbc", "PENDING")
    assert [lease.spec.id for lease in await queue.lease(10)] == ["a", "x"]


async def test_a_new_task_whose_dependency_has_failed_is_aborted_at_once(queue: Queue) -> None:
    await queue.add(spec("a"))
    await queue.cancel("a")
    await queue.add(spec("b", "a"), spec("c", "b"))
    assert await queue.states() == {"a": "CANCELLED", "b": "ABORTED", "c": "ABORTED"}


async def test_tasks_go_only_to_workers_that_can_do_them(queue: Queue) -> None:
    await queue.add(spec("a", required_capabilities=["gpu", "code"]), spec("b"))
    assert [lease.spec.id for lease in await queue.lease(5, capabilities=["code"])] == ["b"]
    leases = await queue.lease(5, capabilities=["code", "gpu", "git"])
    assert [lease.spec.id for lease in leases] == ["a"]


async def test_a_named_task_is_assigned_once(queue: Queue) -> None:
    await queue.add(spec("a"), spec("b", "a"))
    request = pb.AssignTasksRequest(project=PROJECT, worker="w", task_ids=["a", "a", "b", "x"])
    results = (await queue.stub.AssignTasks(request)).results
    assert results[0].lease.spec.id == "a"
    reasons = [result.error.reason for result in results[1:]]
    assert reasons == ["NOT_READY", "NOT_READY", "TASK_NOT_FOUND"]


async def test_a_waiting_lease_is_answered_when_a_task_becomes_ready(queue: Queue) -> None:
    await queue.add(spec("a"), spec("b", "a"))
    attempt = await queue.attempt()
    waiting = asyncio.ensure_future(queue.lease(wait=duration(30 * SECOND)))
    assert (await queue.task("b")).deps_left == 1
    await queue.complete(attempt)
    assert [lease.spec.id for lease in await waiting] == ["b"]


async def test_every_one_of_many_clients_gets_another_task(queue: Queue) -> None:
    await queue.add(*(spec(f"t{number}") for number in range(200)))
    leases = await asyncio.gather(*(queue.lease(10, worker=f"w{number}") for number in range(30)))
    ids = [lease.spec.id for part in leases for lease in part]
    assert len(ids) == len(set(ids)) == 200


async def test_lists_are_paged_and_filtered(queue: Queue) -> None:
    tasks = [
        spec(f"t{number}", labels={"run": "even" if number % 2 == 0 else "odd"}, prompt="long")
        for number in range(25)
    ]
    await queue.add(*tasks)
    await queue.lease(5, worker="w")
    seen: list[str] = []
    token = ""
    while True:
        request = pb.ListTasksRequest(
            project=PROJECT, page_size=4, page_token=token, labels={"run": "odd"}
        )
        page = await queue.stub.ListTasks(request)
        assert len(page.tasks) <= 4
        seen += [task.spec.id for task in page.tasks]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"t{number}" for number in range(1, 25, 2)]
    mine = await queue.stub.ListTasks(pb.ListTasksRequest(project=PROJECT, worker="w"))
    assert [task.attempts[0].worker for task in mine.tasks] == ["w"] * 5
    assert not mine.tasks[0].spec.prompt
    states = [pb.TASK_STATE_PENDING]
    pending = await queue.stub.ListTasks(pb.ListTasksRequest(project=PROJECT, states=states))
    assert len(pending.tasks) == 20
    bad = pb.ListTasksRequest(project=PROJECT, page_token="nonsense")
    assert (await refusal(queue.stub.ListTasks(bad))).reason == "INVALID_PAGE_TOKEN"


async def test_tasks_at_work_are_paged_while_they_come_and_go(queue: Queue) -> None:
    await queue.add(*(spec(f"t{number:02}") for number in range(30)))
    attempts = [await queue.attempt(worker=f"w{number % 3}") for number in range(30)]
    request = pb.ListTasksRequest(
        project=PROJECT, worker="w1", states=[pb.TASK_STATE_ASSIGNED, RUNNING], page_size=4
    )
    first = await queue.stub.ListTasks(request)
    await asyncio.gather(*(queue.start(one) for one in attempts))
    await asyncio.gather(queue.complete(attempts[7]), queue.complete(attempts[13]))
    request.page_token = first.next_page_token
    rest = await queue.stub.ListTasks(request)
    assert [task.spec.id for task in first.tasks] == ["t01", "t04", "t07", "t10"]
    assert [task.spec.id for task in rest.tasks] == ["t16", "t19", "t22", "t25"]
    request.page_token = rest.next_page_token
    last = await queue.stub.ListTasks(request)
    assert ([task.spec.id for task in last.tasks], last.next_page_token) == (["t28"], "")


async def test_tasks_are_assigned_to_several_workers_in_one_call(queue: Queue) -> None:
    await queue.add(spec("a"), spec("b"), spec("c", "a"))
    ask: dict[str, Any] = {"project": PROJECT, "task_ids": ["a", "c", "b"]}
    request = pb.AssignTasksRequest(**ask, workers=["w1", "w2", "w3"])
    a, c, b = (await queue.stub.AssignTasks(request)).results
    assert (a.lease.attempt.worker, b.lease.attempt.worker) == ("w1", "w3")
    assert (c.task_id, c.error.reason) == ("c", "NOT_READY")
    assert [(await queue.task(one)).attempts[-1].worker for one in "ab"] == ["w1", "w3"]
    for wrong in ({"workers": ["w1"]}, {"workers": ["w1", "w2", "w3"], "worker": "w"}, {}):
        refused = await refusal(queue.stub.AssignTasks(pb.AssignTasksRequest(**ask, **wrong)))
        assert refused.reason == "INVALID_FIELD"


async def test_of_equally_urgent_tasks_those_are_listed_first_for_which_most_wait(
    queue: Queue,
) -> None:
    await queue.add(spec("leaf"), spec("pair"), spec("one"), spec("urgent", priority=99))
    await queue.add(spec("x", "one"), spec("y", "pair"), spec("z", "pair"))
    ready = await queue.stub.ListReadyTasks(pb.ListReadyTasksRequest(project=PROJECT))
    assert [task.id for task in ready.tasks] == ["urgent", "pair", "one", "leaf"]


async def test_counts_say_what_is_ready_and_what_has_ended(queue: Queue) -> None:
    await queue.add(spec("a"), spec("b"), spec("c", "a"))
    await queue.complete(await queue.attempt())
    stats = await queue.stub.GetQueueStats(pb.GetQueueStatsRequest(project=PROJECT))
    assert {name(one.state): one.count for one in stats.counts} == {"PENDING": 2, "COMPLETE": 1}
    assert (stats.ready, stats.ended) == (2, 1)


async def test_leases_expire_on_the_services_clock_and_not_before(
    tmp_path: Path, clock: Clock
) -> None:
    flags = {"queue": {"lease_s": 0.5}}
    async with served(QueueService, tmp_path, "in process", clock, flags) as running:
        queue = Queue(running)
        await queue.add(spec("a"), spec("b"))
        first, second = await queue.attempt("w1"), await queue.attempt("w2")
        service: Any = running.node._services[0]
        clock.pass_ns(SECOND // 4)
        await queue.renew(second)
        await service._leases.expire_due()
        assert (await queue.states())["a"] == "ASSIGNED"
        clock.pass_ns(SECOND // 4)
        await service._leases.expire_due()
        assert await queue.states() == {"a": "PENDING", "b": "ASSIGNED"}
        assert (await queue.complete(first)).error.reason == "STALE_TOKEN"
        attempt = (await queue.task("a")).attempts[0]
        assert attempt.reason == pb.FAILURE_REASON_WORKER_LOST


async def test_after_a_restart_every_lease_has_its_full_time(tmp_path: Path, clock: Clock) -> None:
    flags = {"queue": {"lease_s": 5.0}}
    async with served(QueueService, tmp_path, "in process", clock, flags) as running:
        await Queue(running).add(spec("a"))
        attempt = await Queue(running).attempt()
    clock.pass_ns(3_600 * SECOND)
    async with served(QueueService, tmp_path, "in process", clock, flags) as running:
        queue = Queue(running)
        service: Any = running.node._services[0]
        await service._leases.expire_due()
        clock.pass_ns(4 * SECOND)
        await service._leases.expire_due()
        assert (await queue.complete(attempt)).state == COMPLETE
