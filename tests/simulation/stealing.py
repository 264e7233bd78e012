"""Stealing, drain, cancel, completion and crashes raced against each other: one owner always."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import coord
from coord.errors import CoordError
from coord.identity import Identity
from coord.v1 import coordinator_pb2
from coord.v1 import queue_pb2 as pb
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_runtime.peers import insist
from coord_runtime.tokens import Kind

from tests.simulation.checkers import HistoryChecker, spec_in
from tests.simulation.loop import run
from tests.simulation.machine import Machine
from tests.simulation.network import Faults
from tests.simulation.world import PROJECT, World

_TASKS, _BURST = 120, 10
_STORM_S, _CALM_S = 60.0, 300.0
_NAMES = ("w1", "w2", "w3")
_NETWORK = Faults(delay_s=0.05, drop=0.02, repeat=0.02, cut_s=10.0)
# What has lost five workers, also while it only waited at them, is FAILED.
_ENDED = {pb.TASK_STATE_CANCELLED, pb.TASK_STATE_COMPLETE, pb.TASK_STATE_FAILED}


class _Race:
    """Workers of the SDK that keep tasks in wait, and what is done to them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.queue: Any = QueueServiceStub(world.operator("queue"))
        self.coordinator: Any = CoordinatorServiceStub(world.operator("coordinator"))
        self.machines: dict[str, Machine] = {}
        self.at_work: Counter[str] = Counter()

    async def call(self, method: Any, request: Any) -> Any:
        return await insist(method, request, self.world.environment)

    def start(self, name: str) -> None:
        world, machine = self.world, Machine(name)
        identity = Identity("", world.token(Kind.WORKER, name), PROJECT, name)
        worker = coord.Worker(identity, prefetch=4, environment=world.environment)
        worker.handler(self._work)
        channel = world.network.channel("coordinator", identity.token, machine)
        self.machines[name] = machine
        machine.run(self._serve(worker, channel))

    async def _serve(self, worker: coord.Worker, channel: Any) -> None:
        try:
            await worker.serve_on(channel)
        except CoordError as error:
            self.world.network.note(f"a worker gave up: {error}")

    async def _work(self, task: coord.Task) -> str:
        self.at_work[task.id] += 1
        if self.at_work[task.id] > 1:
            self.world.network.broken.append(f"two work at {task.id}")
        try:
            await asyncio.sleep(self.world.chance.choice([0.05, 0.05, 5.0]))
        finally:
            self.at_work[task.id] -= 1
        return ""

    async def add(self) -> None:
        """Add tasks in bursts, so that workers run idle in between."""
        for first in range(0, _TASKS, _BURST):
            tasks = [pb.TaskSpec(id=f"t{first + number}") for number in range(_BURST)]
            request = pb.AddTasksRequest(
                project=PROJECT, request_id=self.world.environment.new_id(), tasks=tasks
            )
            await self.call(self.queue.AddTasks, request)
            await asyncio.sleep(_STORM_S * _BURST / _TASKS)

    async def storm(self) -> None:
        """Steal, drain, cancel, crash and change the strategy at random."""
        moves = (self._cancel, self._drain, self._crash, self._strategy, self._restart)
        while asyncio.get_running_loop().time() < _STORM_S:
            await asyncio.sleep(self.world.chance.uniform(0.2, 3))
            await self.world.chance.choice(moves)()

    async def _cancel(self) -> None:
        named = [f"t{self.world.chance.randrange(_TASKS)}"]
        request = pb.CancelTasksRequest(project=PROJECT, task_ids=named)
        await self.call(self.queue.CancelTasks, request)

    async def _drain(self) -> None:
        name = self.world.chance.choice(_NAMES)
        request = coordinator_pb2.DrainWorkersRequest(
            project=PROJECT, workers=[name], deadline={"seconds": 1}
        )
        await self.call(self.coordinator.DrainWorkers, request)
        await asyncio.sleep(self.world.chance.uniform(0, 5))
        self._begin_anew(name)

    async def _crash(self) -> None:
        self._begin_anew(self.world.chance.choice(_NAMES))

    def _begin_anew(self, name: str) -> None:
        self.machines[name].die()
        self.start(name)

    async def _strategy(self) -> None:
        chosen = self.world.chance.choice(["capability", "work_stealing", "work_stealing"])
        request = coordinator_pb2.SetStrategyRequest(project=PROJECT, strategy=chosen)
        await self.call(self.coordinator.SetStrategy, request)

    async def _restart(self) -> None:
        self.world.crash_service("coordinator")
        await asyncio.sleep(self.world.chance.uniform(0, 2))
        await self.world.start_service("coordinator")

    async def history(self) -> HistoryChecker:
        """Replay the queue's events until every task has ended."""
        checker = HistoryChecker(lambda task: spec_in(self.world.disk("queue"), task))
        call = self.queue.WatchQueueEvents(pb.WatchQueueEventsRequest(project=PROJECT))
        async with asyncio.timeout(_CALM_S):
            async for response in call:
                for event in response.events:
                    checker.take(event)
                states = checker.states.values()
                if len(states) == _TASKS and set(states) <= _ENDED:
                    break
        call.cancel()
        return checker

    async def stolen(self) -> int:
        """Return how many attempts ended since they were given to another worker."""
        request = pb.ListTasksRequest(project=PROJECT, page_size=_TASKS)
        tasks = [one.spec.id for one in (await self.call(self.queue.ListTasks, request)).tasks]
        named = [pb.GetTaskRequest(project=PROJECT, task_id=task_id) for task_id in tasks]
        found = [(await self.call(self.queue.GetTask, one)).task for one in named]
        messages = (attempt.message for task in found for attempt in task.attempts)
        return sum(message.startswith("given to worker") for message in messages)


def history(folder: Path, seed: int) -> None:
    """Run the race of one seed.

    Raises:
        AssertionError: A promise is broken.
        TimeoutError: A task has not ended.
    """
    run(_raced(folder, seed))


async def _raced(folder: Path, seed: int) -> None:
    world = World(folder, seed)
    await world.start()
    race = _Race(world)
    stealing = coordinator_pb2.SetStrategyRequest(project=PROJECT, strategy="work_stealing")
    await race.call(race.coordinator.SetStrategy, stealing)
    world.network.faults = _NETWORK
    for name in _NAMES:
        race.start(name)
    adding = asyncio.create_task(race.add())
    await race.storm()
    await adding
    world.network.faults = Faults()
    checker = await race.history()
    assert len(checker.states) == _TASKS
    failed = [one for one, state in checker.states.items() if state == pb.TASK_STATE_FAILED]
    for task_id in failed:
        request = pb.GetTaskRequest(project=PROJECT, task_id=task_id)
        task = (await race.call(race.queue.GetTask, request)).task
        assert task.reason == pb.FAILURE_REASON_WORKER_LOST
    assert not world.network.broken
    # Not every race leaves something to steal, but this one did.
    assert seed != 0 or await race.stolen() > 0
    for machine in (*race.machines.values(), *world.network.machines.values()):
        machine.die()
    world.close()
    await asyncio.sleep(1)
