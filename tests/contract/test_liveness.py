"""How sure the coordinator is that a worker is alive, and what it does about the others."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from coord.times import SECOND
from coord.v1 import claims_pb2, common_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_coordinator import streams
from coord_coordinator.sqlite import SqliteCoordinatorStore
from coord_coordinator.store import ClaimChange

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, ref, refusal, spec
from tests.serving import PROJECT, Clock, served

_QUICK = {"repository": False, "heartbeat_s": 0.1, "grace_s": 1.5, "renew_s": 0.1}


async def _worker(fleet: Fleet, name: str) -> pb.Worker:
    response = await fleet.coordinator.ListWorkers(pb.ListWorkersRequest(project=PROJECT))
    return next(one for one in response.workers if one.name == name)


async def _until(fleet: Fleet, name: str, vitality: pb.Vitality) -> pb.Worker:
    async with asyncio.timeout(60):
        while (worker := await _worker(fleet, name)).vitality != vitality:
            await asyncio.sleep(0.02)
    return worker


async def _codes(fleet: Fleet, until: str) -> list[str]:
    codes: list[str] = []
    call = fleet.coordinator.WatchEvents(pb.WatchEventsRequest(project=PROJECT))
    async with asyncio.timeout(60):
        async for response in call:
            codes += [
                event.coordinator.reason.code
                for event in response.events
                if event.WhichOneof("event") == "coordinator"
            ]
            if until in codes:
                break
    call.cancel()
    return codes


async def test_silence_is_suspected_then_a_loss_and_each_is_told(tmp_path: Path) -> None:
    # One heartbeat has to be seen before the next is missed, on a busy machine too.
    slower = {**_QUICK, "heartbeat_s": 0.5, "grace_s": 4.0}
    async with served(SERVICES, tmp_path, "grpc", flags={"coordinator": slower}) as running:
        fleet = Fleet(running)
        worker = await fleet.worker("w")
        await _until(fleet, "w", pb.VITALITY_SUSPECTED)
        await worker.beat()
        await _until(fleet, "w", pb.VITALITY_ALIVE)
        worker.stream.cancel()
        await _until(fleet, "w", pb.VITALITY_AWAY)
        lost = await _until(fleet, "w", pb.VITALITY_LOST)
        assert "nothing was heard of it" in lost.reason.message
        codes = await _codes(fleet, "LOST")
        order = [code for code in codes if code in ("SUSPECTED", "RECOVERED", "AWAY", "LOST")]
        assert order[:2] == ["SUSPECTED", "RECOVERED"]
        assert order[-2:] == ["AWAY", "LOST"]


async def test_a_worker_that_talks_but_does_not_listen_is_lost_with_that_reason(
    tmp_path: Path,
) -> None:
    async with served(SERVICES, tmp_path, "grpc", flags={"coordinator": _QUICK}) as running:
        fleet = Fleet(running)
        await fleet.add(spec("a"))
        deaf = await fleet.worker("deaf")

        async def beat() -> None:
            while True:
                await deaf.beat()
                await asyncio.sleep(0.1)

        beating = asyncio.create_task(beat())
        lost = await _until(fleet, "deaf", pb.VITALITY_LOST)
        beating.cancel()
        assert "does not read" in lost.reason.message
        other = await fleet.worker("other")
        assert ref(await other.hear("assigned")).task_id == "a"


async def test_a_pause_of_the_coordinator_itself_is_held_against_nobody(tmp_path: Path) -> None:
    clock = Clock()
    async with served(SERVICES, tmp_path, "grpc", clock, FLAGS) as running:
        fleet = Fleet(running)
        await fleet.worker("w")
        clock.pass_ns(3_600 * SECOND)
        await asyncio.sleep(0.5)  # Some looks later.
        assert (await _worker(fleet, "w")).lifecycle == pb.LIFECYCLE_RUNNING


async def test_who_talks_on_but_has_acknowledged_too_little_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_BACKLOG_MAX", 2)
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        worker = await fleet.worker("w")
        for number in range(3):
            message = pb.WorkerMessage(message_id=str(number), worker="w")
            request = pb.SendMessageRequest(project=PROJECT, message=message)
            await fleet.coordinator.SendMessage(request)
        await worker.beat()
        error = await refusal(worker.hear("nothing"))
        assert (error.reason, "more than 2 messages" in str(error)) == ("PROTOCOL", True)


async def test_a_worker_that_floods_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        loud = await fleet.worker("loud", capabilities=["none"])
        stray = common_pb2.AttemptRef(task_id="none", fencing_token=1)

        async def flood() -> None:
            while True:
                await loud.say(
                    progress=pb.ProgressReport(attempt=stray, progress=common_pb2.Progress())
                )

        flooding = asyncio.create_task(flood())
        worker = await fleet.worker("quiet", capabilities=["work"])
        for number in range(20):
            await fleet.add(spec(f"t{number}", required_capabilities=["work"]))
            attempt = ref(await worker.hear("assigned"))
            await worker.acknowledgement(await worker.say(complete=pb.Complete(attempt=attempt)))
        flooding.cancel()
        task = await fleet.task("t19")
        assert task.state == queue_pb2.TASK_STATE_COMPLETE


def _malformed() -> dict[str, Any]:
    path = claims_pb2.Resource(path="src/**")
    claim = claims_pb2.ClaimRequest(claim_id="c", resources=[path])
    return {
        "no resource": {"request": claims_pb2.ClaimRequest(claim_id="c")},
        "101 resources": {"request": claims_pb2.ClaimRequest(claim_id="c", resources=[path] * 101)},
        "a negated glob": {
            "request": claims_pb2.ClaimRequest(
                claim_id="c", resources=[claims_pb2.Resource(path="!src")]
            )
        },
        "an id with a space": {
            "request": claims_pb2.ClaimRequest(claim_id="a b", resources=[path])
        },
        "a message to nobody": {"worker_message": pb.WorkerMessage(message_id="m")},
        "a message of 65 KiB": {
            "worker_message": pb.WorkerMessage(message_id="m", everybody=True, body="x" * 66_000)
        },
        "a negative estimate": {
            "rate_request": pb.RateRequest(rate_id="r", estimate={"tokens": -1})
        },
        "a number twice ahead": {"request": claim, "sequence": 7},
        "nothing": {},
    }


@pytest.mark.parametrize("case", _malformed())
async def test_a_malformed_message_ends_its_workers_stream_alone(case: str, tmp_path: Path) -> None:
    message = _malformed()[case]
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        other, wrong = await fleet.worker("other"), await fleet.worker("wrong")
        if "sequence" in message:
            await wrong.stream.write(pb.ConnectRequest(**message))
        else:
            await wrong.say(**message)
        error = await refusal(_end(wrong.stream))
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT
        assert error.reason in ("INVALID_FIELD", "PROTOCOL")
        await fleet.add(spec("a"))
        async with asyncio.timeout(60):
            while not (await fleet.task("a")).attempts:
                await asyncio.sleep(0.02)
        await other.beat()


async def _end(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass
    raise AssertionError(await stream.details())


async def test_a_thousand_claims_at_once_are_answered_one_by_one_in_few_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []

    async def counted(self: SqliteCoordinatorStore, project: str, change: ClaimChange) -> None:
        commits.append(len(change.saved))
        await change_claims(self, project, change)

    change_claims = SqliteCoordinatorStore.change_claims
    monkeypatch.setattr(SqliteCoordinatorStore, "change_claims", counted)
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        one, two = await fleet.worker("one"), await fleet.worker("two")
        for number in range(1_000):
            path = [claims_pb2.Resource(path=f"src/d{number % 500}/**")]
            await one.say(request=claims_pb2.ClaimRequest(claim_id=f"c{number}", resources=path))
        everything = [claims_pb2.Resource(path="**")]
        granted = [(await one.hear("proceed")).claim for _ in range(1_000)]
        assert sum(commits) == 1_000
        assert len(commits) < 200
        assert len({claim.fencing_token for claim in granted}) == 1_000
        await two.say(request=claims_pb2.ClaimRequest(claim_id="all", resources=everything))
        wait = await two.hear("wait")
        assert (wait.wait.place, len(wait.wait.reasons)) == (1_000, 10)
