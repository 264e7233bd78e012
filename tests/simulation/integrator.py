"""The integrator on a git made of sets: its own handlers, loops, decisions and store."""

from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Self

from coord.environment import Environment
from coord.errors import not_found
from coord.times import SECOND
from coord.v1 import common_pb2
from coord.v1 import integrator_pb2 as pb
from coord_integrator import names
from coord_integrator.agreement import Agreement
from coord_integrator.attempts import Attempts
from coord_integrator.branch_table import BranchTable
from coord_integrator.chains import Chains
from coord_integrator.conflict_table import ConflictTable
from coord_integrator.endings import Endings
from coord_integrator.history import History
from coord_integrator.landing import Lander
from coord_integrator.leases import LeaseKeeper, Reporter
from coord_integrator.loops import Loop
from coord_integrator.lost_work import LostWork
from coord_integrator.merge_queue import MergeQueue, Parts
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.pauses import Pauses
from coord_integrator.queue_link import QueueLink
from coord_integrator.readiness import Readiness
from coord_integrator.reaper import Reaper
from coord_integrator.rooms import Merging, Rooms
from coord_integrator.schema import MIGRATIONS
from coord_integrator.service import IntegratorService
from coord_integrator.settings import IntegratorSettings
from coord_integrator.slots import Slots
from coord_integrator.snapshot import Capture
from coord_integrator.sqlite import SqliteIntegratorStore
from coord_integrator.store import IntegratorStore, WorktreeRow
from coord_integrator.submissions import Submissions
from coord_integrator.verdicts import Judge
from coord_integrator.worktrees import Kept, Place
from coord_runtime.service import ServiceContext
from prometheus_client import CollectorRegistry

from tests.simulation.disk import SimulatedContext
from tests.simulation.git import (
    FakeChecker,
    FakeCheckout,
    FakeMerger,
    FakeTarget,
    Folder,
    Process,
    tree_of,
)

_AGEING_NS = 60 * SECOND
_LOOK_S = 1.0


class SimulatedIntegrator(IntegratorService):
    """The integrator, with a git made of sets in place of the real one."""

    @classmethod
    async def open(cls, context: ServiceContext) -> Self:
        assert isinstance(context, SimulatedContext)
        assert context.repository is not None
        database = await context.open_database(MIGRATIONS)
        settings = IntegratorSettings(repo=Path("/nowhere"), check="check")
        process = Process(context.repository, context.environment.random, context.is_full)
        context.opened.append(process)
        store = SqliteIntegratorStore(database, context.project)
        queue = QueueLink(context.channel("queue"), context.project)
        metrics = IntegratorMetrics(CollectorRegistry())
        git: Any = process
        target: Any = FakeTarget(process)
        merger: Any = FakeMerger(process)
        submissions = Submissions(
            queue,
            merger,
            repository=git,
            store=store,
            target=target,
            metrics=metrics,
            barriers=["/src/t0@*"],
        )
        branches = BranchTable(database, context.project)
        conflicts = ConflictTable(database, context.project)
        worktrees: Any = _Worktrees(process)
        attempts = _Attempts(
            worktrees,
            submissions,
            repository=git,
            store=store,
            target=target,
            branches=branches,
            settings=settings,
        )
        merging = furnish_merging(
            process, store, queue, context.environment, metrics, settings.check_slots, conflicts
        )
        radar: Any = _Radar(process, attempts, conflicts)
        rooms = Rooms(
            store,
            target,
            attempts,
            radar,
            radar,
            Reaper(attempts, branches, settings, context.environment),
            submissions,
            Agreement(git, store, queue),
            LostWork(git, store, target, merging.endings),
            merging,
            LeaseKeeper(store, queue, merging.endings),
            Reporter(store, queue),
            process.full_disk,
        )
        return cls(rooms, settings)


def furnish_merging(
    process: Process,
    store: IntegratorStore,
    queue: Any,
    environment: Environment,
    metrics: IntegratorMetrics,
    slots_count: int,
    conflicts: ConflictTable | None = None,
) -> Merging:
    """Put a merge queue together on a git made of sets."""
    git: Any = process
    target: Any = FakeTarget(process)
    merger: Any = FakeMerger(process)
    checker: Any = FakeChecker(process)
    checkout: Any = FakeCheckout()
    counts: Callable[[], Mapping[str, int]] = conflicts.counts if conflicts else dict
    judge = Judge(store, checker, environment, metrics, slots_count)
    pauses, endings = Pauses(store, environment), Endings(store, metrics)
    readiness = Readiness(git, merger, target=target, judge=judge, pauses=pauses, may_land=True)
    lander = Lander(
        git,
        store,
        target=target,
        queue=queue,
        checkout=checkout,
        pauses=pauses,
        endings=endings,
        metrics=metrics,
    )
    chains = Chains(git, merger, History(git, merger, "squash"), "main")
    slots = Slots(judge, environment)
    parts = Parts(
        git,
        store,
        chains,
        checkout,
        counts,
        endings,
        judge,
        lander,
        metrics,
        pauses,
        readiness,
        slots,
        target.branch,
    )
    merge_queue = MergeQueue(parts, environment, slots=slots_count, ageing_ns=_AGEING_NS)
    return Merging(merge_queue, endings, lander, pauses, readiness, slots)


class _Attempts(Attempts):
    """Serves attempts; nothing has to be provided in a folder that is a set."""

    async def _provide(self, row: WorktreeRow, *, needs_setup: bool) -> None:
        del row, needs_setup


class _Worktrees:
    """The folders of the workers, which outlive the process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._git = process.repository

    def path(self, worker: str) -> Path:
        return Path("/worktrees") / names.component(worker)

    async def keep(self, place: Place, tip: str, title: str = "") -> Kept | None:
        del title
        await self._process.write()
        folder = self._git.folders.get(place.worker)
        base = place.base or tip
        if folder is None or folder.files == self._git.contents[base]:
            return None
        commit = self._git.commit(folder.files, base)
        ref = names.wip_ref(place.worker, place.token, commit)
        await self._process.wait()
        self._git.kept[ref] = commit
        return Kept(ref, Capture(base, tree_of(folder.files), commit, changed=True))

    async def is_whole(self, place: Place) -> bool:
        return place.worker in self._git.folders

    async def free_branch(self, worker: str, task_id: str, token: int) -> str:
        del token
        return names.branch(worker, task_id, "main")

    async def reset(self, place: Place, branch: str, token: int, tip: str) -> bool:
        del token
        await self._process.write()
        is_new = place.worker not in self._git.folders
        self._git.lose(place.worker)
        self._git.folders[place.worker] = Folder(branch, tip, self._git.contents[tip])
        return is_new

    async def remove(self, place: Place, tip: str) -> Kept | None:
        kept = await self.keep(place, tip)
        self._git.lose(place.worker)
        return kept

    async def drop_branch(self, branch: str, base: str, tip: str) -> bool:
        del branch, base, tip
        await self._process.wait()
        return True

    def used_ns(self, worker: str) -> int:
        del worker
        return 0


class _Radar:
    """Compares all worktrees, and tells of what conflicts; also the loop that looks."""

    def __init__(self, process: Process, attempts: Attempts, table: ConflictTable) -> None:
        self._git = process.repository
        self._attempts = attempts
        self._table = table
        self._loop = Loop("radar", self._step)

    def start(self) -> None:
        self._loop.start()

    def wake(self) -> None:
        self._loop.wake()

    async def stop(self) -> None:
        await self._loop.stop()

    async def check(self, worker: str) -> pb.CheckConflictsResponse:
        row = next((row for row in self._attempts.rows() if row.worker == worker), None)
        if row is None:
            raise not_found("WORKTREE_NOT_FOUND", f"worker {worker} has no worktree")
        await self._look()
        found = [one.other for one in self._table.all() if one.worker == worker]
        attempt = self._attempts.worktree(row).attempt
        return pb.CheckConflictsResponse(attempt=attempt, conflicts=found)

    async def matrix(self, worker: str) -> pb.GetConflictMatrixResponse:
        met = [one for one in self._table.all() if worker in ("", one.worker, one.other.worker)]
        return pb.GetConflictMatrixResponse(conflicts=met)

    async def _step(self) -> float:
        await self._look()
        return _LOOK_S

    async def _look(self) -> None:
        rows = sorted(self._attempts.live(), key=lambda row: row.worker)
        found = [self._compare(*pair) for pair in combinations(rows, 2)]
        await self._table.put(one for one in found if one is not None)

    def _compare(self, one: WorktreeRow, other: WorktreeRow) -> pb.LiveConflict | None:
        mine, theirs = self._changed(one), self._changed(other)
        if all(self._git.truth.merges(change, theirs) for change in mine):
            return None
        met = pb.WorktreeConflict(worker=other.worker, attempt=_attempt(other), paths=["file"])
        return pb.LiveConflict(worker=one.worker, attempt=_attempt(one), other=met)

    def _changed(self, row: WorktreeRow) -> list[str]:
        folder = self._git.folders.get(row.worker)
        return sorted(folder.files - self._git.contents[folder.base]) if folder else []


def _attempt(row: WorktreeRow) -> common_pb2.AttemptRef:
    return common_pb2.AttemptRef(task_id=row.fence_task, fencing_token=row.fence)
