"""What the integrator is made of, and how it is put together."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from coord.times import from_seconds
from coord_runtime.service import ServiceContext

from coord_integrator.agreement import Agreement
from coord_integrator.attempts import Attempts
from coord_integrator.branch_table import BranchTable
from coord_integrator.chains import Chains
from coord_integrator.checkout import CheckoutFollower
from coord_integrator.checks import Checker, environment_digest
from coord_integrator.claimed import Claimed
from coord_integrator.conflict_table import ConflictTable
from coord_integrator.endings import Endings
from coord_integrator.history import History
from coord_integrator.landing import Lander
from coord_integrator.leases import LeaseKeeper, Reporter
from coord_integrator.lost_work import LostWork
from coord_integrator.merge_queue import MergeQueue, Parts
from coord_integrator.merging import Merger
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.pauses import Pauses
from coord_integrator.queue_link import QueueLink
from coord_integrator.radar import Radar
from coord_integrator.radar_loop import RadarLoop
from coord_integrator.readiness import Readiness
from coord_integrator.reaper import Reaper
from coord_integrator.repository import Repository
from coord_integrator.settings import IntegratorSettings
from coord_integrator.slots import Slots
from coord_integrator.snapshot import Snapshots
from coord_integrator.store import IntegratorStore
from coord_integrator.submissions import Submissions
from coord_integrator.target import Target
from coord_integrator.verdicts import Judge
from coord_integrator.worktrees import Worktrees


@dataclass(frozen=True)
class Merging:
    """What the merge queue is made of, as far as others ask for it."""

    queue: MergeQueue
    endings: Endings
    lander: Lander
    pauses: Pauses
    readiness: Readiness
    slots: Slots


@dataclass(frozen=True)
class Rooms:
    """What the service is made of."""

    store: IntegratorStore
    target: Target
    attempts: Attempts
    radar: Radar
    looking: RadarLoop
    reaper: Reaper
    submissions: Submissions
    agreement: Agreement
    lost_work: LostWork
    merging: Merging
    keeper: LeaseKeeper
    reporter: Reporter
    full_disk: Callable[[], str]


@dataclass(frozen=True)
class Ground:
    """What everything stands on."""

    context: ServiceContext
    settings: IntegratorSettings
    repository: Repository
    target: Target
    store: IntegratorStore
    branches: BranchTable
    conflicts: ConflictTable
    metrics: IntegratorMetrics
    queue: QueueLink


async def furnish(ground: Ground) -> Rooms:
    """Put an integrator together."""
    snapshots = Snapshots(ground.repository)
    await snapshots.open()
    worktrees = Worktrees(
        ground.repository, snapshots, worktrees_folder(ground.context), ground.target.branch
    )
    submissions = _submissions(ground)
    attempts = Attempts(
        worktrees,
        submissions,
        repository=ground.repository,
        store=ground.store,
        target=ground.target,
        branches=ground.branches,
        settings=ground.settings,
    )
    merging = await _merging(ground)
    radar = Radar(
        attempts,
        ground.target,
        ground.repository,
        table=ground.conflicts,
        environment=ground.context.environment,
        metrics=ground.metrics,
    )
    return Rooms(
        ground.store,
        ground.target,
        attempts,
        radar,
        RadarLoop(radar, worktrees_folder(ground.context), ground.repository.common_folder),
        Reaper(attempts, ground.branches, ground.settings, ground.context.environment),
        submissions,
        Agreement(ground.repository, ground.store, ground.queue),
        LostWork(ground.repository, ground.store, ground.target, merging.endings),
        merging,
        LeaseKeeper(ground.store, ground.queue, merging.endings),
        Reporter(ground.store, ground.queue),
        ground.repository.full_disk,
    )


def worktrees_folder(context: ServiceContext) -> Path:
    """Return the folder of all worktrees."""
    return context.folder.resolve().parent / "worktrees"


def _submissions(ground: Ground) -> Submissions:
    return Submissions(
        ground.queue,
        Merger(ground.repository),
        repository=ground.repository,
        store=ground.store,
        target=ground.target,
        metrics=ground.metrics,
        barriers=[glob for glob in ground.settings.barriers.split(",") if glob.strip()],
    )


async def _merging(ground: Ground) -> Merging:
    settings, repository, store = ground.settings, ground.repository, ground.store
    environment = ground.context.environment
    checker = Checker(repository, settings.check, settings.check_timeout_s, environment_digest())
    await checker.clear()
    judge = Judge(store, checker, environment, ground.metrics, settings.check_slots)
    pauses = Pauses(store, environment)
    endings = Endings(store, ground.metrics)
    checkout = CheckoutFollower(repository, store, ground.target)
    merger = Merger(repository)
    readiness = Readiness(
        repository,
        merger,
        target=ground.target,
        judge=judge,
        pauses=pauses,
        may_land=bool(settings.check) or settings.no_check,
    )
    lander = Lander(
        repository,
        store,
        target=ground.target,
        queue=ground.queue,
        checkout=checkout,
        pauses=pauses,
        endings=endings,
        metrics=ground.metrics,
    )
    history = History(repository, merger, settings.history)
    slots = Slots(judge, environment)
    parts = Parts(
        repository,
        store,
        Chains(repository, merger, history, ground.target.branch),
        checkout,
        ground.conflicts.counts,
        endings,
        judge,
        lander,
        ground.metrics,
        pauses,
        readiness,
        slots,
        ground.target.branch,
    )
    context = ground.context
    claimed = Claimed(context.channel("coordinator"), context.project, repository, merger)
    queue = MergeQueue(
        parts,
        environment,
        slots=settings.check_slots,
        ageing_ns=from_seconds(settings.ageing_s),
        hold_back=claimed.hold_back,
    )
    return Merging(queue, endings, lander, pauses, readiness, slots)
