"""The coordinator with its peers, and workers that speak its protocol by hand."""

import asyncio
from typing import Any

import grpc
import pytest
from coord.errors import CoordError, from_rpc
from coord.v1 import common_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord.v1.ledger_pb2_grpc import LedgerServiceStub
from coord.v1.limiter_pb2_grpc import LimiterServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_coordinator.service import CoordinatorService
from coord_ledger.service import LedgerService
from coord_limiter.service import LimiterService
from coord_queue.service import QueueService
from coord_runtime.tokens import Kind

from tests.serving import PROJECT, Served

SERVICES = (QueueService, LimiterService, LedgerService, CoordinatorService)
FLAGS: dict[str, dict[str, Any]] = {
    "coordinator": {"repository": False, "grace_s": 60.0, "renew_s": 0.1},
}
USD = "USD"


class Fleet:
    """The services, as an operator and as workers talk to them."""

    def __init__(self, running: Served) -> None:
        self.running = running
        channel = running.channel(Kind.OPERATOR, "operator")
        self.coordinator: Any = CoordinatorServiceStub(channel)
        self.ledger: Any = LedgerServiceStub(channel)
        self.limiter: Any = LimiterServiceStub(channel)
        self.queue: Any = QueueServiceStub(channel)

    async def add(self, *tasks: queue_pb2.TaskSpec) -> None:
        await self.queue.AddTasks(queue_pb2.AddTasksRequest(project=PROJECT, tasks=tasks))

    async def worker(self, name: str, **hello: Any) -> "Worker":
        stub: Any = CoordinatorServiceStub(self.running.channel(Kind.WORKER, name))
        worker = Worker(stub.Connect())
        await worker.hello(name, **hello)
        return worker

    async def back(self, worker: "Worker", name: str, **hello: Any) -> "Worker":
        """Return the worker on a new stream, in the session that it had."""
        stub: Any = CoordinatorServiceStub(self.running.channel(Kind.WORKER, name))
        again = Worker(stub.Connect())
        again.handled, again._sequence = worker.handled, worker._sequence
        session = {"session_id": worker.welcome.session_id, "confirmed": worker.acknowledged}
        await again.hello(name, **session | hello)
        return again

    async def task(self, task_id: str) -> queue_pb2.Task:
        request = queue_pb2.GetTaskRequest(project=PROJECT, task_id=task_id)
        return (await self.queue.GetTask(request)).task

    async def until(self, task_id: str, state: queue_pb2.TaskState) -> queue_pb2.Task:
        async with asyncio.timeout(60):
            call = self.queue.WatchQueueEvents(queue_pb2.WatchQueueEventsRequest(project=PROJECT))
            async for response in call:
                if any(one.task_id == task_id and one.to_state == state for one in response.events):
                    break
            call.cancel()
        return await self.task(task_id)

    async def why(self, task_id: str) -> list[str]:
        request = pb.ExplainDispatchRequest(project=PROJECT, task_id=task_id)
        return [one.code for one in (await self.coordinator.ExplainDispatch(request)).reasons]

    async def until_held(self, task_id: str, code: str) -> None:
        async with asyncio.timeout(60):
            while await self.why(task_id) != [code]:
                await asyncio.sleep(0.01)


class Worker:
    """A worker that speaks the protocol by hand."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.welcome = pb.Welcome()
        self.handled = 0
        self.acknowledged = 0
        self._sequence = 0

    async def hello(self, name: str, **hello: Any) -> None:
        said: dict[str, Any] = {
            "protocol_version": 2,
            "project": PROJECT,
            "worker": name,
            "slots": 1,
        }
        said |= {"instance": f"{name}-1"} | hello
        await self.stream.write(
            pb.ConnectRequest(acknowledged=self.handled, hello=pb.Hello(**said))
        )
        first = await self.stream.read()
        self.welcome, self.acknowledged = first.welcome, first.acknowledged

    async def say(self, **message: Any) -> int:
        self._sequence += 1
        await self.stream.write(
            pb.ConnectRequest(sequence=self._sequence, acknowledged=self.handled, **message)
        )
        return self._sequence

    async def beat(self, *held: common_pb2.AttemptRef) -> None:
        await self.stream.write(
            pb.ConnectRequest(acknowledged=self.handled, heartbeat=pb.Heartbeat(held=held))
        )

    async def hear(self, kind: str) -> Any:
        async with asyncio.timeout(60):
            while True:
                response = await self.stream.read()
                self.acknowledged = response.acknowledged
                self.handled = max(self.handled, response.sequence)
                if response.WhichOneof("message") == kind:
                    return getattr(response, kind)

    async def acknowledgement(self, number: int) -> None:
        async with asyncio.timeout(60):
            while self.acknowledged < number:
                self.acknowledged = (await self.stream.read()).acknowledged


def spec(task_id: str, *deps: str, **more: Any) -> queue_pb2.TaskSpec:
    return queue_pb2.TaskSpec(id=task_id, deps=deps, **more)


def usd(cents: int) -> common_pb2.Money:
    return common_pb2.Money(currency=USD, nanos=cents * 10**7)


def ref(assigned: pb.Assigned) -> common_pb2.AttemptRef:
    token = assigned.lease.attempt.fencing_token
    return common_pb2.AttemptRef(task_id=assigned.lease.spec.id, fencing_token=token)


async def refusal(call: Any) -> CoordError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc(caught.value)
