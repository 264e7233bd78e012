"""A simulated world: real services on inline stores, simulated workers, and what goes wrong."""

import asyncio
import sqlite3
from pathlib import Path
from random import Random
from typing import Any

import grpc.aio
from coord.environment import Environment
from coord.times import SECOND
from coord.v1 import common_pb2
from coord_coordinator.service import CoordinatorService
from coord_ledger.service import LedgerService
from coord_limiter.service import LimiterService
from coord_queue.service import QueueService
from coord_runtime.local import LocalChannel
from coord_runtime.metrics import CallMetrics
from coord_runtime.pipeline import Pipeline
from coord_runtime.service import Service
from coord_runtime.tokens import Kind, Principal, TokenMint
from prometheus_client import CollectorRegistry

from tests.simulation.disk import SimulatedContext
from tests.simulation.git import Repository
from tests.simulation.integrator import SimulatedIntegrator
from tests.simulation.loop import VirtualTimeLoop
from tests.simulation.machine import Machine, parked, task_factory
from tests.simulation.network import Faults, Network
from tests.simulation.worker import SimulatedWorker, SleepyWorker

PROJECT = "sim"
_BEGIN_NS = 1_800_000_000 * SECOND
_SERVICES: dict[str, type[Service]] = {
    service.NAME: service
    for service in (
        QueueService,
        LimiterService,
        LedgerService,
        SimulatedIntegrator,
        CoordinatorService,
    )
}
BAD_NETWORK = Faults(delay_s=0.05, drop=0.02, repeat=0.02, cut_s=20.0)


class World:
    """One seed, one history.

    Args:
        folder: For the disks of the services.
        seed: Decides everything.
        repository: With it, there is an integrator.
        commit_s: Longest time that a commit takes.

    Attributes:
        chance: The source of all chance.
        network: Connects all machines.
        environment: Time and chance of those who are no service.
        names: The services.
        ahead_ns: How far the wall clock of a service is ahead.
        up_ns: How long the machine of a service had run at the start of the history.
        full: The services whose disk is full.
        settings: Settings of services, by section.
        workers: The simulated workers by name.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        repository: Repository | None = None,
        commit_s: float = 0.0,
    ) -> None:
        self.chance = Random(seed)
        self.network = Network(self.chance)
        self.environment = Environment(self._now_ns, self._monotonic_ns, self.chance)
        self.names = [one for one in _SERVICES if repository or one != SimulatedIntegrator.NAME]
        self.ahead_ns: dict[str, int] = {}
        self.up_ns: dict[str, int] = {}
        self.full: dict[str, None] = {}
        self.settings: dict[str, dict[str, Any]] = {
            "coordinator": {
                "repository": bool(repository),
                "grace_s": 10.0,
                "renew_s": 3.0,
                "heartbeat_s": 2.0,
            },
            "queue": {"repository": bool(repository)},
        }
        self.workers: dict[str, SimulatedWorker] = {}
        self._folder = folder
        self._repository = repository
        self._commit_s = commit_s
        self._mint = TokenMint(b"simulation")
        self._disks: dict[str, sqlite3.Connection] = {}
        self._opened: dict[str, list[Any]] = {}

    async def start(self) -> None:
        """Start all services."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.set_task_factory(task_factory)
        loop.parked = parked
        for name in self.names:
            await self.start_service(name)

    async def start_service(self, name: str) -> None:
        """Start a service on what its last life has left on disk."""
        machine = Machine(name)
        self.network.machines[name] = machine
        await machine.run(self._serve(machine))
        self.network.note(f"{name} started")

    def crash_service(self, name: str) -> None:
        """Kill a service: what is not committed is gone."""
        self.network.note(f"{name} crashed")
        for opened in self._opened.pop(name):
            opened.crash()
        self.network.machines.pop(name).die()

    def worker_channel(self, name: str, machine: Machine) -> grpc.aio.Channel:
        """Return a worker's channel to the coordinator."""
        return self.network.channel("coordinator", self.token(Kind.WORKER, name), machine)

    def start_worker(self, name: str) -> None:
        """Start a worker's process."""
        machine = Machine(name)
        channel = self.worker_channel(name, machine)
        worker = SimulatedWorker(
            name, machine, channel, self.environment, self.network, self.is_worked_at
        )
        self.workers[name] = worker
        worker.start()

    def crash_worker(self, name: str) -> None:
        """Kill a worker's process."""
        self.network.note(f"{name} crashed")
        self.workers.pop(name).machine.die()

    def start_sleepy_worker(self, name: str) -> SleepyWorker:
        """Start a worker that leases by itself."""
        machine = Machine(name)
        channel = self.network.channel("queue", self.token(Kind.WORKER, name), machine)
        worker = SleepyWorker(name, machine, channel, self.environment)
        worker.start()
        return worker

    def operator(self, service: str) -> grpc.aio.Channel:
        """Return the operator's channel to a service."""
        return self.network.channel(service, self.token(Kind.OPERATOR, "op"), Machine("op"))

    async def _serve(self, machine: Machine) -> None:
        kind = _SERVICES[machine.name]
        context = self._context(machine)
        pipeline = Pipeline(self._mint, CallMetrics(CollectorRegistry()), context.environment)
        service = await kind.open(context)
        pipeline.add(service)
        machine.local = LocalChannel(pipeline)
        await service.start()

    def _context(self, machine: Machine) -> SimulatedContext:
        name = machine.name
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        token = self.token(Kind.SERVICE, name)
        opened = self._opened[name] = []

        up_ns = self.up_ns.get(name, 0)

        def now_ns() -> int:
            return self._now_ns() + self.ahead_ns.get(name, 0)

        return SimulatedContext(
            name=name,
            project=PROJECT,
            folder=folder,
            environment=Environment(now_ns, lambda: self._monotonic_ns() + up_ns, self.chance),
            registry=CollectorRegistry(),
            channel=lambda peer: self.network.channel(peer, token, machine),
            flags=self.settings,
            repository=self._repository,
            is_full=lambda: name in self.full,
            commit_s=self._commit_s,
            opened=opened,
        )

    def disk(self, service: str) -> sqlite3.Connection:
        """Return a connection that sees what a service has committed."""
        if service not in self._disks:
            path = self._folder / service / f"{service}.db"
            self._disks[service] = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        return self._disks[service]

    def is_worked_at(self, ref: common_pb2.AttemptRef) -> bool:
        """Look at the queue's disk: is this attempt in a worker's hands?"""
        query = "SELECT count(*) FROM tasks WHERE id = ? AND token = ? AND state IN (2, 3)"
        row = self.disk("queue").execute(query, (ref.task_id, ref.fencing_token)).fetchone()
        return bool(row[0])

    def close(self) -> None:
        """End all services, and let go of their disks."""
        for name in list(self.network.machines):
            self.crash_service(name)
        for disk in self._disks.values():
            disk.close()

    def token(self, kind: Kind, name: str) -> str:
        return self._mint.mint(Principal(kind, name, PROJECT))

    def _now_ns(self) -> int:
        return _BEGIN_NS + self._monotonic_ns()

    def _monotonic_ns(self) -> int:
        return round(asyncio.get_running_loop().time() * SECOND)
