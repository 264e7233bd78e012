"""A merge queue on a simulated repository: its own code and store, a git made of sets.

A tree is the set of the changes in it. A set fails the check if it holds a bad change, or two that
clash. Whatever the merge queue waits for takes some time, and never comes back once its process is
killed.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from coord.environment import Environment
from coord.times import SECOND
from coord.v1 import common_pb2, integrator_pb2, queue_pb2
from coord_integrator.chains import Chains
from coord_integrator.commands import CommandResult
from coord_integrator.endings import Endings
from coord_integrator.history import History
from coord_integrator.landing import Lander
from coord_integrator.leases import LeaseKeeper, Reporter
from coord_integrator.merge_queue import MergeQueue, Parts
from coord_integrator.merging import Merge
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.pauses import Pauses
from coord_integrator.readiness import Readiness
from coord_integrator.schema import MIGRATIONS
from coord_integrator.slots import Slots
from coord_integrator.sqlite import SqliteIntegratorStore
from coord_integrator.store import ChangeRow
from coord_integrator.target import Standing
from coord_integrator.verdicts import Judge
from coord_runtime.database import Database, Options
from prometheus_client import CollectorRegistry

PROJECT = "sim"
POLL_S = 0.5
# Long enough that many a kill comes in between.
_MOVE_S = 0.3
_RENEW_S = 3.0
_BEGIN_NS = 1_800_000_000 * SECOND
_AGEING_NS = 60 * SECOND


@dataclass
class Truth:
    """What is the matter with changes.

    Attributes:
        bad: Those that fail alone.
        clashes: Pairs that fail together.
        conflicts: Pairs that do not merge.
        flake: Share of the runs that are red for no reason.
    """

    bad: set[str] = field(default_factory=set)
    clashes: set[frozenset[str]] = field(default_factory=set)
    conflicts: set[frozenset[str]] = field(default_factory=set)
    flake: float = 0.0

    def is_sound(self, changes: frozenset[str]) -> bool:
        return not self.bad & changes and not any(pair <= changes for pair in self.clashes)

    def merges(self, change: str, others: Iterable[str]) -> bool:
        return not any(frozenset((change, other)) in self.conflicts for other in others)


class Repository:
    """A git made of sets, and the user in it."""

    def __init__(self, truth: Truth, chance: Random) -> None:
        self.truth = truth
        self.chance = chance
        self.contents: dict[str, frozenset[str]] = {"root": frozenset()}
        self.at = "root"
        self.landings: list[str] = []
        self.folder = Path("/nowhere")

    def full_disk(self) -> str:
        return ""

    async def tree(self, commit: str) -> str:
        return tree_of(self.contents[commit])

    async def is_ancestor(self, old: str, new: str) -> bool:
        return self.contents[old] <= self.contents[new]

    def commit(self, changes: frozenset[str], parent: str) -> str:
        name = f"{parent[:4]}>{tree_of(changes)}#{len(self.contents)}"
        self.contents[name] = changes
        return name

    def user_commits(self, change: str) -> None:
        self.at = self.commit(self.contents[self.at] | {change}, self.at)

    def user_reverts(self, change: str) -> None:
        self.at = self.commit(self.contents[self.at] - {change}, self.at)

    def moved(self, new: str, old: str) -> bool:
        if self.at != old:
            return False
        assert self.truth.is_sound(self.contents[new]), f"red: {self.contents[new]}"
        self.landings += sorted(self.contents[new] - self.contents[self.at])
        self.at = new
        return True


def tree_of(changes: frozenset[str]) -> str:
    return ",".join(sorted(changes))


@dataclass
class Process:
    """One life of the merge queue; what it calls hangs once it is dead."""

    repository: Repository
    queue: "Leases"
    chance: Random
    is_dead: bool = False

    async def wait(self, longest_s: float = 0.02) -> None:
        await asyncio.sleep(self.chance.uniform(0, longest_s))
        if self.is_dead:
            await asyncio.Event().wait()

    # What stands for the repository, in a process that can be killed before and after.

    def full_disk(self) -> str:
        return ""

    async def tree(self, commit: str) -> str:
        return await self.repository.tree(commit)

    async def is_ancestor(self, old: str, new: str) -> bool:
        return await self.repository.is_ancestor(old, new)

    async def hand_over(self, commit: str, ref: str) -> None:
        del commit, ref
        await self.wait()

    async def move_branch(self, branch: str, new: str, old: str | None, why: str) -> bool:
        del branch, why
        await self.wait(_MOVE_S)
        moved = self.repository.moved(new, old or "")
        await self.wait(_MOVE_S)
        return moved


class FakeTarget:
    branch = "main"
    is_recorded = True

    def __init__(self, process: Process) -> None:
        self._process = process

    async def read(self) -> Standing:
        at = self._process.repository.at
        return Standing("main", at, at, at, diverged=False)

    async def holder(self, branch: str) -> str:
        del branch
        return ""

    async def follow(self, standing: Standing) -> bool:
        return standing.at == standing.tip

    @asynccontextmanager
    async def about_to_move(self, branch: str, new: str) -> AsyncIterator[None]:
        del branch, new
        yield


class FakeMerger:
    def __init__(self, process: Process) -> None:
        self._process = process

    async def merge(self, ours: str, theirs: str, labels: tuple[str, str]) -> Merge:
        del labels
        await self._process.wait()
        repository = self._process.repository
        mine, added = repository.contents[ours], repository.contents[theirs]
        if not all(repository.truth.merges(change, mine) for change in added):
            return Merge("", ("file",), "hunks")
        return Merge(tree_of(mine | added))

    async def commit(self, tree: str, parents: tuple[str, ...], message: str) -> str:
        del message
        return self._process.repository.commit(frozenset(tree.split(",")), parents[0])


class FakeChecker:
    command = "check"
    environment = "here"

    def __init__(self, process: Process) -> None:
        self._process = process
        self.repository = process
        self.runs = 0

    async def run(self, commit: str) -> CommandResult:
        repository = self._process.repository
        await asyncio.sleep(self._process.chance.uniform(0.8, 1.2))
        await self._process.wait()
        flaky = self._process.chance.random() < repository.truth.flake
        passed = repository.truth.is_sound(repository.contents[commit]) and not flaky
        return CommandResult(0 if passed else 1, f"tested {tree_of(repository.contents[commit])}")


class FakeCheckout:
    async def repair(self) -> None:
        """Nothing is checked out."""

    async def follow(self, standing: Standing) -> bool:
        del standing
        return False


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
        self.repository = Repository(truth, chance)
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
        self._process = Process(self.repository, self.leases, self.chance)
        self.store = SqliteIntegratorStore(self._database, PROJECT)
        queue, keeper = self._furnish(self._process, self.store)
        reporter = Reporter(self.store, self.leases)  # type: ignore[arg-type]  # simulated
        self._tasks += [
            asyncio.create_task(self._merge(queue)),
            asyncio.create_task(self._tell(keeper, reporter)),
        ]

    def kill(self) -> None:
        """End the process as SIGKILL does; what is not on disk is gone."""
        self._process.is_dead = True
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
        git, target, checkout = self._fakes(process)
        merger: Any = FakeMerger(process)
        checker: Any = FakeChecker(process)
        leases: Any = self.leases
        judge = Judge(store, checker, self.environment, metrics, self._slots)
        pauses = Pauses(store, self.environment)
        endings = self.endings = Endings(store, metrics)
        readiness = Readiness(git, merger, target=target, judge=judge, pauses=pauses, may_land=True)
        lander = Lander(
            git,
            store,
            target=target,
            queue=leases,
            checkout=checkout,
            pauses=pauses,
            endings=endings,
            metrics=metrics,
        )
        chains = Chains(git, merger, History(git, merger, "squash"), "main")
        slots = Slots(judge, self.environment)
        parts = Parts(
            git,
            store,
            chains,
            checkout,
            dict,
            endings,
            judge,
            lander,
            metrics,
            pauses,
            readiness,
            slots,
        )
        queue = MergeQueue(parts, self.environment, slots=self._slots, ageing_ns=_AGEING_NS)
        wake = self._wake = asyncio.Event()
        slots.when_ended(wake.set)
        return queue, LeaseKeeper(store, leases, endings)

    def _fakes(self, process: Process) -> tuple[Any, Any, Any]:
        return process, FakeTarget(process), FakeCheckout()

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
