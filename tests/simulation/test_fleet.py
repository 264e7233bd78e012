"""Queue, coordinator, limiter, ledger and three workers through faults: seeded histories."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from coord.v1 import queue_pb2 as pb
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_runtime.peers import insist

from tests.simulation.checkers import HistoryChecker, spec_in
from tests.simulation.loop import run
from tests.simulation.network import Faults
from tests.simulation.world import BAD_NETWORK, PROJECT, World

_TASKS = 60
_STORM_S = 120.0
_CALM_S = 600.0
_WORKERS = ("w1", "w2", "w3")


async def _add_tasks(world: World) -> list[str]:
    """Add a random graph; return the ids that were acknowledged."""
    added: list[str] = []
    queue: Any = QueueServiceStub(world.operator("queue"))
    while len(added) < _TASKS:
        specs: list[pb.TaskSpec] = []
        for number in range(len(added), len(added) + 4):
            known = [*added, *(spec.id for spec in specs)]
            deps = world.chance.sample(known, k=min(len(known), world.chance.randrange(3)))
            specs.append(pb.TaskSpec(id=f"t{number}", deps=deps))
        request = pb.AddTasksRequest(
            project=PROJECT, request_id=world.environment.new_id(), tasks=specs
        )
        response = await insist(queue.AddTasks, request, world.environment)
        added += response.task_ids
        await asyncio.sleep(world.chance.uniform(0, 5))
    return added


async def _torment(world: World, until_s: float) -> None:
    """Crash services and workers at random, and start them again."""
    while asyncio.get_running_loop().time() < until_s:
        await asyncio.sleep(world.chance.uniform(1, 15))
        victim = world.chance.choice(["queue", "coordinator", "ledger", "limiter", *_WORKERS])
        if victim in _WORKERS:
            world.crash_worker(victim)
            await asyncio.sleep(world.chance.uniform(0, 12))
            world.start_worker(victim)
        else:
            world.crash_service(victim)
            await asyncio.sleep(world.chance.uniform(0, 12))
            await world.start_service(victim)


async def _finish(world: World) -> HistoryChecker:
    """Wait until every task is done; check the whole history."""
    queue: Any = QueueServiceStub(world.operator("queue"))
    deadline_s = asyncio.get_running_loop().time() + _CALM_S
    while True:
        stats = await insist(
            queue.GetQueueStats, pb.GetQueueStatsRequest(project=PROJECT), world.environment
        )
        if stats.ended == _TASKS:
            break
        assert asyncio.get_running_loop().time() < deadline_s, f"stuck: {stats}"
        await asyncio.sleep(1)
    return await _replay(world, queue)


async def _replay(world: World, queue: Any) -> HistoryChecker:
    checker = HistoryChecker(lambda task: spec_in(world.disk("queue"), task))
    call = queue.WatchQueueEvents(pb.WatchQueueEventsRequest(project=PROJECT))
    async for response in call:
        for event in response.events:
            checker.take(event)
        if (
            all(state == pb.TASK_STATE_COMPLETE for state in checker.states.values())
            and len(checker.states) == _TASKS
        ):
            break
    call.cancel()
    return checker


async def _history(folder: Path, seed: int) -> str:
    """Run one history; return the hash of its trace."""
    world = World(folder, seed)
    await world.start()
    world.network.faults = BAD_NETWORK
    for name in _WORKERS:
        world.start_worker(name)
    sleepy = world.start_sleepy_worker("sleepy")
    adding = asyncio.ensure_future(_add_tasks(world))
    await _torment(world, _STORM_S)
    world.network.faults = Faults()
    added = await adding
    checker = await _finish(world)
    assert set(checker.states) == set(added), "nothing acknowledged is lost"
    assert world.network.broken == []
    for task_id, token in sleepy.done.items():
        assert checker.completed[task_id] == token, "only the live attempt has an effect"
    world.close()
    for name in _WORKERS:
        world.crash_worker(name)
    await asyncio.sleep(1)
    return world.network.trace.digest()


@pytest.mark.parametrize("seed", range(8))
def test_with_faults_off_everything_finishes_once_and_nothing_is_lost(
    tmp_path: Path, seed: int
) -> None:
    run(_history(tmp_path, seed))


def test_one_seed_gives_one_history(tmp_path: Path) -> None:
    hashes = set()
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        hashes.add(run(_history(folder, 4711)))
    assert len(hashes) == 1
