"""A node: some services, or all, in one process, served on one address."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import grpc.aio
import structlog
from coord.client import TokenChannel, connect
from coord.environment import SYSTEM, Environment
from prometheus_client import CollectorRegistry

from coord_runtime.addresses import check_listen
from coord_runtime.config import Sections, SectionSettings, load
from coord_runtime.local import LocalChannel
from coord_runtime.locks import FolderLock
from coord_runtime.metrics import CallMetrics, MetricsServer
from coord_runtime.pipeline import Pipeline
from coord_runtime.server import Server, Tls
from coord_runtime.service import Service, ServiceContext
from coord_runtime.tokens import Kind, Principal, TokenMint, load_key

_FREE_PORT = "127.0.0.1:0"

log = structlog.get_logger(__name__)


class NodeSettings(SectionSettings):
    """How a node is reached.

    Attributes:
        listen: Address of the services: `host:port` (0: a free one) or `unix:/path`.
        metrics: Address of the metrics; empty for none.
        tls_certificate: PEM file of the certificate chain; needed where others can reach `listen`.
        tls_key: PEM file of its private key.
        drain_s: How long a drain may take.
        stop_s: How long calls under way may take after it.
    """

    SECTION: ClassVar[str] = "node"
    listen: str = _FREE_PORT
    metrics: str = _FREE_PORT
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    drain_s: float = 30.0
    stop_s: float = 2.0


@dataclass
class NodePlan:
    """What a node is made from.

    Attributes:
        services: The services to run.
        project: The project that they serve.
        state: The project's state folder.
        peers: Addresses of the services that run elsewhere.
        mints: Of those that have a key of their own: what signs the tokens for them.
        flags: Settings that win over everything else.
        config_file: The TOML file with settings, if there is one.
        environment: Time and chance.
        address: Where to listen where the settings leave that open; empty for a free port.
        idle: Only answer: nothing of what services do by themselves is begun.
    """

    services: Sequence[type[Service]]
    project: str
    state: Path
    peers: dict[str, str] = field(default_factory=dict)
    mints: dict[str, TokenMint] = field(default_factory=dict)
    flags: Sections = field(default_factory=dict)
    config_file: Path | None = None
    environment: Environment = SYSTEM
    address: str = ""
    idle: bool = False


class Node:
    """Services that run in this process. `address` and `metrics_address` say where."""

    def __init__(self, plan: NodePlan) -> None:
        self._plan = plan
        self.settings = load(NodeSettings, plan.flags, plan.config_file)
        plan.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.mint = TokenMint(load_key(plan.state / "token.key"))
        self.registry = CollectorRegistry()
        self._pipeline = Pipeline(self.mint, CallMetrics(self.registry), plan.environment)
        self._local = LocalChannel(self._pipeline)
        self._names = {service.NAME for service in plan.services}
        self._services: list[Service] = []
        self._locks: list[FolderLock] = []
        self._channels: list[grpc.aio.Channel] = []
        self._server: Server | None = None
        self._metrics: MetricsServer | None = None

    @classmethod
    async def start(cls, plan: NodePlan) -> Self:
        """Open the services, serve them, and begin what they run.

        Raises:
            CoordError: FOLDER_LOCKED, INSECURE_ADDRESS, ADDRESS_IN_USE, INVALID_SETTING, ...;
                nothing runs then.
        """
        node = cls(plan)
        try:
            await node._start()
        except BaseException:
            await node.stop()
            raise
        return node

    @property
    def address(self) -> str:
        """Where the services are served."""
        return self._server.address if self._server else ""

    @property
    def metrics_address(self) -> str:
        """Where the metrics are served; empty where they are not."""
        return self._metrics.address if self._metrics else ""

    async def drain(self, deadline_s: float | None = None) -> None:
        """Say NOT_SERVING, and let the services end what would be lost."""
        if self._server:
            await self._server.not_serving()
        for service in self._services:
            await service.drain(self.settings.drain_s if deadline_s is None else deadline_s)

    async def stop(self) -> None:
        """Refuse new calls, then end everything, last begun first."""
        self._pipeline.draining = True
        for service in reversed(self._services):
            await service.stop()
        if self._server:
            await self._server.stop(self.settings.stop_s)
        for channel in self._channels:
            await channel.close()
        if self._metrics:
            self._metrics.stop()
        for lock in self._locks:
            lock.release()

    async def _start(self) -> None:
        for service in self._plan.services:
            opened = await service.open(self._context(service))
            self._services.append(opened)
            self._pipeline.add(opened)
        listen = self.settings.listen
        if listen == _FREE_PORT and self._plan.address:
            listen = self._plan.address
        self._server = Server(self._pipeline, listen, self._tls())
        await self._server.start()
        if self.settings.metrics:
            check_listen(self.settings.metrics, tls=False)
            self._metrics = MetricsServer(self.registry, self.settings.metrics)
        for opened in () if self._plan.idle else self._services:
            await opened.start()
        log.info("serving", services=sorted(self._names), address=self.address)

    def _context(self, service: type[Service]) -> ServiceContext:
        folder = self._plan.state / service.NAME
        self._locks.append(FolderLock(folder))
        principal = Principal(Kind.SERVICE, service.NAME, self._plan.project)
        return ServiceContext(
            name=service.NAME,
            project=self._plan.project,
            folder=folder,
            environment=self._plan.environment,
            registry=self.registry,
            channel=lambda name: self._channel(name, principal),
            flags=self._plan.flags,
            config_file=self._plan.config_file,
        )

    def _channel(self, name: str, principal: Principal) -> grpc.aio.Channel:
        token = self._plan.mints.get(name, self.mint).mint(principal)
        if name in self._names or name not in self._plan.peers:
            # A service that is nowhere answers UNIMPLEMENTED.
            return TokenChannel(self._local, token)
        channel = connect(self._plan.peers[name], token)
        self._channels.append(channel)
        return channel

    def _tls(self) -> Tls | None:
        certificate, key = self.settings.tls_certificate, self.settings.tls_key
        return Tls(certificate, key) if certificate and key else None
