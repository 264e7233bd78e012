"""Every message of the worker's stream, exercised over a real connection.

The names are read from the contract: a new message without a scenario here fails.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from coord.times import SECOND
from coord.v1 import admission_pb2, claims_pb2, common_pb2, ledger_pb2, limiter_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_integrator.service import IntegratorService
from coord_runtime.service import Service

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, Worker, ref, spec, usd
from tests.integrator_rig import make_repository
from tests.serving import PROJECT, served

Scenario = Callable[[Fleet], Awaitable[None]]

FROM_WORKER: dict[str, Scenario] = {}
TO_WORKER: dict[str, Scenario] = {}


def shows(*, said: str = "", heard: str = "") -> Callable[[Scenario], Scenario]:
    """Note which messages a scenario exercises."""

    def note(scenario: Scenario) -> Scenario:
        FROM_WORKER.update(dict.fromkeys(said.split(), scenario))
        TO_WORKER.update(dict.fromkeys(heard.split(), scenario))
        return scenario

    return note


def _names(message: Any) -> list[str]:
    return [field.name for field in message.DESCRIPTOR.oneofs_by_name["message"].fields]


async def _attempt(fleet: Fleet, worker: Worker, task: str = "a") -> common_pb2.AttemptRef:
    await fleet.add(spec(task))
    return ref(await worker.hear("assigned"))


def _file(path: str) -> list[claims_pb2.Resource]:
    return [claims_pb2.Resource(path=path)]


@shows(said="hello", heard="welcome")
async def _a_hello_is_welcomed(fleet: Fleet) -> None:
    worker = await fleet.worker("w")
    assert worker.welcome.session_id
    assert worker.welcome.protocol_version == 2


@shows(said="started progress complete", heard="assigned ack")
async def _a_task_is_worked_at(fleet: Fleet) -> None:
    worker = await fleet.worker("w")
    attempt = await _attempt(fleet, worker)
    await worker.say(started=pb.Started(attempt=attempt))
    await worker.say(
        progress=pb.ProgressReport(attempt=attempt, progress=common_pb2.Progress(summary="half"))
    )
    last = await worker.say(complete=pb.Complete(attempt=attempt, message="done"))
    await worker.hear("ack")
    await worker.acknowledgement(last)
    task = await fleet.task("a")
    assert task.state == queue_pb2.TASK_STATE_COMPLETE
    assert task.attempts[0].progress.summary == "half"


@shows(said="heartbeat ack")
async def _a_sign_of_life_is_heard(fleet: Fleet) -> None:
    worker = await fleet.worker("w")
    attempt = await _attempt(fleet, worker)
    await worker.beat(attempt)
    await worker.stream.write(pb.ConnectRequest(acknowledged=1, ack=pb.Ack()))
    await worker.acknowledgement(await worker.say(complete=pb.Complete(attempt=attempt)))


@shows(said="failed released")
async def _an_attempt_ends_without_success(fleet: Fleet) -> None:
    worker = await fleet.worker("w")
    attempt = await _attempt(fleet, worker)
    await worker.say(released=pb.Released(attempt=attempt, message="not now"))
    again = ref(await worker.hear("assigned"))
    failed = pb.Failed(attempt=again, reason=queue_pb2.FAILURE_REASON_AGENT_ERROR)
    await worker.acknowledgement(await worker.say(failed=failed))
    reasons = [one.reason for one in (await fleet.task("a")).attempts]
    assert reasons[:2] == [
        queue_pb2.FAILURE_REASON_RELEASED,
        queue_pb2.FAILURE_REASON_AGENT_ERROR,
    ]


@shows(said="spent", heard="budget_warning budget_exceeded")
async def _a_cost_nears_its_cap_and_passes_it(fleet: Fleet) -> None:
    worker = await fleet.worker("w")
    await fleet.add(spec("a", budget=usd(100)))
    attempt = ref(await worker.hear("assigned"))
    await worker.say(spent=pb.Spent(attempt=attempt, entry_id="1", amount=usd(90)))
    assert (await worker.hear("budget_warning")).attempt == attempt
    await worker.say(spent=pb.Spent(attempt=attempt, entry_id="2", amount=usd(20)))
    stop = await worker.hear("budget_exceeded")
    assert stop.balance.scope.kind == ledger_pb2.SCOPE_KIND_TASK


@shows(heard="revoke")
async def _an_attempt_that_is_not_its_own_is_revoked(fleet: Fleet) -> None:
    worker = await fleet.worker("w")
    stray = common_pb2.AttemptRef(task_id="never", fencing_token=99)
    await worker.say(started=pb.Started(attempt=stray))
    assert (await worker.hear("revoke")).attempt == stray


@shows(heard="cancel")
async def _a_task_is_cancelled(fleet: Fleet) -> None:
    worker = await fleet.worker("w")
    attempt = await _attempt(fleet, worker)
    await fleet.queue.CancelTasks(queue_pb2.CancelTasksRequest(project=PROJECT, task_ids=["a"]))
    assert (await worker.hear("cancel")).attempt == attempt


@shows(heard="drain")
async def _a_worker_is_drained(fleet: Fleet) -> None:
    worker = await fleet.worker("w")
    await fleet.coordinator.DrainWorkers(
        pb.DrainWorkersRequest(project=PROJECT, workers=["w"], message="for repairs")
    )
    assert (await worker.hear("drain")).reason.message == "for repairs"


@shows(said="request claim_release", heard="proceed wait")
async def _a_claim_waits_for_another(fleet: Fleet) -> None:
    one, two = await fleet.worker("one"), await fleet.worker("two")
    await one.say(request=claims_pb2.ClaimRequest(claim_id="1", resources=_file("src/**")))
    first = (await one.hear("proceed")).claim
    await two.say(request=claims_pb2.ClaimRequest(claim_id="2", resources=_file("src/a.py")))
    wait = await two.hear("wait")
    assert (wait.claim_id, wait.wait.place, wait.wait.reasons[0].code) == ("2", 1, "CLAIMED")
    await one.say(claim_release=pb.ClaimRelease(claim_id="1"))
    second = (await two.hear("proceed")).claim
    assert second.fencing_token > first.fencing_token


@shows(heard="refusal")
async def _a_deadlock_is_refused(fleet: Fleet) -> None:
    one, two = await fleet.worker("one"), await fleet.worker("two")
    await one.say(request=claims_pb2.ClaimRequest(claim_id="a1", resources=_file("/a")))
    await one.hear("proceed")
    await two.say(request=claims_pb2.ClaimRequest(claim_id="b2", resources=_file("/b")))
    await two.hear("proceed")
    await one.say(request=claims_pb2.ClaimRequest(claim_id="b1", resources=_file("/b")))
    await one.hear("wait")
    await two.say(request=claims_pb2.ClaimRequest(claim_id="a2", resources=_file("/a")))
    refusal = await two.hear("refusal")
    assert (refusal.id, refusal.reason.code) == ("a2", "DEADLOCK")
    assert refusal.reason.metadata["circle"] == "a1 b2"


@shows(said="rate_request rate_settlement", heard="rate_grant rate_wait")
async def _a_call_waits_for_its_bucket(fleet: Fleet) -> None:
    tokens = limiter_pb2.RateLimit(per_minute=6_000, burst=100)
    await fleet.limiter.ConfigureBucket(
        limiter_pb2.ConfigureBucketRequest(
            project=PROJECT, name="key", limits=limiter_pb2.BucketLimits(tokens=tokens)
        )
    )
    worker = await fleet.worker("w", buckets=["key"])
    estimate = limiter_pb2.Quantities(tokens=100)
    await worker.say(rate_request=pb.RateRequest(rate_id="1", estimate=estimate))
    assert (await worker.hear("rate_grant")).rate_id == "1"
    await worker.say(rate_request=pb.RateRequest(rate_id="2", estimate=estimate))
    wait = await worker.hear("rate_wait")
    assert wait.rate_id == "2"
    assert 0 < wait.retry_after.ToNanoseconds() <= SECOND
    await worker.say(rate_settlement=pb.RateSettlement(rate_id="1", actual=estimate))
    assert (await worker.hear("rate_grant")).rate_id == "2"


@shows(said="call_request call_settlement", heard="call_admission call_wait")
async def _a_call_is_admitted_and_paid_for(fleet: Fleet) -> None:
    tokens = limiter_pb2.RateLimit(per_minute=60_000, burst=1_000)
    await fleet.limiter.ConfigureBucket(
        limiter_pb2.ConfigureBucketRequest(
            project=PROJECT, name="key", limits=limiter_pb2.BucketLimits(tokens=tokens)
        )
    )
    worker = await fleet.worker("w", buckets=["key"])
    await fleet.add(spec("a", budget=usd(100)))
    attempt = ref(await worker.hear("assigned"))
    asked = admission_pb2.CallRequest(
        attempt=attempt, model="claude-sonnet-4-5", input_tokens=500, max_output_tokens=400
    )
    asked.call_id = "1"
    await worker.say(call_request=asked)
    admission = await worker.hear("call_admission")
    assert (admission.call_id, admission.max_output_tokens) == ("1", 400)
    assert admission.reserved == common_pb2.Money(currency="USD", nanos=7_500_000)
    asked.call_id = "2"
    await worker.say(call_request=asked)
    wait = await worker.hear("call_wait")
    assert (wait.call_id, wait.place, wait.reason.code) == ("2", 1, "RATE_LIMITED")
    used = common_pb2.Usage(input_tokens=500, output_tokens=100)
    settlement = admission_pb2.CallSettlement(
        call_id="1", attempt=attempt, model="claude-sonnet-4-5", usage=used
    )
    await worker.say(call_settlement=settlement)
    assert (await worker.hear("call_admission")).call_id == "2"


@shows(said="worker_message", heard="worker_message")
async def _a_message_goes_from_worker_to_worker(fleet: Fleet) -> None:
    one, two = await fleet.worker("one"), await fleet.worker("two", roles=["reviewer"])
    to_two = pb.WorkerMessage(worker="two")
    for message in (to_two, pb.WorkerMessage(role="reviewer"), pb.WorkerMessage(everybody=True)):
        kind = str(message.WhichOneof("recipient"))
        message.MergeFrom(pb.WorkerMessage(message_id=kind, body="look", thread="t"))
        await one.say(worker_message=message)
        heard = await two.hear("worker_message")
        assert (heard.sender, heard.body, heard.thread) == ("one", "look", "t")


@shows(heard="claim_lost")
async def _a_claim_is_taken_back_by_the_operator(fleet: Fleet) -> None:
    worker = await fleet.worker("w")
    resources = _file("src/**")
    await worker.say(request=claims_pb2.ClaimRequest(claim_id="1", resources=resources))
    await worker.hear("proceed")
    await fleet.coordinator.ReleaseClaims(
        claims_pb2.ReleaseClaimsRequest(project=PROJECT, holder="w", claim_ids=["1"])
    )
    assert (await worker.hear("claim_lost")).claim.state == claims_pb2.CLAIM_STATE_EXPIRED


@shows(said="conflict_check")
async def _conflicts_are_told_on_demand(fleet: Fleet) -> None:
    one, two = await fleet.worker("one"), await fleet.worker("two")
    await fleet.add(spec("a"), spec("b"))
    first, second = await one.hear("assigned"), await two.hear("assigned")
    for assigned, text in ((first, "mine\n"), (second, "theirs\n")):
        Path(assigned.worktree.path, "new.txt").write_text(text)
    await one.say(conflict_check=pb.ConflictCheck(check_id="c", attempt=ref(first)))
    while (conflict := await one.hear("conflict")).check_id != "c":
        pass  # The radar may have told of it before.
    assert [(other.worker, list(other.paths)) for other in conflict.conflicts] == [
        ("two", ["new.txt"])
    ]
    assert "mine" in conflict.conflicts[0].hunks
    assert "theirs" in conflict.conflicts[0].hunks


@shows(heard="conflict")
async def _both_owners_are_told_of_a_conflict_and_its_end(fleet: Fleet) -> None:
    one, two = await fleet.worker("one"), await fleet.worker("two")
    await fleet.add(spec("a"), spec("b"))
    first, second = await one.hear("assigned"), await two.hear("assigned")
    for assigned, text in ((first, "mine\n"), (second, "theirs\n")):
        Path(assigned.worktree.path, "new.txt").write_text(text)
    for worker, assigned, other in ((one, first, "two"), (two, second, "one")):
        told = await worker.hear("conflict")
        assert (told.check_id, told.attempt) == ("", ref(assigned))
        assert [(with_.worker, list(with_.paths)) for with_ in told.conflicts] == [
            (other, ["new.txt"])
        ]
        assert "mine" in told.conflicts[0].hunks
        assert "theirs" in told.conflicts[0].hunks

    Path(first.worktree.path, "new.txt").unlink()
    assert not (await one.hear("conflict")).conflicts
    assert not (await two.hear("conflict")).conflicts


@shows(heard="recall")
async def _what_has_not_begun_is_called_back_for_an_idle_worker(fleet: Fleet) -> None:
    await fleet.coordinator.SetStrategy(
        pb.SetStrategyRequest(project=PROJECT, strategy="work_stealing")
    )
    busy = await fleet.worker("busy", prefetch=4)
    await fleet.add(*(spec(f"t{number}") for number in range(5)))
    attempts = [ref(await busy.hear("assigned")) for _ in range(5)]
    await busy.say(started=pb.Started(attempt=attempts[0]))
    await fleet.worker("idle")
    recall = await busy.hear("recall")
    assert recall.attempt in attempts[1:]


async def _run(scenario: Scenario, folder: Path) -> None:
    """Run a scenario, with a repository where it needs one."""
    services: tuple[type[Service], ...] = SERVICES
    flags = FLAGS
    if scenario in (_conflicts_are_told_on_demand, _both_owners_are_told_of_a_conflict_and_its_end):
        repository = make_repository(folder / "project")
        flags = {
            "coordinator": {"repository": True},
            "integrator": {"repo": str(repository), "no_check": True},
        }
        services = (*SERVICES, IntegratorService)
    async with served(services, folder / "state", "grpc", flags=flags) as running:
        await asyncio.wait_for(scenario(Fleet(running)), 60)


def test_every_message_of_the_contract_has_a_scenario() -> None:
    assert set(_names(pb.ConnectRequest)) == set(FROM_WORKER)
    assert set(_names(pb.ConnectResponse)) == set(TO_WORKER)


@pytest.mark.parametrize("scenario", dict.fromkeys([*FROM_WORKER.values(), *TO_WORKER.values()]))
async def test_messages_of_the_vocabulary(scenario: Scenario, tmp_path: Path) -> None:
    await _run(scenario, tmp_path)
