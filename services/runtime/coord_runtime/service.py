"""What every service is: its name, its contract, its handlers and its life."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import grpc.aio
from coord.environment import Environment
from google.protobuf.descriptor import ServiceDescriptor
from prometheus_client import CollectorRegistry

from coord_runtime.config import Sections, SectionSettings, load
from coord_runtime.database import Database, Options

S = TypeVar("S", bound=SectionSettings)


@dataclass
class ServiceContext:
    """What a host gives to a service.

    Attributes:
        name: The service's name.
        project: The project of the host. Requests may name another one only where a service serves
            several.
        folder: The service's own state folder; it is there and locked.
        environment: Time and chance.
        registry: Where the service's metrics go.
        channel: Opens a channel to a service by name, with this service's token.
        flags: Settings that win over everything else.
        config_file: The TOML file with settings, if there is one.
        inline_stores: Run the stores' writers on the event loop, as simulations do.
    """

    name: str
    project: str
    folder: Path
    environment: Environment
    registry: CollectorRegistry
    channel: Callable[[str], grpc.aio.Channel]
    flags: Sections = field(default_factory=dict)
    config_file: Path | None = None
    inline_stores: bool = False

    def settings(self, settings: type[S]) -> S:
        """Return the service's settings."""
        return load(settings, self.flags, self.config_file)

    async def open_database(self, migrations: Sequence[str]) -> Database:
        """Open the service's database, creating or migrating it."""
        options = Options(self.environment, inline=self.inline_stores, migrations=migrations)
        return Database(self.folder / f"{self.name}.db", options)


class Service:
    """A service. It has one handler for each RPC, named in snake_case.

    A handler takes `(request, call)` and answers or raises `CoordError`. For a stream of answers it
    is an async generator; for streams both ways it takes `(stream, call)`.
    """

    NAME: ClassVar[str]
    DESCRIPTOR: ClassVar[ServiceDescriptor]
    # What a worker's token may call. Operator and services may call everything.
    WORKER_METHODS: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    async def open(cls, context: ServiceContext) -> Self:
        """Open the service on its folder."""
        raise NotImplementedError

    async def start(self) -> None:
        """Begin what runs beside the calls."""

    async def drain(self, deadline_s: float) -> None:
        """Bring to an end what would be lost, in at most `deadline_s`; take nothing new."""

    async def stop(self) -> None:
        """End what runs beside the calls, and close the store."""
