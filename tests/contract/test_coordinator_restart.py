"""What the coordinator still knows after a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from coord.errors import unavailable
from coord.times import SECOND
from coord.v1 import admission_pb2, claims_pb2, common_pb2, ledger_pb2, limiter_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_coordinator.reports import Reports

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, Worker, ref, spec, usd
from tests.serving import PROJECT, Clock, served

_FEW = limiter_pb2.Quantities(tokens=10)
_MODEL = "claude-sonnet-4-5"


@asynccontextmanager
async def started(state: Path, clock: Clock | None = None) -> AsyncIterator[Fleet]:
    async with served(SERVICES, state, "grpc", clock, flags=FLAGS) as running:
        yield Fleet(running)


async def told(worker: Worker) -> Worker:
    """Return the worker once the coordinator knows that it has handled what it heard."""
    await worker.stream.write(pb.ConnectRequest(acknowledged=worker.handled, ack=pb.Ack()))
    return worker


async def test_a_session_goes_on_and_running_attempts_with_it(tmp_path: Path) -> None:
    async with started(tmp_path) as fleet:
        await fleet.add(spec("a"), spec("b"))
        worker = await fleet.worker("w", slots=2)
        attempts = [ref(await worker.hear("assigned")) for _ in range(2)]
        await worker.acknowledgement(await worker.say(started=pb.Started(attempt=attempts[0])))
    async with started(tmp_path) as fleet:
        again = await fleet.back(worker, "w", slots=2, held=attempts)
        assert again.welcome.resumed
        assert again.welcome.session_id == worker.welcome.session_id
        for attempt in attempts:
            await again.acknowledgement(await again.say(complete=pb.Complete(attempt=attempt)))
        for task_id in ("a", "b"):
            assert len((await fleet.task(task_id)).attempts) == 1


async def test_what_was_sent_and_not_handled_is_sent_again_under_its_number(
    tmp_path: Path,
) -> None:
    async with started(tmp_path) as fleet:
        await fleet.add(spec("a"))
        worker = await fleet.worker("w")
        attempt = ref(await worker.hear("assigned"))
    worker.handled = 0  # As if it had not arrived.
    async with started(tmp_path) as fleet:
        again = await fleet.back(worker, "w")
        assert ref(await again.hear("assigned")) == attempt
        assert again.handled == 1
        await again.acknowledgement(await again.say(complete=pb.Complete(attempt=attempt)))
        assert len((await fleet.task("a")).attempts) == 1


async def test_a_worker_that_does_not_come_back_loses_its_attempt_after_the_grace(
    tmp_path: Path,
) -> None:
    async with started(tmp_path) as fleet:
        await fleet.add(spec("a"))
        worker = await fleet.worker("w")
        attempt = ref(await worker.hear("assigned"))
        await worker.acknowledgement(await worker.say(started=pb.Started(attempt=attempt)))
    flags = {"coordinator": FLAGS["coordinator"] | {"grace_s": 0.5}}
    async with served(SERVICES, tmp_path, "grpc", flags=flags) as running:
        fleet = Fleet(running)
        async with asyncio.timeout(60):
            while not (task := await fleet.task("a")).workers_lost:
                await asyncio.sleep(0.02)
        assert task.attempts[0].reason == queue_pb2.FAILURE_REASON_WORKER_LOST


async def test_who_has_not_heard_of_a_stop_keeps_its_slot_until_it_has_let_go(
    tmp_path: Path,
) -> None:
    async with started(tmp_path) as fleet:
        await fleet.add(spec("a"))
        worker = await fleet.worker("w")
        attempt = ref(await worker.hear("assigned"))
        await fleet.queue.CancelTasks(queue_pb2.CancelTasksRequest(project=PROJECT, task_ids=["a"]))
        await worker.hear("cancel")
    worker.handled = 0  # As if nothing had arrived.
    async with started(tmp_path) as fleet:
        await fleet.add(spec("b"))
        again = await fleet.back(worker, "w")
        assert ref(await again.hear("assigned")) == attempt
        await again.beat(attempt)
        assert await fleet.why("b") == ["ALL_BUSY"]
        await again.hear("cancel")
        await again.beat()
        assert (await again.hear("assigned")).lease.spec.id == "b"


async def stopped_by_one_that_died(
    state: Path, monkeypatch: pytest.MonkeyPatch, *, lets_go: bool
) -> tuple[Worker, common_pb2.AttemptRef]:
    """Return a worker, and its attempt that the queue was not told of when it was to stop."""

    async def die(*_: Any) -> None:
        raise unavailable("DIED", "before the queue was told", retry_after_ns=0)

    with monkeypatch.context() as patch:
        patch.setattr(Reports, "give_back", die)
        async with started(state) as fleet:
            await fleet.add(spec("a"))
            worker = await fleet.worker("w")
            attempt = ref(await worker.hear("assigned"))
            stopping = fleet.coordinator.StopProject(pb.StopProjectRequest(project=PROJECT))
            await worker.hear("revoke")
            await worker.beat(*() if lets_go else [attempt])
            await stopping
    return worker, attempt


async def test_what_was_stopped_by_a_coordinator_that_died_of_it_is_given_back_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, attempt = await stopped_by_one_that_died(tmp_path, monkeypatch, lets_go=True)
    worker.handled = 0  # As if nothing had arrived.
    async with started(tmp_path) as fleet:
        await fleet.coordinator.ResumeProject(pb.ResumeProjectRequest(project=PROJECT))
        again = await fleet.back(worker, "w")
        assert ref(await again.hear("assigned")) == attempt
        await again.hear("revoke")
        await again.beat()
        assert ref(await again.hear("assigned")).fencing_token > attempt.fencing_token


async def test_what_a_worker_has_let_go_of_for_a_coordinator_that_died_of_it_is_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, attempt = await stopped_by_one_that_died(tmp_path, monkeypatch, lets_go=False)
    async with started(tmp_path) as fleet:
        await fleet.coordinator.ResumeProject(pb.ResumeProjectRequest(project=PROJECT))
        again = await fleet.back(worker, "w", held=[attempt])
        await again.beat()
        await again.beat()
        assert ref(await again.hear("assigned")).fencing_token > attempt.fencing_token


async def test_who_is_about_to_begin_what_has_ended_is_told_to_stop_and_keeps_its_slot(
    tmp_path: Path,
) -> None:
    async with started(tmp_path) as fleet:
        await fleet.add(spec("a"))
        worker = await fleet.worker("w")
        attempt = ref(await worker.hear("assigned"))
    worker.handled = 0  # As if it had not arrived.
    async with started(tmp_path) as fleet:
        completions = [queue_pb2.Completion(attempt=attempt)]
        await fleet.queue.CompleteTasks(
            queue_pb2.CompleteTasksRequest(project=PROJECT, completions=completions)
        )
        await fleet.add(spec("b"))
        again = await fleet.back(worker, "w")
        assert ref(await again.hear("assigned")) == attempt
        await again.beat(attempt)
        assert await fleet.why("b") == ["ALL_BUSY"]
        assert (await again.hear("revoke")).attempt == attempt
        await again.beat()
        assert (await again.hear("assigned")).lease.spec.id == "b"


async def test_what_ended_before_its_worker_came_back_holds_no_money(tmp_path: Path) -> None:
    async with started(tmp_path) as fleet:
        await fleet.add(spec("a", budget=usd(50)))
        worker = await fleet.worker("w")
        attempt = ref(await worker.hear("assigned"))
        await worker.acknowledgement(await worker.say(started=pb.Started(attempt=attempt)))
    # What the renewal of leases would find is found too late.
    flags = {"coordinator": FLAGS["coordinator"] | {"renew_s": 60.0}}
    async with served(SERVICES, tmp_path, "grpc", flags=flags) as running:
        fleet = Fleet(running)
        scope = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id="a")
        request = ledger_pb2.GetBalanceRequest(project=PROJECT, scope=scope)
        assert (await fleet.ledger.GetBalance(request)).balance.pending == usd(50)
        completions = [queue_pb2.Completion(attempt=attempt)]
        await fleet.queue.CompleteTasks(
            queue_pb2.CompleteTasksRequest(project=PROJECT, completions=completions)
        )
        await fleet.back(worker, "w")
        async with asyncio.timeout(60):
            while (await fleet.ledger.GetBalance(request)).balance.pending.nanos:
                await asyncio.sleep(0.02)


async def test_numbers_go_on_after_everything_was_handled(tmp_path: Path) -> None:
    async with started(tmp_path) as fleet:
        await fleet.add(spec("a"))
        worker = await fleet.worker("w")
        attempt = ref(await worker.hear("assigned"))
        await worker.acknowledgement(await worker.say(complete=pb.Complete(attempt=attempt)))
        await told(worker)
    async with started(tmp_path) as fleet:
        again = await fleet.back(worker, "w")
        await fleet.add(spec("b"))
        second = ref(await again.hear("assigned"))
        assert (second.task_id, again.handled) == ("b", 2)


async def test_messages_wait_for_their_worker_and_come_once(tmp_path: Path) -> None:
    async with started(tmp_path) as fleet:
        worker = await fleet.worker("w")
        worker.stream.cancel()
        for number in range(3):
            message = pb.WorkerMessage(message_id=f"m{number}", worker="w", body=str(number))
            for _ in range(2):  # The same id has no second effect.
                await fleet.coordinator.SendMessage(
                    pb.SendMessageRequest(project=PROJECT, message=message)
                )
    async with started(tmp_path) as fleet:
        again = await fleet.back(worker, "w")
        heard = [(await again.hear("worker_message")).message_id for _ in range(3)]
        assert heard == ["m0", "m1", "m2"]
        await told(again)
        another = pb.WorkerMessage(message_id="m3", worker="w")
        await fleet.coordinator.SendMessage(pb.SendMessageRequest(project=PROJECT, message=another))
        assert (await again.hear("worker_message")).message_id == "m3"


async def test_a_new_process_of_a_worker_gets_the_messages_that_the_old_one_did_not_handle(
    tmp_path: Path,
) -> None:
    async with started(tmp_path) as fleet:
        worker = await fleet.worker("w")
        message = pb.WorkerMessage(message_id="m", worker="w")
        await fleet.coordinator.SendMessage(pb.SendMessageRequest(project=PROJECT, message=message))
        await worker.hear("worker_message")
    async with started(tmp_path) as fleet:
        successor = await fleet.worker("w", instance="w-2")
        assert (await successor.hear("worker_message")).message_id == "m"


async def test_claims_and_their_line_stand_and_tokens_grow(tmp_path: Path) -> None:
    def ask(claim_id: str, holder: str, wait_s: int = 0) -> claims_pb2.AcquireClaimsRequest:
        resources = [claims_pb2.Resource(path="src/**")]
        request = claims_pb2.ClaimRequest(claim_id=claim_id, resources=resources)
        return claims_pb2.AcquireClaimsRequest(
            project=PROJECT, holder=holder, requests=[request], wait={"seconds": wait_s}
        )

    async with started(tmp_path) as fleet:
        first = (await fleet.coordinator.AcquireClaims(ask("1", "ann"))).results[0].claim
        waiting = fleet.coordinator.AcquireClaims(ask("2", "bob", 30))
        async with asyncio.timeout(60):
            while len(await _claims(fleet)) < 2:
                await asyncio.sleep(0.01)
        waiting.cancel()
    async with started(tmp_path) as fleet:
        assert [(one.claim_id, one.state) for one in await _claims(fleet)] == [
            ("1", claims_pb2.CLAIM_STATE_GRANTED),
            ("2", claims_pb2.CLAIM_STATE_WAITING),
        ]
        again = (await fleet.coordinator.AcquireClaims(ask("1", "ann"))).results[0].claim
        assert again.fencing_token == first.fencing_token
        release = claims_pb2.ReleaseClaimsRequest(project=PROJECT, holder="ann", claim_ids=["1"])
        await fleet.coordinator.ReleaseClaims(release)
        second = (await fleet.coordinator.AcquireClaims(ask("2", "bob"))).results[0].claim
        assert second.fencing_token > first.fencing_token


async def _claims(fleet: Fleet) -> list[claims_pb2.Claim]:
    request = claims_pb2.ListClaimsRequest(project=PROJECT)
    return list((await fleet.coordinator.ListClaims(request)).claims)


async def test_a_stop_and_a_chosen_strategy_hold_across_a_restart(tmp_path: Path) -> None:
    async with started(tmp_path) as fleet:
        await fleet.add(spec("a"))
        worker = await fleet.worker("w")
        attempt = ref(await worker.hear("assigned"))
        stopping = fleet.coordinator.StopProject(
            pb.StopProjectRequest(project=PROJECT, message="lunch")
        )
        assert (await worker.hear("revoke")).attempt == attempt
        await worker.beat()
        assert list((await stopping).attempts) == [attempt]
        await fleet.coordinator.SetStrategy(
            pb.SetStrategyRequest(project=PROJECT, strategy="round_robin")
        )
    async with started(tmp_path) as fleet:
        worker = await fleet.worker("w", instance="w-2")
        await fleet.until_held("a", "STOPPED")
        status = await fleet.coordinator.GetStatus(pb.GetStatusRequest(project=PROJECT))
        assert (status.stopped.message, status.strategy) == ("lunch", "round_robin")
        await fleet.coordinator.ResumeProject(pb.ResumeProjectRequest(project=PROJECT))
        assert ref(await worker.hear("assigned")).task_id == "a"
        task = await fleet.task("a")
        assert task.attempts[0].reason == queue_pb2.FAILURE_REASON_RELEASED


async def test_what_waited_for_a_rate_limit_is_granted_by_the_next_coordinator(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with started(tmp_path, clock) as fleet:
        worker = await _waiting_for_tokens(fleet)
    clock.pass_ns(3600 * SECOND)
    async with started(tmp_path, clock) as fleet:
        again = await fleet.back(worker, "w", buckets=["key"])
        assert again.welcome.resumed
        heard = {await _answered(again) for _ in range(2)}
        assert heard == {"rate", "call"}
        await told(again)
    async with started(tmp_path, clock) as fleet:
        last = await fleet.back(again, "w", buckets=["key"])
        await last.say(rate_request=pb.RateRequest(rate_id="new", estimate=_FEW))
        assert await _answered(last) == "new", "nothing is answered again"


async def test_what_was_taken_back_while_it_waited_is_not_asked_for_again(tmp_path: Path) -> None:
    clock = Clock()
    async with started(tmp_path, clock) as fleet:
        worker = await _waiting_for_tokens(fleet)
        # Who has nothing and waits for nothing is taken to have left when its connection breaks.
        await fleet.add(spec("a"))
        attempt = ref(await worker.hear("assigned"))
        await worker.say(rate_settlement=pb.RateSettlement(rate_id="rate"))
        over = admission_pb2.CallSettlement(call_id="call", model=_MODEL)
        await worker.acknowledgement(await worker.say(call_settlement=over))
    clock.pass_ns(3600 * SECOND)
    async with started(tmp_path, clock) as fleet:
        again = await fleet.back(worker, "w", buckets=["key"], held=[attempt])
        assert again.welcome.resumed
        await again.say(rate_request=pb.RateRequest(rate_id="new", estimate=_FEW))
        assert await _answered(again) == "new"


async def _answered(worker: Worker) -> str:
    """Return the id of the next request or call that a worker is granted."""
    while True:
        response = await worker.stream.read()
        worker.handled = max(worker.handled, response.sequence)
        if response.HasField("rate_grant"):
            return response.rate_grant.rate_id
        if response.HasField("call_admission"):
            return response.call_admission.call_id


async def _waiting_for_tokens(fleet: Fleet) -> Worker:
    """Return a worker that waits, with a rate request and with a call, for tokens it holds."""
    tokens = limiter_pb2.RateLimit(per_minute=1, burst=1_000)
    await fleet.limiter.ConfigureBucket(
        limiter_pb2.ConfigureBucketRequest(
            project=PROJECT, name="key", limits=limiter_pb2.BucketLimits(tokens=tokens)
        )
    )
    worker = await fleet.worker("w", buckets=["key"])
    all_of_them = limiter_pb2.Quantities(tokens=1_000)
    await worker.say(rate_request=pb.RateRequest(rate_id="taken", estimate=all_of_them))
    await worker.hear("rate_grant")
    await worker.say(rate_request=pb.RateRequest(rate_id="rate", estimate=_FEW))
    await worker.hear("rate_wait")
    call = admission_pb2.CallRequest(
        call_id="call", model=_MODEL, input_tokens=10, max_output_tokens=10
    )
    await worker.acknowledgement(await worker.say(call_request=call))
    return await told(worker)
