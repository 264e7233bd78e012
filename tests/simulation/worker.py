"""Simulated workers: one with the real session, one that leases by itself and oversleeps."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc.aio
from coord.environment import Environment
from coord.errors import CoordError
from coord.session import WorkerSession
from coord.v1 import common_pb2, coordinator_pb2, queue_pb2
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_runtime.peers import insist

from tests.simulation.machine import Machine
from tests.simulation.network import Network

SLEEPY = "sleepy"


class SimulatedWorker:
    """Works at what it is given; fails now and then.

    Attributes:
        machine: Dies with all that the worker does.
    """

    def __init__(
        self,
        name: str,
        machine: Machine,
        channel: grpc.aio.Channel,
        environment: Environment,
        network: Network,
        is_live: Callable[[common_pb2.AttemptRef], bool],
    ) -> None:
        self.machine = machine
        self._is_live = is_live
        self._name = name
        self._channel = channel
        self._environment = environment
        self._network = network
        self._held: dict[int, common_pb2.AttemptRef] = {}
        self._work: dict[int, asyncio.Task[Any]] = {}
        self._session: WorkerSession | None = None

    def start(self) -> None:
        """Connect, and work until the machine dies."""
        self.machine.run(self._run())

    async def _run(self) -> None:
        hello = coordinator_pb2.Hello(
            project="sim",
            worker=self._name,
            instance=self._environment.new_id("instance-"),
            slots=1,
        )
        self._session = WorkerSession(
            self._channel,
            hello,
            self._on_message,
            lambda: list(self._held.values()),
            environment=self._environment,
        )
        try:
            await self._session.run()
        except CoordError as error:
            self._network.note(f"{self._name} gave up: {error}")

    def _on_message(self, response: coordinator_pb2.ConnectResponse) -> None:
        kind = response.WhichOneof("message")
        if kind == "assigned":
            lease = response.assigned.lease
            ref = common_pb2.AttemptRef(
                task_id=lease.spec.id, fencing_token=lease.attempt.fencing_token
            )
            self._held[ref.fencing_token] = ref
            self._work[ref.fencing_token] = asyncio.create_task(self._attempt(ref))
        elif kind in ("revoke", "cancel"):
            token = getattr(response, kind).attempt.fencing_token
            self._held.pop(token, None)
            work = self._work.pop(token, None)
            if work is not None:
                work.cancel()

    async def _attempt(self, ref: common_pb2.AttemptRef) -> None:
        assert self._session is not None
        self._network.note(f"{self._name} begins {ref.task_id}@{ref.fencing_token}")
        self._session.send(coordinator_pb2.Started(attempt=ref))
        await asyncio.sleep(self._environment.random.uniform(0.1, 5.0))
        if self._environment.random.random() < 0.1:
            failed = coordinator_pb2.Failed(
                attempt=ref, reason=queue_pb2.FAILURE_REASON_RATE_LIMITED, message="by chance"
            )
            await self._session.send(failed)
        else:
            await self._session.send(coordinator_pb2.Complete(attempt=ref))
            if self._is_live(ref):
                self._network.broken.append(f"{ref.task_id} was acknowledged before it was on disk")
        self._held.pop(ref.fencing_token, None)
        self._work.pop(ref.fencing_token, None)


class SleepyWorker:
    """Leases tasks directly, never renews, and often wakes after its lease has expired.

    Attributes:
        done: Fencing tokens of the completions that were accepted, by task.
        machine: Dies with all that the worker does.
    """

    def __init__(
        self, name: str, machine: Machine, channel: grpc.aio.Channel, environment: Environment
    ) -> None:
        self.machine = machine
        self.done: dict[str, int] = {}
        self._name = name
        self._queue = QueueServiceStub(channel)
        self._environment = environment

    def start(self) -> None:
        """Work until the machine dies."""
        # Two at once under one name: not even its own later attempt may be acted for.
        self.machine.run(self._work())
        self.machine.run(self._work())

    async def _work(self) -> None:
        while True:
            request = queue_pb2.LeaseTasksRequest(
                project="sim",
                request_id=self._environment.new_id(),
                worker=self._name,
                max_tasks=2,
                wait={"seconds": 5},
            )
            response = await insist(self._queue.LeaseTasks, request, self._environment)
            await asyncio.sleep(self._environment.random.uniform(1, 60))
            for lease in response.leases:
                await self._complete(lease)

    async def _complete(self, lease: queue_pb2.Lease) -> None:
        ref = common_pb2.AttemptRef(
            task_id=lease.spec.id, fencing_token=lease.attempt.fencing_token
        )
        request = queue_pb2.CompleteTasksRequest(
            project="sim", worker=self._name, completions=[queue_pb2.Completion(attempt=ref)]
        )
        response = await insist(self._queue.CompleteTasks, request, self._environment)
        if not response.results[0].HasField("error"):
            self.done[ref.task_id] = ref.fencing_token
