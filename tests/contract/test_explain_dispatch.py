"""Who could run a task, and why nobody does."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from coord.errors import unavailable
from coord.times import SECOND
from coord.v1 import claims_pb2, limiter_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_coordinator import service
from coord_queue.service import QueueService

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, ref, spec
from tests.serving import PROJECT, served


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        yield Fleet(running)


async def _explained(fleet: Fleet, task_id: str) -> pb.ExplainDispatchResponse:
    request = pb.ExplainDispatchRequest(project=PROJECT, task_id=task_id)
    return await fleet.coordinator.ExplainDispatch(request)


async def test_every_worker_is_told_with_why_it_does_not_fit(fleet: Fleet) -> None:
    busy = await fleet.worker("busy", capabilities=["gpu"])
    await fleet.add(spec("first", required_capabilities=["gpu"]))
    await busy.hear("assigned")
    await fleet.worker("lacks")
    await fleet.worker("other", capabilities=["gpu"], runs=["its-own"])
    draining = await fleet.worker("draining", capabilities=["gpu"])
    await fleet.coordinator.DrainWorkers(
        pb.DrainWorkersRequest(project=PROJECT, workers=["draining"], message="for repairs")
    )
    await draining.hear("drain")
    await fleet.add(spec("second", required_capabilities=["gpu"], labels={"run": "another"}))
    explained = await _explained(fleet, "second")
    assert explained.strategy == "capability"
    assert {one.worker: one.reason.code for one in explained.candidates} == {
        "busy": "BUSY",
        "draining": "DRAINED",
        "lacks": "MISSING_CAPABILITY",
        "other": "OTHER_RUN",
    }
    messages = {one.worker: one.reason.message for one in explained.candidates}
    assert messages["busy"] == "is busy with first"
    assert messages["draining"] == "for repairs"
    assert not any(one.eligible for one in explained.candidates)


async def test_a_task_that_waits_for_no_worker_has_no_candidates(fleet: Fleet) -> None:
    worker = await fleet.worker("w")
    await fleet.add(spec("begun"), spec("waits", "begun"))
    await worker.hear("assigned")
    assert not (await _explained(fleet, "begun")).candidates
    assert not (await _explained(fleet, "waits")).candidates


async def test_a_claim_holds_back_workers_that_have_room_the_keenest_first(fleet: Fleet) -> None:
    asked = claims_pb2.ClaimRequest(claim_id="c", resources=[claims_pb2.Resource(path="src/**")])
    await fleet.coordinator.AcquireClaims(
        claims_pb2.AcquireClaimsRequest(project=PROJECT, holder="shell", requests=[asked])
    )
    await fleet.worker("able", slots=2)
    await fleet.worker("keen", slots=2, preferences={"testing": 0.5})
    await fleet.add(spec("claimed", category="testing", paths=["src/a.py"]))
    await fleet.until_held("claimed", "CLAIMED")
    candidates = (await _explained(fleet, "claimed")).candidates
    assert [(one.worker, one.reason.code) for one in candidates] == [
        ("keen", "CLAIMED"),
        ("able", "CLAIMED"),
    ]
    assert candidates[0].score > candidates[1].score


async def test_what_holds_the_task_back_holds_for_workers_that_have_room(fleet: Fleet) -> None:
    requests = limiter_pb2.RateLimit(per_minute=1, burst=1)
    await fleet.limiter.ConfigureBucket(
        limiter_pb2.ConfigureBucketRequest(
            project=PROJECT, name="key", limits=limiter_pb2.BucketLimits(requests=requests)
        )
    )
    worker = await fleet.worker("w", slots=2, buckets=["key"])
    await fleet.add(spec("a"), spec("b"))
    await worker.hear("assigned")
    await fleet.until_held("b", "RATE_LIMITED")
    (candidate,) = (await _explained(fleet, "b")).candidates
    assert (candidate.eligible, candidate.reason.code) == (False, "RATE_LIMITED")


async def test_who_has_reported_the_end_is_not_at_work_though_the_start_cannot_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full: list[str] = []
    start = QueueService.start_tasks

    async def start_if_there_is_room(self: QueueService, request: Any, call: Any) -> Any:
        if full:
            raise unavailable("STORE_FAILED", full[0], retry_after_ns=SECOND)
        return await start(self, request, call)

    monkeypatch.setattr(QueueService, "start_tasks", start_if_there_is_room)
    monkeypatch.setattr(service, "full_disk", lambda *_: "".join(full))
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        worker = await fleet.worker("w")
        await fleet.add(spec("a"))
        attempt = ref(await worker.hear("assigned"))
        full.append("no room")
        await worker.say(started=pb.Started(attempt=attempt))
        assert "DISK_FULL" not in await fleet.why("a")
        await worker.say(complete=pb.Complete(attempt=attempt))
        async with asyncio.timeout(60):
            while (await fleet.why("a"))[:1] != ["DISK_FULL"]:
                await asyncio.sleep(0.01)
        full.clear()
        await fleet.until("a", queue_pb2.TASK_STATE_COMPLETE)
