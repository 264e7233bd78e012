"""Serves services on a folder, over gRPC and in process, with clocks that tests move."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import grpc.aio
from coord.client import TokenChannel, connect
from coord.environment import SYSTEM, Environment
from coord_runtime.config import Sections
from coord_runtime.node import Node, NodePlan
from coord_runtime.service import Service
from coord_runtime.tokens import Kind, Principal

PROJECT = "p"
WAYS = ("grpc", "in process")


@dataclass
class Clock:
    """Both clocks, moved by hand, in nanoseconds."""

    wall_ns: int = 1_800_000_000 * 10**9
    monotonic_ns: int = 10**12
    random: Random = field(default_factory=lambda: Random(7))

    def pass_ns(self, ns: int) -> None:
        self.wall_ns += ns
        self.monotonic_ns += ns

    def environment(self) -> Environment:
        return Environment(lambda: self.wall_ns, lambda: self.monotonic_ns, self.random)


@dataclass
class Served:
    """Services that run.

    Attributes:
        node: The node that serves them.
        way: How they are called: one of `WAYS`.
        channels: The channels that were opened.
    """

    node: Node
    way: str
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def channel(self, kind: Kind = Kind.SERVICE, name: str = "tester") -> grpc.aio.Channel:
        token = self.node.mint.mint(Principal(kind, name, PROJECT))
        if self.way == "in process":
            return TokenChannel(self.node._local, token)
        channel = connect(self.node.address, token)
        self.channels.append(channel)
        return channel


@asynccontextmanager
async def served(
    services: type[Service] | Sequence[type[Service]],
    state: Path,
    way: str,
    clock: Clock | None = None,
    flags: Sections | None = None,
) -> AsyncIterator[Served]:
    # Without metrics: their server takes half a second to stop.
    settings: Sections = {"node": {"metrics": ""}} | (flags or {})
    chosen = [services] if isinstance(services, type) else services
    plan = NodePlan(chosen, PROJECT, state, flags=settings)
    plan.environment = clock.environment() if clock else SYSTEM
    node = await Node.start(plan)
    running = Served(node, way)
    try:
        yield running
    finally:
        for channel in running.channels:
            await channel.close()
        await node.stop()
