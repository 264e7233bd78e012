"""The other services, as the coordinator calls them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc.aio
from coord.environment import Environment
from coord.v1 import common_pb2, integrator_pb2
from coord.v1.integrator_pb2_grpc import IntegratorServiceStub
from coord.v1.ledger_pb2_grpc import LedgerServiceStub
from coord.v1.limiter_pb2_grpc import LimiterServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_runtime.peers import ask, follow, insist

T = TypeVar("T")


class Services:
    """Stubs of the services that the coordinator composes."""

    def __init__(
        self, channel: Callable[[str], grpc.aio.Channel], environment: Environment
    ) -> None:
        self.integrator = IntegratorServiceStub(channel("integrator"))
        self.ledger = LedgerServiceStub(channel("ledger"))
        self.limiter = LimiterServiceStub(channel("limiter"))
        self.queue = QueueServiceStub(channel("queue"))
        self.environment = environment

    async def ask(self, call: Callable[..., Awaitable[T]], request: Any) -> T:
        """Call once; raise CoordError."""
        return await ask(call, request)

    async def full_repository(self, project: str) -> common_pb2.Reason | None:
        """Return that the disk of the repository is full; None where there is room."""
        request = integrator_pb2.ListChangesRequest(project=project, page_size=1)
        paused = (await self.ask(self.integrator.ListChanges, request)).merge_queue.paused
        return paused if paused.code == "DISK_FULL" else None

    def follow(self, watch: Callable[..., Any], request: Any) -> AsyncIterator[Any]:
        """Yield another service's events for ever, also across its restarts."""
        return follow(watch, request, self.environment)

    async def insist(self, call: Callable[..., Awaitable[T]], request: Any) -> T:
        """Call until there is an answer; raise CoordError for any but that the service is away."""
        return await insist(call, request, self.environment)
