"""Real workers and a real coordinator: broken connections, and a coordinator that is killed."""

import asyncio
import json
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from coord.session import WorkerSession
from coord.v1 import common_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_ledger.service import LedgerService
from coord_limiter.service import LimiterService
from coord_queue.service import QueueService
from coord_runtime.tokens import Kind, Principal

from tests.crash.conversation_campaign import histories, own_channel
from tests.serving import PROJECT, Served, served

_WORKERS = 200
_AWAY_S = 2.0
_BACK_S_MAX = 3.0


async def test_broken_connections_lose_repeat_and_block_nothing() -> None:
    assert await histories(0, 4) == []


class Holder:
    """A worker that holds what it is given until it is told to complete it."""

    def __init__(self, channel: Any, name: str) -> None:
        self.attempts: list[common_pb2.AttemptRef] = []
        self.stopped: list[str] = []
        hello = pb.Hello(project=PROJECT, worker=name, instance=f"{name}-1", slots=1)
        self.session = WorkerSession(channel, hello, self._hear, lambda: self.attempts)

    def _hear(self, response: pb.ConnectResponse) -> None:
        kind = str(response.WhichOneof("message"))
        if kind == "assigned":
            lease = response.assigned.lease
            token = lease.attempt.fencing_token
            ref = common_pb2.AttemptRef(task_id=lease.spec.id, fencing_token=token)
            self.attempts.append(ref)
            self.session.send(pb.Started(attempt=ref))
        elif kind in ("cancel", "revoke"):
            self.stopped.append(kind)


@asynccontextmanager
async def coordinator(peers: Served, state: Path, listen: str) -> AsyncIterator[str]:
    """Serve the coordinator as a process of its own; yield its address, and end it by SIGKILL."""
    settings = (f"node.listen={listen}", "node.metrics=", "coordinator.repository=false")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "coord_coordinator"),
        *("--project", PROJECT, "--state", str(state)),
        *(f"--peer={name}={peers.node.address}" for name in ("queue", "limiter", "ledger")),
        *(f"--set={setting}" for setting in settings),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=DEVNULL,
    )
    try:
        assert process.stdout is not None
        yield json.loads(await process.stdout.readline())["address"]
    finally:
        process.kill()
        await process.wait()


async def _running(queue: Any) -> int:
    stats = await queue.GetQueueStats(queue_pb2.GetQueueStatsRequest(project=PROJECT))
    running = queue_pb2.TASK_STATE_RUNNING
    return sum(one.count for one in stats.counts if one.state == running)


async def _until_connected(stub: Any, count: int) -> None:
    request = pb.ListWorkersRequest(project=PROJECT)
    async with asyncio.timeout(30):
        while sum(one.connected for one in (await stub.ListWorkers(request)).workers) < count:
            await asyncio.sleep(0.02)


@pytest.mark.timeout(120)
async def test_two_hundred_workers_are_back_soon_after_a_kill_and_go_on(tmp_path: Path) -> None:
    services = (QueueService, LimiterService, LedgerService)
    async with served(services, tmp_path, "grpc") as peers, AsyncExitStack() as stack:
        mint = peers.node.mint
        queue: Any = QueueServiceStub(peers.channel(Kind.OPERATOR, "operator"))
        specs = [queue_pb2.TaskSpec(id=f"t{number}") for number in range(_WORKERS)]
        await queue.AddTasks(queue_pb2.AddTasksRequest(project=PROJECT, tasks=specs))
        async with coordinator(peers, tmp_path, "127.0.0.1:0") as address:
            holders = []
            for number in range(_WORKERS):
                token = mint.mint(Principal(Kind.WORKER, f"w{number}", PROJECT))
                channel = await stack.enter_async_context(own_channel(address, token, {}))
                holders.append(Holder(channel, f"w{number}"))
            begin_s = time.monotonic()
            sessions = [asyncio.create_task(one.session.run()) for one in holders]
            async with asyncio.timeout(60):
                while await _running(queue) < _WORKERS:
                    await asyncio.sleep(0.05)
            first_s = time.monotonic() - begin_s
        await asyncio.sleep(_AWAY_S)
        async with coordinator(peers, tmp_path, address):
            begin_s = time.monotonic()
            token = mint.mint(Principal(Kind.OPERATOR, "operator", PROJECT))
            channel = await stack.enter_async_context(own_channel(address, token, {}))
            await _until_connected(CoordinatorServiceStub(channel), _WORKERS)
            back_s = time.monotonic() - begin_s
            for one in holders:
                (attempt,) = one.attempts
                one.session.send(pb.Complete(attempt=attempt))
                one.session.leave()
            async with asyncio.timeout(30):
                await asyncio.gather(*sessions)
        # On a busy machine all takes longer; to come at first takes less than half of that at rest.
        assert back_s < max(_BACK_S_MAX, 2 * first_s), f"{back_s:.2f} s, at first {first_s:.2f} s"
        assert [one.stopped for one in holders] == [[]] * _WORKERS
        for number in range(_WORKERS):
            request = queue_pb2.GetTaskRequest(project=PROJECT, task_id=f"t{number}")
            task = (await queue.GetTask(request)).task
            assert task.state == queue_pb2.TASK_STATE_COMPLETE
            assert len(task.attempts) == 1, "what is alive is not given to another"
