"""The network between machines that die."""

import asyncio
from pathlib import Path
from typing import Any

from coord.v1 import queue_pb2 as pb
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_runtime.tokens import Kind

from tests.simulation.loop import run
from tests.simulation.machine import Machine
from tests.simulation.world import PROJECT, World


async def _die_in_a_call(folder: Path, *, also_the_caller: bool) -> "asyncio.Task[Any]":
    world = World(folder, 1, commit_s=1.0)
    await world.start()
    caller = Machine("caller")
    channel = world.network.channel("queue", world.token(Kind.OPERATOR, "op"), caller)
    queue: Any = QueueServiceStub(channel)
    request = pb.AddTasksRequest(project=PROJECT, request_id="r", tasks=[pb.TaskSpec(id="t")])
    calling = caller.run(queue.AddTasks(request))
    await asyncio.sleep(1e-6)
    world.crash_service("queue")
    if also_the_caller:
        caller.die()
    await asyncio.wait([calling])
    world.close()
    return calling


def test_who_calls_a_service_that_dies_is_told(tmp_path: Path) -> None:
    error: Any = run(_die_in_a_call(tmp_path, also_the_caller=False)).exception()
    assert error.details() == "queue died"


def test_who_dies_together_with_the_service_it_calls_does_not_live_on(tmp_path: Path) -> None:
    assert run(_die_in_a_call(tmp_path, also_the_caller=True)).cancelled()
