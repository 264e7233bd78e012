"""Kills a queue that is served alone, at random moments of full speed, and looks for its words.

python -m tests.crash.queue_campaign --kills 100
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from coord.client import connect
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_runtime.tokens import Kind, Principal, TokenMint, load_key

PROJECT = "p"
_CLIENTS = 8
_BATCH = 5
_ANSWER_S = 60


@asynccontextmanager
async def served_alone(
    state: Path,
    *,
    before: Sequence[str] = (),
    program: Sequence[str] = ("-m", "coord_queue"),
    stub: Any = QueueServiceStub,
) -> AsyncIterator[tuple[Process, Any]]:
    """Serve a service as a process of its own; yield it with a stub, and end it by SIGKILL.

    Args:
        state: The state folder.
        before: What runs the process, such as a tracer.
        program: What Python runs.
        stub: The service's stub.
    """
    command = [*before, sys.executable, *program, "--project", PROJECT, "--state", str(state)]
    process = await asyncio.create_subprocess_exec(
        *(*command, "--set", "node.metrics="),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=DEVNULL,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        address = json.loads(await process.stdout.readline())["address"]
        token = TokenMint(load_key(state / "token.key")).mint(
            Principal(Kind.OPERATOR, "operator", PROJECT)
        )
        async with connect(address, token) as channel:
            yield process, stub(channel)
    finally:
        if process.returncode is None:  # With what it traces, where it does.
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@dataclass
class Acknowledged:
    """What the queue has said.

    Attributes:
        added: Tasks that it has taken.
        leased: Fencing token of each task that it has given away.
        completed: Tasks that it has called complete.
        pairs: Task and token of every lease, for all time.
    """

    added: set[str] = field(default_factory=set)
    leased: dict[str, int] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)
    tokens: list[int] = field(default_factory=list)


class Campaign:
    """Clients at full speed, against a queue that is killed again and again."""

    def __init__(self, state: Path, seed: int) -> None:
        self._state = state
        self._chance = random.Random(seed)
        self._said = Acknowledged()
        self._made = 0

    async def run(self, kills: int) -> Acknowledged:
        """Kill the queue so many times; look at what it has said after each."""
        for _ in range(kills):
            async with served_alone(self._state) as (process, stub):
                await self._check(stub)
                clients = [asyncio.ensure_future(self._work(stub, n)) for n in range(_CLIENTS)]
                await asyncio.sleep(self._chance.uniform(0.02, 0.3))
                process.send_signal(signal.SIGKILL)
                await process.wait()
                ended = await asyncio.gather(*clients, return_exceptions=True)
                strange = [one for one in ended if not isinstance(one, grpc.aio.AioRpcError)]
                assert not strange, strange
        async with served_alone(self._state) as (_, stub):
            await self._check(stub)
        return self._said

    async def _work(self, stub: Any, number: int) -> None:
        """Add, lease and complete until the queue is gone."""
        worker = f"w{number}"
        while True:
            self._made += _BATCH
            specs = [pb.TaskSpec(id=f"t{self._made - index}") for index in range(_BATCH)]
            added = await stub.AddTasks(pb.AddTasksRequest(project=PROJECT, tasks=specs))
            self._said.added.update(added.task_ids)
            request = pb.LeaseTasksRequest(project=PROJECT, worker=worker, max_tasks=_BATCH)
            done = [pb.Completion(attempt=self._take(one)) for one in await _leases(stub, request)]
            completing = pb.CompleteTasksRequest(project=PROJECT, worker=worker, completions=done)
            for result in (await stub.CompleteTasks(completing)).results:
                assert not result.HasField("error"), result
                self._said.completed.add(result.task_id)
                del self._said.leased[result.task_id]

    def _take(self, lease: pb.Lease) -> common_pb2.AttemptRef:
        token = lease.attempt.fencing_token
        assert lease.spec.id not in self._said.completed
        assert lease.spec.id not in self._said.leased
        self._said.leased[lease.spec.id] = token
        self._said.tokens.append(token)
        return common_pb2.AttemptRef(task_id=lease.spec.id, fencing_token=token)

    async def _check(self, stub: Any) -> None:
        """Compare what the queue holds with what it has said."""
        tasks = {task.spec.id: task for task in await _listed(stub)}
        said = self._said
        assert said.added <= tasks.keys()
        assert len(set(said.tokens)) == len(said.tokens)
        for task_id in said.completed:
            assert tasks[task_id].state == pb.TASK_STATE_COMPLETE, task_id
        for task_id, token in list(said.leased.items()):
            assert tasks[task_id].attempts[-1].fencing_token == token, task_id
            if tasks[task_id].state == pb.TASK_STATE_COMPLETE:  # Its answer was lost.
                del said.leased[task_id]
                said.completed.add(task_id)


async def _leases(stub: Any, request: pb.LeaseTasksRequest) -> Sequence[pb.Lease]:
    return list((await stub.LeaseTasks(request)).leases)


async def _listed(stub: Any) -> list[pb.Task]:
    found: list[pb.Task] = []
    token = None
    while token != "":
        request = pb.ListTasksRequest(project=PROJECT, page_size=1_000, page_token=token)
        # On a busy machine the first attempt to connect takes too long.
        page = await stub.ListTasks(request, wait_for_ready=True, timeout=_ANSWER_S)
        found += page.tasks
        token = page.next_page_token
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        said = asyncio.run(Campaign(Path(folder), arguments.seed).run(arguments.kills))
    print(  # noqa: T201 - what the campaign found.
        f"{arguments.kills} kills: {len(said.added)} tasks added, {len(said.tokens)} leased,"
        f" {len(said.completed)} completed; every answer was found true"
    )


if __name__ == "__main__":
    main()
