"""A simulated worker: the real session, simulated work."""

import asyncio
from typing import Any

import grpc.aio
from coord.environment import Environment
from coord.errors import CoordError
from coord.session import WorkerSession
from coord.v1 import common_pb2, coordinator_pb2, queue_pb2

from tests.simulation.network import Machine, Network


class SimulatedWorker:
    """Works at what it is given; fails now and then.

    Attributes:
        machine: Dies with all that the worker does.
        acknowledged: The attempts whose Complete was acknowledged.
    """

    def __init__(
        self,
        name: str,
        machine: Machine,
        channel: grpc.aio.Channel,
        environment: Environment,
        network: Network,
    ) -> None:
        self.machine = machine
        self.acknowledged: list[tuple[str, int]] = []
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
            self.acknowledged.append((ref.task_id, ref.fencing_token))
        self._held.pop(ref.fencing_token, None)
        self._work.pop(ref.fencing_token, None)
