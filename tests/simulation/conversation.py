"""Workers that talk with a coordinator through a bad network, while it crashes: seeded histories.

python -m tests.simulation.conversation --schedules 10000
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from coord.environment import Environment
from coord.v1 import coordinator_pb2 as pb
from coord.v1 import queue_pb2
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_runtime.event_log import events_after
from coord_runtime.peers import insist

from tests.simulation.checkers import ClaimChecker, HistoryChecker, spec_in
from tests.simulation.loop import run
from tests.simulation.machine import Machine
from tests.simulation.network import Faults
from tests.simulation.talker import Talk, Talker
from tests.simulation.world import PROJECT, World

E = TypeVar("E", queue_pb2.QueueEvent, pb.CoordinatorEvent)

_WORKERS = ("w1", "w2", "w3")
_TASKS, _LETTERS, _CLAIMS = 8, 5, 3
_STORM_S = 40.0
_CALM_S = 300.0
_LOOKS = 300


def history(folder: Path, seed: int) -> None:
    """Run one history; raise AssertionError where something that must hold does not."""
    run(_history(folder, seed))


async def _history(folder: Path, seed: int) -> None:
    world = World(folder, seed)
    await world.start()
    world.network.faults = _weather(world)
    talk = Talk()
    talkers = {name: _talker(world, name, talk) for name in _WORKERS}
    sessions = [Machine(name).run(one.run()) for name, one in talkers.items()]
    queue: Any = QueueServiceStub(world.operator("queue"))
    await begin(queue, PROJECT, talkers, world.environment)
    await _crash_coordinator(world)
    world.network.faults = Faults()
    await finish(queue, PROJECT, talkers, talk, _CALM_S)
    async with asyncio.timeout(_CALM_S):
        await asyncio.gather(*sessions)
    assert world.network.broken == []
    check(folder, PROJECT, talk)
    world.close()
    await asyncio.sleep(1)


def _weather(world: World) -> Faults:
    """Return one of the ways in which a network between workers and coordinator is bad."""
    chance = world.chance
    return Faults(
        delay_s=chance.choice([0.0, 0.05, 1.0]),
        cut_s=chance.choice([0.0, 2.0, 10.0]),
        dead=chance.choice([0.0, 0.3]),
        stall_s=chance.choice([0.0, 10.0]),
    )


def _talker(world: World, name: str, talk: Talk) -> Talker:
    channel = world.worker_channel(name, Machine(name))
    environment, chance = world.environment, world.chance
    return Talker(name, channel, environment, chance, talk, project=PROJECT, pace_s=2.0)


async def _crash_coordinator(world: World) -> None:
    while asyncio.get_running_loop().time() < _STORM_S:
        await asyncio.sleep(world.chance.uniform(2, 30))
        world.crash_service("coordinator")
        await asyncio.sleep(world.chance.choice([0.0, 1.0, 12.0]))
        await world.start_service("coordinator")


async def begin(
    queue: Any, project: str, talkers: Mapping[str, Talker], environment: Environment
) -> None:
    """Give the workers tasks, and something to talk about."""
    specs = [queue_pb2.TaskSpec(id=f"t{number}") for number in range(_TASKS)]
    request = queue_pb2.AddTasksRequest(project=project, request_id="add", tasks=specs)
    await insist(queue.AddTasks, request, environment)
    for talker in talkers.values():
        talker.begin(list(talkers), letters=_LETTERS, claims=_CLAIMS)


async def finish(
    queue: Any, project: str, talkers: Mapping[str, Talker], talk: Talk, limit_s: float
) -> None:
    """Wait until everything is done and has arrived; let the workers leave."""
    deadline_s = asyncio.get_running_loop().time() + limit_s
    request = queue_pb2.GetQueueStatsRequest(project=project)
    while True:
        stats = await queue.GetQueueStats(request)
        left = [*talk.missing, *(what for talker in talkers.values() for what in talker.busy)]
        if stats.ended == _TASKS and not left:
            break
        now_s = asyncio.get_running_loop().time()
        assert now_s < deadline_s, f"stuck: {stats.ended} of {_TASKS} tasks ended, {left}"
        await asyncio.sleep(limit_s / _LOOKS)
    for talker in talkers.values():
        talker.leave()


def check(state: Path, project: str, talk: Talk) -> None:
    """Look through all that has happened for what must not."""
    assert not talk.repeated, f"handled twice: {talk.repeated}"
    with closing(sqlite3.connect(state / "queue" / "queue.db")) as sql:
        checker = HistoryChecker(partial(spec_in, sql))
        for event in _events(sql, project, queue_pb2.QueueEvent):
            checker.take(event)
    assert len(checker.completed) == _TASKS, "every task is completed, once"
    with closing(sqlite3.connect(state / "coordinator" / "coordinator.db")) as sql:
        claims = ClaimChecker()
        for told in _events(sql, project, pb.CoordinatorEvent):
            claims.take(told.claim)


def _events(sql: sqlite3.Connection, project: str, event_class: type[E]) -> Iterator[E]:
    after = 0
    while page := events_after(sql, project, after, event_class):
        yield from page
        after += len(page)
