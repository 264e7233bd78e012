"""A coordinator that shuts down: it takes on nothing new, and lets its workers finish."""

import asyncio
from pathlib import Path

import grpc
import pytest
from coord.v1 import coordinator_pb2 as pb
from coord.v1 import queue_pb2
from coord_coordinator import service

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, ref, refusal, spec
from tests.serving import PROJECT, served


async def test_while_it_drains_workers_finish_and_come_back_but_nothing_new_begins(
    tmp_path: Path,
) -> None:
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        worker = await fleet.worker("w", slots=2)
        await fleet.add(spec("a"))
        attempt = ref(await worker.hear("assigned"))
        draining = asyncio.create_task(running.node.drain(30.0))
        assert (await worker.hear("drain")).reason.code == "DRAINED"
        await fleet.add(spec("b"))
        assert await fleet.why("b") == ["COORDINATOR_DRAINING"]
        status = await fleet.coordinator.GetStatus(pb.GetStatusRequest(project=PROJECT))
        assert status.lifecycle == pb.LIFECYCLE_DRAINING
        error = await refusal(fleet.worker("new"))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        worker.stream.cancel()
        worker = await fleet.back(worker, "w", slots=2, held=[attempt])
        assert worker.welcome.resumed
        await worker.acknowledgement(await worker.say(complete=pb.Complete(attempt=attempt)))
        await worker.stream.done_writing()
        await asyncio.wait_for(draining, 60)
        tasks = [await fleet.task(name) for name in "ab"]
    assert tasks[0].state == queue_pb2.TASK_STATE_COMPLETE
    assert (tasks[1].state, len(tasks[1].attempts)) == (queue_pb2.TASK_STATE_PENDING, 0)


async def test_a_drain_ends_with_its_deadline_whatever_its_workers_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_LAST_REPORTS_S", 0.1)
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        worker = await fleet.worker("w")
        await fleet.add(spec("a"))
        await worker.hear("assigned")
        drain = asyncio.create_task(running.node.drain(0.1))
        assert (await worker.hear("drain")).deadline.ToNanoseconds() == 100_000_000
        await asyncio.wait_for(drain, 60)
        assert (await fleet.task("a")).state == queue_pb2.TASK_STATE_ASSIGNED
