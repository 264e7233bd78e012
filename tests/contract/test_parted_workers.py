"""What is still known of workers that have gone, and what is not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from coord.times import SECOND
from coord.v1 import coordinator_pb2 as pb
from coord.v1 import queue_pb2
from coord_coordinator import fleet as fleets

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, Worker, ref, spec
from tests.serving import PROJECT, Clock, served

_CRASHED = queue_pb2.FAILURE_REASON_AGENT_CRASHED


@pytest.fixture
async def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    monkeypatch.setattr(fleets, "_GONE_MAX", 3)
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        yield Fleet(running)


async def _leaves(fleet: Fleet, worker: Worker, name: str) -> None:
    """End a worker's stream, and wait until it has gone."""
    await worker.stream.done_writing()
    request = pb.ListWorkersRequest(project=PROJECT)
    async with asyncio.timeout(60):
        while name in {
            one.name
            for one in (await fleet.coordinator.ListWorkers(request)).workers
            if one.lifecycle == pb.LIFECYCLE_RUNNING
        }:
            await asyncio.sleep(0.01)


async def _come_and_go(fleet: Fleet, *names: str) -> None:
    for name in names:
        await _leaves(fleet, await fleet.worker(name), name)


async def _fails(fleet: Fleet, worker: Worker, *tasks: str) -> None:
    """Have a worker fail at tasks, and another one succeed between the first and the last."""
    for task in tasks:
        await fleet.add(spec(task, required_capabilities=["bad"]))
        attempt = ref(await worker.hear("assigned"))
        failed = pb.Failed(attempt=attempt, reason=_CRASHED, message="it has crashed")
        await worker.acknowledgement(await worker.say(failed=failed))
        if task == tasks[0]:
            good = await fleet.worker("good")
            await fleet.add(spec("good"))
            attempt = ref(await good.hear("assigned"))
            await good.acknowledgement(await good.say(complete=pb.Complete(attempt=attempt)))


async def test_a_rest_holds_for_who_comes_back_and_is_forgotten_once_many_others_have_gone(
    fleet: Fleet,
) -> None:
    bad = await fleet.worker("bad", capabilities=["bad"])
    await _fails(fleet, bad, "a", "b", "c")
    await _leaves(fleet, bad, "bad")
    await _come_and_go(fleet, "x", "y")
    bad = await fleet.worker("bad", capabilities=["bad"], instance="bad-2")
    await fleet.add(spec("next", required_capabilities=["bad"]))
    await fleet.until_held("next", "BREAKER_OPEN")
    await _leaves(fleet, bad, "bad")
    await _come_and_go(fleet, "x", "y", "z")
    bad = await fleet.worker("bad", capabilities=["bad"], instance="bad-3")
    await bad.hear("assigned")


async def test_names_that_come_and_go_leave_nothing_running(fleet: Fleet) -> None:
    await _come_and_go(fleet, "x")
    before = len(asyncio.all_tasks())
    await _come_and_go(fleet, *(f"w{number}" for number in range(10)))
    async with asyncio.timeout(60):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.01)


async def test_who_is_to_show_that_it_can_work_gets_one_task_whatever_room_it_has(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with served(SERVICES, tmp_path, "grpc", clock, FLAGS) as running:
        fleet = Fleet(running)
        bad = await fleet.worker("bad", slots=2, capabilities=["bad"])
        await _fails(fleet, bad, "a", "b", "c")
        clock.pass_ns(30 * SECOND)
        await fleet.add(spec("d", required_capabilities=["bad"]))
        attempt = ref(await bad.hear("assigned"))
        await fleet.until_held("d", "READY")
        request = pb.ListWorkersRequest(project=PROJECT)
        workers = (await fleet.coordinator.ListWorkers(request)).workers
        assert [len(one.attempts) for one in workers if one.name == "bad"] == [1]
        await bad.say(complete=pb.Complete(attempt=attempt))
        for _ in range(2):
            await bad.hear("assigned")
