"""A simulated world: real services on inline stores, simulated workers, and what goes wrong."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
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
from coord_runtime.service import Service, ServiceContext
from coord_runtime.tokens import Kind, Principal, TokenMint
from prometheus_client import CollectorRegistry

from tests.simulation.network import Faults, Machine, Network, task_factory
from tests.simulation.worker import SimulatedWorker, SleepyWorker

PROJECT = "sim"
_BEGIN_NS = 1_800_000_000 * SECOND
_SERVICES: dict[str, type[Service]] = {
    service.NAME: service
    for service in (QueueService, LimiterService, LedgerService, CoordinatorService)
}
BAD_NETWORK = Faults(delay_s=0.05, drop=0.02, repeat=0.02, cut_s=20.0)


class World:
    """One seed, one history."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = Random(seed)
        self.network = Network(self.chance)
        self.environment = Environment(self._now_ns, self._monotonic_ns, self.chance)
        self.workers: dict[str, SimulatedWorker] = {}
        self._folder = folder
        self._mint = TokenMint(b"simulation")
        self._databases: dict[str, list[Any]] = {}

    async def start(self) -> None:
        """Start all services."""
        asyncio.get_running_loop().set_task_factory(task_factory)
        for name in _SERVICES:
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
        for database in self._databases.pop(name):
            database.crash()
        self.network.machines.pop(name).die()

    def worker_channel(self, name: str, machine: Machine) -> grpc.aio.Channel:
        """Return a worker's channel to the coordinator."""
        return self.network.channel("coordinator", self._token(Kind.WORKER, name), machine)

    def start_worker(self, name: str) -> None:
        """Start a worker's process."""
        machine = Machine(name)
        channel = self.worker_channel(name, machine)
        worker = SimulatedWorker(
            name, machine, channel, self.environment, self.network, self._is_live
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
        channel = self.network.channel("queue", self._token(Kind.WORKER, name), machine)
        worker = SleepyWorker(name, channel, self.environment)
        # Two at once under one name: not even its own later attempt may be acted for.
        machine.run(worker.work())
        machine.run(worker.work())
        return worker

    def operator(self, service: str) -> grpc.aio.Channel:
        """Return the operator's channel to a service."""
        return self.network.channel(service, self._token(Kind.OPERATOR, "op"), Machine("op"))

    async def _serve(self, machine: Machine) -> None:
        kind = _SERVICES[machine.name]
        pipeline = Pipeline(self._mint, CallMetrics(CollectorRegistry()), self.environment)
        service = await kind.open(self._context(machine))
        pipeline.add(service)
        machine.local = LocalChannel(pipeline)
        await service.start()

    def _context(self, machine: Machine) -> ServiceContext:
        folder = self._folder / machine.name
        folder.mkdir(exist_ok=True)
        token = self._token(Kind.SERVICE, machine.name)
        opened: list[Any] = []
        self._databases[machine.name] = opened
        return _Context(
            name=machine.name,
            project=PROJECT,
            folder=folder,
            environment=self.environment,
            registry=CollectorRegistry(),
            channel=lambda peer: self.network.channel(peer, token, machine),
            flags={"coordinator": {"repository": False, "grace_s": 10.0, "renew_s": 3.0}},
            inline_stores=True,
            opened=opened,
        )

    def _is_live(self, ref: common_pb2.AttemptRef) -> bool:
        """Look at the queue's disk: is this attempt's task still in its hands?"""
        with closing(sqlite3.connect(self._folder / "queue" / "queue.db")) as sql:
            live = "state IN (2, 3, 4)"
            query = f"SELECT count(*) FROM tasks WHERE id = ? AND token = ? AND {live}"
            return bool(sql.execute(query, (ref.task_id, ref.fencing_token)).fetchone()[0])

    def _token(self, kind: Kind, name: str) -> str:
        return self._mint.mint(Principal(kind, name, PROJECT))

    def _now_ns(self) -> int:
        return _BEGIN_NS + self._monotonic_ns()

    def _monotonic_ns(self) -> int:
        return round(asyncio.get_running_loop().time() * SECOND)


@dataclass
class _Context(ServiceContext):
    opened: list[Any] = field(default_factory=list)

    async def open_database(self, migrations: Any) -> Any:
        database = await super().open_database(migrations)
        self.opened.append(database)
        return database
