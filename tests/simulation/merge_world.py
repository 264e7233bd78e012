"""A merge queue on a simulated repository: its own code and store, a git made of sets."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

from coord.environment import Environment
from coord.times import SECOND
from coord.v1 import common_pb2, integrator_pb2, queue_pb2
from coord_integrator.endings import Endings
from coord_integrator.leases import LeaseKeeper, Reporter
from coord_integrator.merge_queue import MergeQueue
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.schema import MIGRATIONS
from coord_integrator.sqlite import SqliteIntegratorStore
from coord_integrator.store import ChangeRow
from coord_runtime.database import Database, Options
from prometheus_client import CollectorRegistry

from tests.simulation.git import Process, Repository, Truth
from tests.simulation.integrator import furnish_merging

PROJECT = "sim"
POLL_S = 0.5
_RENEW_S = 3.0
_BEGIN_NS = 1_800_000_000 * SECOND


class Leases:
    """What the merge queue asks and tells the task queue."""

    def __init__(self) -> None:
        self.cancelled: set[str] = set()
        self.reports: dict[str, Any] = {}

    async def renew(self, attempts: list[common_pb2.AttemptRef]) -> list[int]:
        going_on, cancel = queue_pb2.LEASE_DIRECTIVE_CONTINUE, queue_pb2.LEASE_DIRECTIVE_CANCEL
        return [cancel if one.task_id in self.cancelled else going_on for one in attempts]

    async def report(self, report: Any) -> None:
        task = report.attempt.task_id
        assert self.reports.setdefault(task, report) == report, f"{task} has ended twice"


class MergeWorld:
    """A merge queue that can be killed and started again."""

    def __init__(self, folder: Path, truth: Truth, chance: Random, slots: int) -> None:
        self.repository = Repository(truth)
        self.leases = Leases()
        self.chance = chance
        self.environment = Environment(self._now_ns, self._monotonic_ns, chance)
        self.store: SqliteIntegratorStore
        self.endings: Endings
        self._slots = slots
        self._path = folder / "integrator.db"
        self._database: Database
        self._process: Process
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        options = Options(self.environment, inline=True, synchronous=False, migrations=MIGRATIONS)
        self._database = Database(self._path, options)
        self._process = Process(self.repository, self.chance)
        self.store = SqliteIntegratorStore(self._database, PROJECT)
        queue, keeper = self._furnish(self._process, self.store)
        reporter = Reporter(self.store, self.leases)  # type: ignore[arg-type]  # simulated
        self._tasks += [
            asyncio.create_task(self._merge(queue)),
            asyncio.create_task(self._tell(keeper, reporter)),
        ]

    def kill(self) -> None:
        """End the process as SIGKILL does; what is not on disk is gone."""
        self._process.crash()
        self._database.crash()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._database.crash()

    async def submit(self, change: str, *, priority: int = 100, barrier: bool = False) -> None:
        head = self.repository.commit(frozenset({change}), "root")
        proto = integrator_pb2.Change(
            change_id=change,
            attempt=common_pb2.AttemptRef(task_id=change, fencing_token=1),
            state=integrator_pb2.CHANGE_STATE_QUEUED,
            head_commit=head,
            barrier=barrier,
        )
        await self.store.add_change(ChangeRow(proto, change, common_pb2.Money()))
        await self.store.hand_over_change(change, "code", priority)

    def changes(self) -> dict[str, integrator_pb2.Change]:
        return {row.change.change_id: row.change for _, row in self.store.list_changes(())}

    def _furnish(
        self, process: Process, store: SqliteIntegratorStore
    ) -> tuple[MergeQueue, LeaseKeeper]:
        metrics = IntegratorMetrics(CollectorRegistry())
        merging = furnish_merging(
            process, store, self.leases, self.environment, metrics, self._slots
        )
        self.endings = merging.endings
        wake = self._wake = asyncio.Event()
        merging.slots.when_ended(wake.set)
        leases: Any = self.leases
        return merging.queue, LeaseKeeper(store, leases, self.endings)

    async def _merge(self, queue: MergeQueue) -> None:
        wake = self._wake
        while True:
            wake.clear()
            if not await queue.step():
                await _first(wake.wait(), POLL_S)

    async def _tell(self, keeper: LeaseKeeper, reporter: Reporter) -> None:
        wake = self._wake
        while True:
            if await keeper.renew():
                wake.set()
            await reporter.send()
            await asyncio.sleep(_RENEW_S)

    def _now_ns(self) -> int:
        return _BEGIN_NS + self._monotonic_ns()

    def _monotonic_ns(self) -> int:
        return round(asyncio.get_running_loop().time() * SECOND)


async def _first(waiting: Any, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await waiting
    except TimeoutError:
        return
