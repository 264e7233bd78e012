"""What the coordinator does for workers, over gRPC and in process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import coord_coordinator.fleet
import grpc
import pytest
from coord.environment import SYSTEM
from coord.times import SECOND, duration, timestamp
from coord.v1 import common_pb2, ledger_pb2, limiter_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_integrator.service import IntegratorService
from coord_ledger.service import LedgerService
from coord_queue.service import QueueService
from coord_runtime.tokens import Kind

from tests.coordinator_rig import (
    FLAGS,
    SERVICES,
    USD,
    Fleet,
    Worker,
    ref,
    refusal,
    spec,
    usd,
)
from tests.integrator_rig import commit, git, make_repository
from tests.serving import PROJECT, WAYS, Clock, served


@pytest.fixture(params=WAYS)
async def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with served(SERVICES, tmp_path, request.param, flags=FLAGS) as running:
        yield Fleet(running)


async def test_a_worker_gets_a_task_and_its_dependent_after_it(fleet: Fleet) -> None:
    await fleet.add(spec("a"), spec("b", "a"))
    worker = await fleet.worker("w")
    for task_id in ("a", "b"):
        attempt = ref(await worker.hear("assigned"))
        assert attempt.task_id == task_id
        await worker.say(started=pb.Started(attempt=attempt))
        await worker.say(complete=pb.Complete(attempt=attempt, message="done"))
    assert (await fleet.until("b", queue_pb2.TASK_STATE_COMPLETE)).message == "done"


async def test_whoever_connects_while_nothing_is_ready_has_nobody_looked_for(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.worker("first")
    looks = 0
    free = coord_coordinator.fleet.Fleet.free

    def counting(self: coord_coordinator.fleet.Fleet, *, queues: bool = False) -> Any:
        nonlocal looks
        looks += 1
        return free(self, queues=queues)

    monkeypatch.setattr(coord_coordinator.fleet.Fleet, "free", counting)
    workers = [await fleet.worker(f"w{number:02}") for number in range(20)]
    # The look that was under way when the first had come.
    assert looks <= 1
    await fleet.add(*(spec(f"t{number}") for number in range(21)))
    await asyncio.gather(*(worker.hear("assigned") for worker in workers))


async def test_acknowledged_means_on_disk(fleet: Fleet) -> None:
    await fleet.add(spec("a"))
    worker = await fleet.worker("w")
    attempt = ref(await worker.hear("assigned"))
    await worker.acknowledgement(await worker.say(complete=pb.Complete(attempt=attempt)))
    assert (await fleet.task("a")).state == queue_pb2.TASK_STATE_COMPLETE


async def test_a_completion_is_acknowledged_with_the_next_task(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coord_coordinator.session._COMPANY_S", 60)
    await fleet.add(spec("a"), spec("b", "a"))
    worker = await fleet.worker("w")
    attempt = ref(await worker.hear("assigned"))
    await worker.say(started=pb.Started(attempt=attempt))
    number = await worker.say(complete=pb.Complete(attempt=attempt))
    following = await worker.stream.read()
    assert (following.WhichOneof("message"), following.acknowledged) == ("assigned", number)
    progress = pb.ProgressReport(attempt=ref(following.assigned))
    await worker.acknowledgement(await worker.say(progress=progress))


async def test_a_resumed_session_sends_again_and_handles_once(fleet: Fleet) -> None:
    await fleet.add(spec("a"))
    worker = await fleet.worker("w")
    assert not worker.welcome.resumed
    attempt = ref(await worker.hear("assigned"))
    worker.handled = 0  # As if it had not arrived.
    worker.stream.cancel()
    async with asyncio.timeout(60):
        while (await _workers(fleet))["w"].connected:
            await asyncio.sleep(0.01)
    again = await fleet.back(worker, "w")
    again._sequence = 0
    assert again.welcome.resumed
    assert ref(await again.hear("assigned")) == attempt
    for _ in range(2):
        again._sequence = 0
        await again.say(complete=pb.Complete(attempt=attempt))
    await again.acknowledgement(1)
    assert len((await fleet.task("a")).attempts) == 1


async def _workers(fleet: Fleet) -> dict[str, pb.Worker]:
    response = await fleet.coordinator.ListWorkers(pb.ListWorkersRequest(project=PROJECT))
    return {worker.name: worker for worker in response.workers}


async def test_a_new_process_of_a_worker_gives_up_what_the_old_one_had(fleet: Fleet) -> None:
    await fleet.add(spec("a"))
    worker = await fleet.worker("w")
    attempt = ref(await worker.hear("assigned"))
    await worker.acknowledgement(await worker.say(started=pb.Started(attempt=attempt)))
    worker.stream.cancel()
    async with asyncio.timeout(60):
        while (await _workers(fleet))["w"].connected:
            await asyncio.sleep(0.01)
    successor = await fleet.worker("w", instance="w-2")
    again = ref(await successor.hear("assigned"))
    assert again.fencing_token > attempt.fencing_token
    assert (await fleet.task("a")).workers_lost == 1


async def test_two_live_processes_cannot_have_one_name(fleet: Fleet) -> None:
    await fleet.worker("w")
    error = await refusal(fleet.worker("w", instance="w-2"))
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "WORKER_CONNECTED")


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        ({"protocol_version": 4}, "UNSUPPORTED_VERSION"),
        ({"protocol_version": 9, "protocol_version_min": 4}, "UNSUPPORTED_VERSION"),
        ({"worker": "other"}, "NOT_YOUR_WORKER"),
        ({"project": "other"}, "NOT_YOUR_PROJECT"),
        ({"slots": 0}, "INVALID_FIELD"),
        ({"instance": ""}, "INVALID_FIELD"),
    ],
)
async def test_a_wrong_hello_is_refused(fleet: Fleet, hello: dict[str, Any], reason: str) -> None:
    assert (await refusal(fleet.worker("w", **hello))).reason == reason


async def test_a_stream_that_begins_otherwise_or_skips_a_number_is_ended(fleet: Fleet) -> None:
    stub: Any = CoordinatorServiceStub(fleet.running.channel(Kind.WORKER, "w"))
    stream = stub.Connect()
    await stream.write(pb.ConnectRequest(sequence=1, started=pb.Started()))
    assert (await refusal(stream.read())).reason == "PROTOCOL"
    worker = await fleet.worker("w")
    worker._sequence = 5
    attempt = common_pb2.AttemptRef(task_id="a", fencing_token=1)
    await worker.say(started=pb.Started(attempt=attempt))
    assert (await refusal(worker.hear("ack"))).reason == "PROTOCOL"


def _wrong_messages() -> list[dict[str, Any]]:
    attempt = common_pb2.AttemptRef(task_id="a", fencing_token=1)
    progress = [
        common_pb2.Progress(summary="x" * 5_000),
        common_pb2.Progress(fraction=float("nan")),
        common_pb2.Progress(fraction=-1),
    ]
    spent = [
        pb.Spent(entry_id="e", amount=common_pb2.Money(currency="", nanos=7)),
        pb.Spent(entry_id="e", amount=common_pb2.Money(currency=USD, nanos=-7)),
        pb.Spent(entry_id="e", usage=common_pb2.Usage(input_tokens=2**63 - 1)),
        pb.Spent(amount=usd(1)),
    ]
    for one in spent:
        one.attempt.CopyFrom(attempt)
    return [
        {"started": pb.Started()},
        {"complete": pb.Complete(attempt=attempt, message="x" * 5_000)},
        {"failed": pb.Failed(attempt=attempt)},
        *({"progress": pb.ProgressReport(attempt=attempt, progress=one)} for one in progress),
        *({"spent": one} for one in spent),
    ]


@pytest.mark.parametrize("message", _wrong_messages())
async def test_a_wrong_message_ends_the_stream_of_its_worker_alone(
    fleet: Fleet, message: dict[str, Any]
) -> None:
    other = await fleet.worker("other")
    worker = await fleet.worker("w")
    await worker.say(**message)
    assert (await refusal(worker.hear("drain"))).reason == "INVALID_FIELD"
    await fleet.add(spec("a"))
    await other.hear("assigned")


async def test_bytes_that_are_no_message_are_refused_as_such(tmp_path: Path) -> None:
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        channel: Any = running.channel(Kind.WORKER, "w")
        stream = channel.stream_stream("/coord.v1.CoordinatorService/Connect")()
        await stream.write(b"\xff\xff")
        error = await refusal(stream.read())
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("weight", [float("nan"), -1.0, 2.0])
async def test_a_preference_is_a_weight_from_0_to_1(fleet: Fleet, weight: float) -> None:
    error = await refusal(fleet.worker("w", preferences={"code": weight}))
    assert error.reason == "INVALID_FIELD"


async def test_a_worker_that_was_given_up_learns_of_it_and_comes_back(tmp_path: Path) -> None:
    flags = {"coordinator": FLAGS["coordinator"] | {"grace_s": 2.0}}
    async with served(SERVICES, tmp_path, "grpc", flags=flags) as running:
        fleet = Fleet(running)
        await fleet.add(spec("a"))
        worker = await fleet.worker("w")
        attempt = ref(await worker.hear("assigned"))
        error = await refusal(worker.hear("drain"))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STREAM_OVER")
        async with asyncio.timeout(60):
            while (await fleet.task("a")).workers_lost != 1:
                await asyncio.sleep(0.01)
        again = await fleet.worker("w", held=[attempt])
        assert not again.welcome.resumed
        assert (await again.hear("revoke")).attempt == attempt
        await again.beat()
        assert ref(await again.hear("assigned")).fencing_token > attempt.fencing_token


async def test_a_newer_stream_of_a_worker_ends_the_older_one(fleet: Fleet) -> None:
    older = await fleet.worker("w")
    newer = await fleet.worker("w")
    assert newer.welcome.resumed
    assert (await refusal(older.hear("drain"))).reason == "STREAM_OVER"
    await fleet.add(spec("a"))
    await newer.hear("assigned")


async def test_of_two_hellos_at_once_one_is_welcome(fleet: Fleet) -> None:
    answers = await asyncio.gather(
        *(fleet.worker("w", instance=f"w-{number}") for number in range(2)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Worker) for answer in answers) == 1


async def test_the_process_after_a_killed_one_tells_what_that_has_spent(fleet: Fleet) -> None:
    await fleet.add(spec("a", budget=usd(50)))
    worker = await fleet.worker("w")
    attempt = ref(await worker.hear("assigned"))
    worker.stream.cancel()
    async with asyncio.timeout(60):
        while (await _workers(fleet))["w"].connected:
            await asyncio.sleep(0.01)
    await fleet.worker("other")
    successor = await fleet.worker("w", instance="w-2", held=[attempt])
    await successor.say(spent=pb.Spent(attempt=attempt, entry_id="e", amount=usd(50)))
    reason = queue_pb2.FAILURE_REASON_WORKER_LOST
    await successor.say(failed=pb.Failed(attempt=attempt, reason=reason))
    task = await fleet.until("a", queue_pb2.TASK_STATE_FAILED)
    assert task.reason == queue_pb2.FAILURE_REASON_OUT_OF_BUDGET


async def test_with_a_repository_a_worker_has_one_slot_and_cannot_skip_the_merge(
    tmp_path: Path,
) -> None:
    flags = FLAGS | {"coordinator": {"repository": True}, "queue": {"repository": True}}
    async with served(SERVICES, tmp_path, "grpc", flags=flags) as running:
        fleet = Fleet(running)
        assert (await refusal(fleet.worker("w", slots=2))).reason == "INVALID_FIELD"
        stub: Any = QueueServiceStub(running.channel(Kind.WORKER, "w"))
        request = queue_pb2.CompleteTasksRequest(project=PROJECT, worker="w")
        assert (await refusal(stub.CompleteTasks(request))).reason == "NOT_FOR_WORKERS"


async def test_another_workers_attempt_cannot_be_reported(fleet: Fleet) -> None:
    await fleet.add(spec("a"))
    owner = await fleet.worker("w1")
    attempt = ref(await owner.hear("assigned"))
    thief = await fleet.worker("w2")
    await thief.say(complete=pb.Complete(attempt=attempt))
    assert (await thief.hear("revoke")).attempt == attempt
    assert (await fleet.task("a")).state == queue_pb2.TASK_STATE_ASSIGNED


async def test_a_cancelled_task_is_stopped_at_its_worker(fleet: Fleet) -> None:
    await fleet.add(spec("a"))
    worker = await fleet.worker("w")
    attempt = ref(await worker.hear("assigned"))
    await fleet.queue.CancelTasks(queue_pb2.CancelTasksRequest(project=PROJECT, task_ids=["a"]))
    assert (await worker.hear("cancel")).attempt == attempt


async def test_a_stop_is_done_also_where_who_asked_for_it_has_gone(fleet: Fleet) -> None:
    await fleet.add(spec("a"))
    worker = await fleet.worker("w")
    attempt = ref(await worker.hear("assigned"))
    request = pb.StopProjectRequest(project=PROJECT)
    stopping = asyncio.ensure_future(fleet.coordinator.StopProject(request))
    await worker.hear("revoke")
    assert stopping.cancel()
    await asyncio.sleep(0.1)  # Until that has arrived.
    await worker.beat()
    await fleet.coordinator.ResumeProject(pb.ResumeProjectRequest(project=PROJECT))
    assert ref(await worker.hear("assigned")).fencing_token > attempt.fencing_token


async def test_a_stopped_attempt_keeps_its_slot_until_the_worker_has_let_go(fleet: Fleet) -> None:
    await fleet.add(spec("a"), spec("b"))
    worker = await fleet.worker("w")
    attempt = ref(await worker.hear("assigned"))
    await fleet.queue.CancelTasks(queue_pb2.CancelTasksRequest(project=PROJECT, task_ids=["a"]))
    await worker.beat(attempt)
    await worker.hear("cancel")
    await worker.beat(attempt)
    assert await fleet.why("b") == ["ALL_BUSY"]
    await worker.beat()
    assert (await worker.hear("assigned")).lease.spec.id == "b"


class Gate:
    """Lets the answers of a service's method wait."""

    def __init__(self, patch: pytest.MonkeyPatch, service: Any, method: str) -> None:
        self.arrived, self.opened = asyncio.Event(), asyncio.Event()
        real = getattr(service, method)

        async def slow(service: Any, request: Any, call: Any) -> Any:
            answer = await real(service, request, call)
            self.arrived.set()
            await self.opened.wait()
            return answer

        patch.setattr(service, method, slow)


async def stop(fleet: Fleet) -> "asyncio.Future[Any]":
    """Let everything be stopped, also `b`, which waits; return what ends once that is done."""
    request = pb.StopProjectRequest(project=PROJECT, message="lunch")
    stopping = asyncio.ensure_future(fleet.coordinator.StopProject(request))
    await fleet.until_held("b", "STOPPED")
    return stopping


async def test_what_is_being_assigned_when_all_is_stopped_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assigning = Gate(monkeypatch, QueueService, "assign_tasks")
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running, asyncio.timeout(60):
        fleet = Fleet(running)
        worker = await fleet.worker("w")
        await fleet.add(spec("a"), spec("b"))
        await assigning.arrived.wait()
        stopping = await stop(fleet)
        assigning.opened.set()
        await stopping
        await fleet.coordinator.ResumeProject(pb.ResumeProjectRequest(project=PROJECT))
        assert ref(await worker.hear("assigned")).fencing_token == 2


async def test_what_is_made_ready_when_all_is_stopped_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserving = Gate(monkeypatch, LedgerService, "reserve_funds")
    releasing = Gate(monkeypatch, QueueService, "release_tasks")
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running, asyncio.timeout(60):
        fleet = Fleet(running)
        worker = await fleet.worker("w")
        await fleet.add(spec("a", budget=usd(50)), spec("b"))
        await reserving.arrived.wait()
        stopping = await stop(fleet)
        await worker.hear("revoke")
        await worker.beat()
        # The worker has nothing that it would have to let go of; its attempt is not given back yet.
        await releasing.arrived.wait()
        reserving.opened.set()
        for _ in range(5):
            await fleet.why("b")
        releasing.opened.set()
        await stopping
        await fleet.coordinator.ResumeProject(pb.ResumeProjectRequest(project=PROJECT))
        assert ref(await worker.hear("assigned")).fencing_token == 2


async def test_what_a_lost_attempt_has_spent_is_booked_when_it_is_told(fleet: Fleet) -> None:
    await fleet.add(spec("a", budget=usd(50)))
    worker = await fleet.worker("w")
    attempt = ref(await worker.hear("assigned"))
    await worker.say(failed=pb.Failed(attempt=attempt, reason=queue_pb2.FAILURE_REASON_TIMEOUT))
    await worker.acknowledgement(
        await worker.say(spent=pb.Spent(attempt=attempt, entry_id="late", amount=usd(20)))
    )
    scope = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id="a")
    request = ledger_pb2.GetBalanceRequest(project=PROJECT, scope=scope)
    assert (await fleet.ledger.GetBalance(request)).balance.posted == usd(20)


async def test_workers_take_turns(fleet: Fleet) -> None:
    workers = [await fleet.worker(f"w{number}") for number in range(3)]
    await fleet.add(*(spec(f"t{number}") for number in range(3)))
    for worker in workers:
        await worker.hear("assigned")


async def test_a_task_goes_to_the_worker_that_can_do_it_and_prefers_it(fleet: Fleet) -> None:
    await fleet.worker("a", slots=9)
    able = await fleet.worker("b", slots=9, capabilities=["gpu"])
    keen = await fleet.worker("c", slots=9, preferences={"testing": 1.0})
    await fleet.add(spec("x", required_capabilities=["gpu"]), spec("y", category="testing"))
    assert (await able.hear("assigned")).lease.spec.id == "x"
    assert (await keen.hear("assigned")).lease.spec.id == "y"
    await fleet.add(spec("z", required_capabilities=["quantum"]))
    assert await fleet.why("z") == ["MISSING_CAPABILITY"]


async def test_why_a_task_does_not_run_has_an_answer(fleet: Fleet) -> None:
    await fleet.add(spec("a"), spec("b"), spec("c", "a"))
    assert await fleet.why("a") == ["NO_WORKER"]
    worker = await fleet.worker("w")
    await worker.hear("assigned")
    assert await fleet.why("a") == ["LEASED"]
    assert await fleet.why("b") == ["ALL_BUSY"]
    assert await fleet.why("c") == ["WAITS_FOR_DEPENDENCY"]
    assert (await refusal(fleet.why("ghost"))).reason == "TASK_NOT_FOUND"


async def test_a_budget_is_reserved_at_dispatch_and_overspending_is_stopped(fleet: Fleet) -> None:
    await fleet.add(spec("a", budget=usd(50)))
    worker = await fleet.worker("w")
    assigned = await worker.hear("assigned")
    attempt = ref(assigned)
    assert assigned.budget == usd(50)
    scope = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id="a")
    request = ledger_pb2.GetBalanceRequest(project=PROJECT, scope=scope)
    assert (await fleet.ledger.GetBalance(request)).balance.pending == usd(50)
    await worker.say(spent=pb.Spent(attempt=attempt, entry_id="e1", amount=usd(45)))
    assert (await worker.hear("budget_warning")).attempt == attempt
    await worker.say(spent=pb.Spent(attempt=attempt, entry_id="e2", amount=usd(10)))
    assert (await worker.hear("budget_exceeded")).attempt == attempt
    reason = queue_pb2.FAILURE_REASON_OUT_OF_BUDGET
    number = await worker.say(failed=pb.Failed(attempt=attempt, reason=reason))
    await worker.acknowledgement(number)
    assert (await fleet.task("a")).state == queue_pb2.TASK_STATE_FAILED
    balance = (await fleet.ledger.GetBalance(request)).balance
    assert (balance.posted, balance.pending.nanos) == (usd(55), 0)


async def test_a_task_whose_budget_its_lost_attempts_have_spent_ends(fleet: Fleet) -> None:
    await fleet.add(spec("a", budget=usd(50)))
    worker = await fleet.worker("w")
    attempt = ref(await worker.hear("assigned"))
    await worker.say(spent=pb.Spent(attempt=attempt, entry_id="e", amount=usd(50)))
    lost = queue_pb2.FAILURE_REASON_WORKER_LOST
    await worker.say(failed=pb.Failed(attempt=attempt, reason=lost))
    task = await fleet.until("a", queue_pb2.TASK_STATE_FAILED)
    assert task.reason == queue_pb2.FAILURE_REASON_OUT_OF_BUDGET
    assert "0.50" in task.message


async def test_what_an_attempt_holds_whose_end_nobody_saw_goes_to_a_later_one(
    fleet: Fleet,
) -> None:
    await fleet.add(spec("a", budget=usd(50)))
    held, _ = [await _brief_attempt(fleet, "a") for _ in range(2)]
    scope = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id="a")
    request = ledger_pb2.ReservationRequest(
        reservation_id=f"a@{held}", scopes=[scope], amount=usd(50)
    )
    await fleet.ledger.ReserveFunds(
        ledger_pb2.ReserveFundsRequest(project=PROJECT, requests=[request])
    )
    worker = await fleet.worker("w")
    assert (await worker.hear("assigned")).budget == usd(50)


async def test_what_an_attempt_holds_that_nobody_ended_for_days_was_not_spent(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with served(SERVICES, tmp_path, "grpc", clock, FLAGS) as running:
        fleet = Fleet(running)
        await fleet.add(spec("a", budget=usd(50)))
        await (await fleet.worker("w")).hear("assigned")
        clock.pass_ns(48 * 3_600 * SECOND)
        scope = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id="a")
        request = ledger_pb2.GetBalanceRequest(project=PROJECT, scope=scope)
        async with asyncio.timeout(60):
            while (found := (await fleet.ledger.GetBalance(request)).balance).pending.nanos:
                await asyncio.sleep(0.02)
        assert found.posted.nanos == 0


async def test_a_call_of_an_earlier_attempt_keeps_its_money_and_the_next_gets_the_rest(
    fleet: Fleet,
) -> None:
    await fleet.add(spec("a", budget=usd(50)))
    scope = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id="a")
    call = ledger_pb2.ReservationRequest(reservation_id="call/w/1", scopes=[scope], amount=usd(20))
    await fleet.ledger.ReserveFunds(
        ledger_pb2.ReserveFundsRequest(project=PROJECT, requests=[call])
    )
    worker = await fleet.worker("w")
    assert (await worker.hear("assigned")).budget == usd(30)


async def _brief_attempt(fleet: Fleet, task_id: str) -> int:
    """Let a worker that nobody knows have a task and give it back; return its fencing token."""
    request = queue_pb2.AssignTasksRequest(project=PROJECT, worker="x", task_ids=[task_id])
    attempt = ref((await fleet.queue.AssignTasks(request)).results[0])
    releases = [queue_pb2.Release(attempt=attempt)]
    await fleet.queue.ReleaseTasks(
        queue_pb2.ReleaseTasksRequest(project=PROJECT, releases=releases)
    )
    return attempt.fencing_token


async def test_a_run_without_money_is_held_back(fleet: Fleet) -> None:
    scope = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_RUN, id="r")
    await fleet.ledger.SetBudget(
        ledger_pb2.SetBudgetRequest(project=PROJECT, scope=scope, cap=usd(60))
    )
    labels = {"run": "r"}
    await fleet.add(
        spec("a", budget=usd(40), labels=labels), spec("b", budget=usd(40), labels=labels)
    )
    worker = await fleet.worker("w", slots=2)
    attempt = ref(await worker.hear("assigned"))
    await fleet.until_held("b", "BUDGET_SPENT")
    await worker.say(complete=pb.Complete(attempt=attempt))
    assert (await worker.hear("assigned")).lease.spec.id == "b"


async def test_a_spent_rate_holds_tasks_back(fleet: Fleet) -> None:
    limits = limiter_pb2.BucketLimits(requests=limiter_pb2.RateLimit(per_minute=1, burst=1))
    await fleet.limiter.ConfigureBucket(
        limiter_pb2.ConfigureBucketRequest(project=PROJECT, name="api", limits=limits)
    )
    await fleet.add(spec("a"), spec("b"))
    worker = await fleet.worker("w", slots=2, buckets=["api", "unknown"])
    await worker.hear("assigned")
    await fleet.until_held("b", "RATE_LIMITED")


async def test_a_drained_worker_gets_nothing_more_and_goes(fleet: Fleet) -> None:
    worker = await fleet.worker("w")
    request = pb.DrainWorkersRequest(project=PROJECT, deadline=duration(SECOND))
    assert list((await fleet.coordinator.DrainWorkers(request)).workers) == ["w"]
    assert (await worker.hear("drain")).reason.code == "DRAINED"
    await fleet.add(spec("a"))
    await worker.stream.done_writing()
    assert await worker.stream.read() is grpc.aio.EOF
    workers = await _workers(fleet)
    assert workers["w"].lifecycle == pb.LIFECYCLE_STOPPED
    assert (await fleet.task("a")).state == queue_pb2.TASK_STATE_PENDING


async def test_a_drain_is_of_those_it_names_and_told_once(fleet: Fleet) -> None:
    one, two = await fleet.worker("one"), await fleet.worker("two")
    request = pb.DrainWorkersRequest(project=PROJECT, workers=["one"])
    for _ in range(2):
        assert list((await fleet.coordinator.DrainWorkers(request)).workers) == ["one"]
    message = pb.WorkerMessage(message_id="1", worker="one")
    await fleet.coordinator.SendMessage(pb.SendMessageRequest(project=PROJECT, message=message))
    told = [(await one.stream.read()).WhichOneof("message") for _ in range(2)]
    assert told == ["drain", "worker_message"]
    await fleet.add(spec("a"))
    await two.hear("assigned")


async def test_the_merged_events_go_on_from_any_cursor(fleet: Fleet) -> None:
    await fleet.add(spec("a"), spec("b"))
    worker = await fleet.worker("w", slots=2)
    for _ in range(2):
        attempt = ref(await worker.hear("assigned"))
        await worker.say(complete=pb.Complete(attempt=attempt))

    def done(events: list[pb.Event]) -> bool:
        return [one.name for one in events].count("coord:complete") == 2

    events = await _watch(fleet, "", done)
    queue = [one.queue.meta.sequence for one in events if one.HasField("queue")]
    assert queue == list(range(1, len(queue) + 1))
    assert "worker:connected" in {one.name for one in events}
    middle = len(events) // 2
    rest = await _watch(fleet, events[middle].cursor, lambda some: len(some) >= len(queue) // 4)
    sequence = next(
        one.queue.meta.sequence for one in reversed(events[: middle + 1]) if one.HasField("queue")
    )
    first = next(one.queue.meta.sequence for one in rest if one.HasField("queue"))
    assert first == sequence + 1
    error = await refusal(_watch(fleet, "nonsense", done))
    assert error.reason == "INVALID_FIELD"


async def _watch(
    fleet: Fleet, after: str, enough: Callable[[list[pb.Event]], bool]
) -> list[pb.Event]:
    events: list[pb.Event] = []
    call = fleet.coordinator.WatchEvents(pb.WatchEventsRequest(project=PROJECT, after=after))
    async with asyncio.timeout(60):
        async for response in call:
            events += response.events
            if enough(events):
                break
    call.cancel()
    return events


async def test_attempts_go_on_across_a_restart_of_the_coordinator(tmp_path: Path) -> None:
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        await fleet.add(spec("kept"), spec("lost"))
        worker = await fleet.worker("w", slots=2)
        attempts = [ref(await worker.hear("assigned")) for _ in range(2)]
        await worker.acknowledgement(await worker.say(started=pb.Started(attempt=attempts[0])))
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        worker = await fleet.worker("w", slots=1, held=[attempts[0]])
        assert not worker.welcome.resumed
        number = await worker.say(complete=pb.Complete(attempt=attempts[0]))
        await worker.acknowledgement(number)
        kept, lost = await fleet.task("kept"), await fleet.task("lost")
        assert kept.state == queue_pb2.TASK_STATE_COMPLETE
        assert len(kept.attempts) == 1
        assert lost.attempts[0].reason == queue_pb2.FAILURE_REASON_RELEASED


def _limited(attempt: common_pb2.AttemptRef, not_before_ns: int) -> pb.Failed:
    reason = queue_pb2.FAILURE_REASON_RATE_LIMITED
    return pb.Failed(attempt=attempt, reason=reason, not_before=timestamp(not_before_ns))


async def test_a_burst_of_limits_is_one_wait_of_their_provider(tmp_path: Path) -> None:
    clock = Clock()
    async with served(SERVICES, tmp_path, "grpc", clock, FLAGS) as running:
        fleet = Fleet(running)
        crew = [await fleet.worker(f"w{number}", provider="anthropic") for number in range(12)]
        await fleet.add(*(spec(f"t{number}") for number in range(12)))
        attempts = [ref(await one.hear("assigned")) for one in crew]
        for worker, attempt in zip(crew, attempts, strict=True):
            limited = _limited(attempt, clock.wall_ns + 20 * SECOND)
            await worker.acknowledgement(await worker.say(failed=limited))
        await fleet.until_held("t0", "RATE_LIMITED")
        tasks = [await fleet.task(f"t{number}") for number in range(12)]
        assert {task.attempts_used for task in tasks} == {0}
        assert {len(task.attempts) for task in tasks} == {1}
        assert {one.reason.code for one in (await _workers(fleet)).values()} == {"RATE_LIMITED"}
        other = await fleet.worker("other", provider="openai")
        first = ref(await other.hear("assigned"))
        clock.pass_ns(21 * SECOND)
        await fleet.add(spec("one-more"))
        await _names(fleet, until_assigned=14)
        # After the limit one tries alone, and for so long as it says nothing the others wait.
        assert len(await _busy(fleet)) == 2
        # Then one more every few seconds, until there is an answer.
        clock.pass_ns(6 * SECOND)
        await fleet.add(spec("two-more"))
        await _names(fleet, until_assigned=15)
        busy = await _busy(fleet)
        assert len(busy) == 3
        prober = next(one for number, one in enumerate(crew) if f"w{number}" in busy)
        attempt = ref(await prober.hear("assigned"))
        await prober.say(spent=pb.Spent(attempt=attempt, entry_id="e", amount=usd(1)))
        others = [ref(await one.hear("assigned")) for one in crew if one is not prober]
        assert len({one.task_id for one in (first, attempt, *others)}) == 13
        assert (await _names(fleet, until_assigned=25)).count("coord:rate-limited") == 1


async def test_after_a_limit_the_others_follow_when_the_first_has_an_answer(tmp_path: Path) -> None:
    clock = Clock()
    async with served(SERVICES, tmp_path, "grpc", clock, FLAGS) as running:
        fleet = Fleet(running)
        crew = {f"w{number}": await fleet.worker(f"w{number}", provider="p") for number in range(3)}
        await fleet.add(*(spec(f"t{number}") for number in range(3)))
        attempts = {name: ref(await one.hear("assigned")) for name, one in crew.items()}
        for name, worker in crew.items():
            limited = _limited(attempts[name], clock.wall_ns + 20 * SECOND)
            await worker.acknowledgement(await worker.say(failed=limited))
        clock.pass_ns(21 * SECOND)
        prober, attempt = await _probe(fleet, crew, number=4)
        # The first to try runs into the limit again: that is a new one, for all.
        limited = _limited(attempt, clock.wall_ns + 20 * SECOND)
        await prober.acknowledgement(await prober.say(failed=limited))
        clock.pass_ns(21 * SECOND)
        prober, attempt = await _probe(fleet, crew, number=5)
        await prober.say(spent=pb.Spent(attempt=attempt, entry_id="e", amount=usd(1)))
        for other in crew.values():
            if other is not prober:
                await other.hear("assigned")
        assert (await _names(fleet, until_assigned=7)).count("coord:rate-limited") == 2


async def _probe(
    fleet: Fleet, crew: dict[str, Worker], number: int
) -> tuple[Worker, common_pb2.AttemptRef]:
    """Return the one worker that was given the task of this number, and its attempt."""
    await fleet.add(spec(f"more-{number}"))
    await _names(fleet, until_assigned=number)
    (name,) = await _busy(fleet)
    held = (set(crew) - {name}).pop()
    assert f"{name} tries it first" in (await _workers(fleet))[held].reason.message
    return crew[name], ref(await crew[name].hear("assigned"))


async def _busy(fleet: Fleet) -> list[str]:
    return [name for name, worker in (await _workers(fleet)).items() if worker.attempts]


async def _names(fleet: Fleet, *, until_assigned: int) -> list[str]:
    """Return the names of all events until so many tasks were assigned."""
    names: list[str] = []
    async with asyncio.timeout(60):
        call = fleet.coordinator.WatchEvents(pb.WatchEventsRequest(project=PROJECT))
        async for response in call:
            names += [event.name for event in response.events]
            if names.count("coord:assigned") == until_assigned:
                break
        call.cancel()
    return names


async def test_workers_go_on_by_themselves_when_the_limit_is_over(fleet: Fleet) -> None:
    await fleet.add(spec("a"))
    worker = await fleet.worker("w", provider="openai")
    attempt = ref(await worker.hear("assigned"))
    await worker.say(failed=_limited(attempt, SYSTEM.now_ns() + SECOND // 2))
    assert ref(await worker.hear("assigned")).fencing_token > attempt.fencing_token


async def test_a_worker_of_no_known_provider_waits_alone(tmp_path: Path) -> None:
    clock = Clock()
    async with served(SERVICES, tmp_path, "grpc", clock, FLAGS) as running:
        fleet = Fleet(running)
        worker = await fleet.worker("w1")
        await fleet.add(spec("a"))
        attempt = ref(await worker.hear("assigned"))
        limited = _limited(attempt, clock.wall_ns + 7_200 * SECOND)
        await worker.acknowledgement(await worker.say(failed=limited))
        other = await fleet.worker("w2")
        await fleet.add(spec("b"))
        assert ref(await other.hear("assigned")).task_id == "b"
        assert await fleet.why("a") == ["IN_BACKOFF"]
        reason = (await _workers(fleet))["w1"].reason
        # A limit holds for an hour at most before it is tried again.
        assert (reason.code, reason.metadata["seconds"]) == ("RATE_LIMITED", "3600.000")


async def test_a_worker_whose_agent_cannot_work_is_given_nothing_more(fleet: Fleet) -> None:
    await fleet.add(spec("a"))
    worker = await fleet.worker("w1")
    attempt = ref(await worker.hear("assigned"))
    reason = queue_pb2.FAILURE_REASON_AGENT_UNAVAILABLE
    failed = pb.Failed(attempt=attempt, reason=reason, message="not logged in")
    await worker.acknowledgement(await worker.say(failed=failed))
    await fleet.until_held("a", "AGENT_UNAVAILABLE")
    described = (await _workers(fleet))["w1"]
    assert (described.reason.code, described.reason.message) == (
        "AGENT_UNAVAILABLE",
        "not logged in",
    )
    task = await fleet.task("a")
    assert (len(task.attempts), task.attempts_used) == (1, 0)
    healthy = await fleet.worker("w2")
    assert ref(await healthy.hear("assigned")).task_id == "a"


async def test_a_change_that_is_expected_and_not_there_is_a_failure(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    flags: dict[str, Any] = {
        "coordinator": {"repository": True},
        "integrator": {"repo": str(repo), "poll_s": 0.05, "no_check": True},
    }
    services = (*SERVICES, IntegratorService)
    async with served(services, tmp_path / "state", "grpc", flags=flags) as running:
        fleet = Fleet(running)
        await fleet.add(spec("a", expects_change=True), spec("b", "a"))
        worker = await fleet.worker("w")
        await worker.say(complete=pb.Complete(attempt=ref(await worker.hear("assigned"))))
        again = await worker.hear("assigned")
        assert again.lease.previous.reason == queue_pb2.FAILURE_REASON_NO_CHANGE
        # Neither does a commit count that was taken back, though it is kept.
        commit(Path(again.worktree.path), {"new.txt": "new\n"})
        git(Path(again.worktree.path), "revert", "--no-edit", "HEAD")
        await worker.say(complete=pb.Complete(attempt=ref(again)))
        again = await worker.hear("assigned")
        assert again.lease.previous.reason == queue_pb2.FAILURE_REASON_NO_CHANGE
        wip = git(repo, "for-each-ref", "--format=%(refname)", "refs/coord/wip").splitlines()[0]
        assert 'Revert "' in git(repo, "log", "--format=%s", f"main..{wip}")
        (Path(again.worktree.path) / "new.txt").write_text("new\n")
        await worker.say(complete=pb.Complete(attempt=ref(again)))
        assert (await fleet.until("a", queue_pb2.TASK_STATE_COMPLETE)).attempts_used == 2
        # The other one does not expect a change: it is done, and says so.
        await worker.say(complete=pb.Complete(attempt=ref(await worker.hear("assigned"))))
        done = await fleet.until("b", queue_pb2.TASK_STATE_COMPLETE)
        assert done.message == "nothing was changed"
