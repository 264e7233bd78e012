"""The integrator: one handler for each RPC, and the loops that land changes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from coord.errors import (
    CoordError,
    failed_precondition,
    invalid_argument,
    not_found,
    unavailable,
)
from coord.times import SECOND
from coord.v1 import common_pb2
from coord.v1 import integrator_pb2 as pb
from coord_runtime.calls import Call
from coord_runtime.checks import (
    MESSAGE_BYTES_MAX,
    check_attempt,
    check_money,
    check_one_of,
    check_range,
    check_text,
    check_worker,
    invalid_field,
    page_size,
)
from coord_runtime.paging import next_page_token, page_start
from coord_runtime.service import Service, ServiceContext

from coord_integrator import names
from coord_integrator.attempts import Attempts
from coord_integrator.checkout import CheckoutFollower
from coord_integrator.checks import Checker
from coord_integrator.commands import end_strays
from coord_integrator.conflict_table import ConflictTable
from coord_integrator.filters import filter_options
from coord_integrator.git import GitError
from coord_integrator.landing import MergeQueue, Parts
from coord_integrator.leases import LeaseKeeper, Reporter
from coord_integrator.loops import Loop
from coord_integrator.merging import Merger
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.pauses import Pauses
from coord_integrator.queue_link import QueueLink
from coord_integrator.radar import Radar
from coord_integrator.radar_calls import RadarCalls
from coord_integrator.radar_loop import RadarLoop
from coord_integrator.repository import Repository
from coord_integrator.room import check_writable
from coord_integrator.schema import MIGRATIONS
from coord_integrator.settings import IntegratorSettings
from coord_integrator.snapshot import Snapshots
from coord_integrator.sqlite import SqliteIntegratorStore
from coord_integrator.store import IntegratorStore
from coord_integrator.submissions import Submissions
from coord_integrator.target import Target, default_target
from coord_integrator.verdicts import Judge
from coord_integrator.worktrees import Worktrees

T = TypeVar("T")

_HEADS = "refs/heads/"
_TITLE_BYTES_MAX = 1_024
_FOLLOW_EVERY = 10
# Each run has up to 64 KiB of output.
_RUNS_DEFAULT, _RUNS_MAX = 2, 20


@dataclass(frozen=True)
class Rooms:
    """What the service is made of."""

    store: IntegratorStore
    target: Target
    attempts: Attempts
    radar: Radar
    looking: RadarLoop
    submissions: Submissions
    merging: MergeQueue
    pauses: Pauses
    judge: Judge
    keeper: LeaseKeeper
    reporter: Reporter
    full_disk: Callable[[], str]


class IntegratorService(RadarCalls, Service):
    """Holds the worktrees and the merge queue of one repository."""

    NAME: ClassVar[str] = "integrator"
    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["IntegratorService"]
    WORKER_METHODS: ClassVar[frozenset[str]] = frozenset(
        {"CheckConflicts", "GetChange", "ListChanges", "WatchIntegratorEvents"}
    )

    def __init__(self, rooms: Rooms, settings: IntegratorSettings) -> None:
        super().__init__(rooms.radar, rooms.attempts)
        self._rooms = rooms
        self._settings = settings
        self._steps = 0
        self._underway: set[asyncio.Task[Any]] = set()
        self._merging = Loop("merging", self._merge)
        self._renewing = Loop("renewing", self._renew)
        self._reporting = Loop("reporting", self._report)

    @classmethod
    async def open(cls, context: ServiceContext) -> Self:
        """Open the integrator on its folder and on the user's repository.

        Raises:
            CoordError: INVALID_ARGUMENT with reason NO_REPOSITORY or NO_TARGET;
                FAILED_PRECONDITION with reason BRANCH_IN_THE_WAY, DISK_FULL,
                FILTER_NOT_LISTED or NOT_WRITABLE; UNAVAILABLE with reason GIT_ENDED where git was
                killed while it was asked.
        """
        settings = context.settings(IntegratorSettings)
        folder = context.folder.resolve()
        await end_strays(folder)
        try:
            repository = await Repository.open(settings.repo.expanduser().resolve(), folder)
        except (GitError, OSError) as error:
            raise _no_repository(settings.repo, error) from error
        check_writable(repository.common_folder)
        options = await filter_options(repository.user, repository.common_folder, settings.filters)
        repository = replace(repository, own=repository.own.with_options(*options))
        branch = settings.target or await default_target(repository)
        if not branch:
            message = "HEAD is detached: name the branch to land on with --target"
            raise invalid_argument("NO_TARGET", message)
        await _check_names(repository, branch)
        if not await repository.user_commit(f"{_HEADS}{branch}"):
            raise _no_branch(branch)
        database = await context.open_database(MIGRATIONS)
        store = SqliteIntegratorStore(database, context.project)
        target = Target(repository, store, branch, _worktrees(context))
        table = ConflictTable(database, context.project)
        rooms = await _furnish(context, settings, repository, target, store=store, table=table)
        return cls(rooms, settings)

    async def start(self) -> None:
        """Begin to land changes, to renew their leases and to report."""
        for loop in (self._merging, self._renewing, self._reporting, self._rooms.looking):
            loop.start()

    async def drain(self, deadline_s: float) -> None:
        """Begin no new check. One that runs is cut off: its change waits until the next start."""
        del deadline_s
        await self._merging.stop()

    async def stop(self) -> None:
        """End the loops and what calls have begun, and close the store."""
        for loop in (self._merging, self._renewing, self._reporting):
            await loop.stop()
        for task in self._underway:
            task.cancel()
        await asyncio.gather(*self._underway, return_exceptions=True)
        await self._rooms.looking.stop()
        await self._rooms.store.close()

    async def check_target(
        self, request: pb.CheckTargetRequest, call: Call
    ) -> pb.CheckTargetResponse:
        """Check the target as it stands, unless it is known to be green."""
        del call
        merging = self._rooms.merging
        green = await merging.is_target_green()
        if green or request.known_only:
            return pb.CheckTargetResponse(green=green)
        reason = await self._to_its_end(merging.check_target())
        return pb.CheckTargetResponse(green=reason is None, reason=reason)

    async def get_change(self, request: pb.GetChangeRequest, call: Call) -> pb.GetChangeResponse:
        """Return one change with its runs."""
        del call
        row = self._rooms.store.change(request.change_id)
        if row is None:
            message = f"there is no change {request.change_id!r}"
            raise not_found("CHANGE_NOT_FOUND", message)
        row.change.runs.extend(self._rooms.store.runs(request.change_id))
        return pb.GetChangeResponse(change=row.change)

    async def list_changes(
        self, request: pb.ListChangesRequest, call: Call
    ) -> pb.ListChangesResponse:
        """List changes in the order in which they were submitted."""
        del call
        for state in request.states:
            check_one_of("states", state, pb.ChangeState.values())
        if request.page_token and not request.page_token.isdecimal():
            raise invalid_field("page_token", "use the token of the answer before")
        size, after = page_size(request.page_size), int(request.page_token or 0)
        found = self._rooms.store.list_changes(request.states, after=after, limit=size + 1)
        shown = found[:size]
        return pb.ListChangesResponse(
            changes=[row.change for _, row in shown],
            next_page_token=str(shown[-1][0]) if len(found) > size else "",
            merge_queue=await self._merge_queue(),
        )

    async def list_target_runs(
        self, request: pb.ListTargetRunsRequest, call: Call
    ) -> pb.ListTargetRunsResponse:
        """List the runs of the check on the target alone, newest first."""
        del call
        check_range("page_size", request.page_size, 0, _RUNS_MAX)
        size, before = request.page_size or _RUNS_DEFAULT, page_start(request)
        found = self._rooms.store.target_runs(before=before[0] if before else None, limit=size + 1)
        more = len(found) > size
        return pb.ListTargetRunsResponse(
            runs=[run for _, run in found[:size]],
            next_page_token=next_page_token(request, [found[size - 1][0]]) if more else "",
        )

    async def list_worktrees(
        self, request: pb.ListWorktreesRequest, call: Call
    ) -> pb.ListWorktreesResponse:
        """List the worktrees by worker."""
        del request, call
        rows = self._rooms.store.worktrees()
        return pb.ListWorktreesResponse(
            worktrees=[self._rooms.attempts.worktree(row) for row in rows]
        )

    async def pause_merging(
        self, request: pb.PauseMergingRequest, call: Call
    ) -> pb.PauseMergingResponse:
        """Let nothing land."""
        del call
        check_text("message", request.message, MESSAGE_BYTES_MAX)
        await self._to_its_end(self._pause(request.message or "paused by the operator"))
        return pb.PauseMergingResponse()

    async def resume_merging(
        self, request: pb.ResumeMergingRequest, call: Call
    ) -> pb.ResumeMergingResponse:
        """Let changes land again."""
        del request, call
        await self._rooms.pauses.let_go()
        self._merging.wake()
        return pb.ResumeMergingResponse()

    async def setup_worktree(
        self, request: pb.SetupWorktreeRequest, call: Call
    ) -> pb.SetupWorktreeResponse:
        """Make a worker's worktree ready for an attempt."""
        del call
        check_worker("worker", request.worker)
        check_attempt("attempt", request.attempt)
        setup = self._rooms.attempts.set_up(request.worker, request.attempt)
        worktree = await self._to_its_end(setup)
        self._rooms.looking.wake()
        return pb.SetupWorktreeResponse(worktree=worktree)

    async def snapshot_worktree(
        self, request: pb.SnapshotWorktreeRequest, call: Call
    ) -> pb.SnapshotWorktreeResponse:
        """Keep what is in a worker's worktree."""
        del call
        check_worker("worker", request.worker)
        snapshot = self._rooms.attempts.snapshot(request.worker)
        return pb.SnapshotWorktreeResponse(snapshot=await self._to_its_end(snapshot))

    async def submit_change(
        self, request: pb.SubmitChangeRequest, call: Call
    ) -> pb.SubmitChangeResponse:
        """Take what is in an attempt's worktree as its change, and queue it for landing."""
        del call
        check_worker("worker", request.worker)
        check_attempt("attempt", request.attempt)
        check_text("title", request.title, _TITLE_BYTES_MAX)
        if request.HasField("cost"):
            check_money("cost", request.cost)
        row = await self._to_its_end(self._rooms.attempts.submit(request))
        self._merging.wake()
        self._reporting.wake()
        return pb.SubmitChangeResponse(change=row.change)

    async def teardown_worktree(
        self, request: pb.TeardownWorktreeRequest, call: Call
    ) -> pb.TeardownWorktreeResponse:
        """Keep what is in a worker's worktree and remove it."""
        del call
        check_worker("worker", request.worker)
        teardown = self._rooms.attempts.tear_down(request.worker)
        snapshot = await self._to_its_end(teardown)
        self._rooms.looking.wake()
        return pb.TeardownWorktreeResponse(snapshot=snapshot)

    async def watch_integrator_events(
        self, request: pb.WatchIntegratorEventsRequest, call: Call
    ) -> AsyncIterator[pb.WatchIntegratorEventsResponse]:
        """Send events after a number, and new ones as they come."""
        del call
        async for events in self._rooms.store.watch(request.after):
            yield pb.WatchIntegratorEventsResponse(events=events)

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work that is not undone when its caller goes away."""
        task = asyncio.ensure_future(work)
        self._underway.add(task)
        task.add_done_callback(self._underway.discard)
        return await asyncio.shield(task)

    async def _pause(self, message: str) -> None:
        """Cut off the step that is under way, so that none lands after the answer."""
        runs = await self._merging.stop()
        await self._rooms.pauses.hold(message)
        if runs:
            self._merging.start()

    async def _merge_queue(self) -> pb.MergeQueue:
        target = self._rooms.target
        standing = await target.read()
        queue = pb.MergeQueue(target=target.branch, paused=self._rooms.store.paused())
        if standing is not None:
            queue.landing_branch = standing.branch
            queue.target_commit = standing.tip
        if full := self._rooms.full_disk():
            queue.paused.CopyFrom(common_pb2.Reason(code="DISK_FULL", message=full))
        return queue

    async def _merge(self) -> float:
        rooms = self._rooms
        try:
            await rooms.submissions.hand_over_rest()
            busy = await rooms.merging.step()
            if not busy and self._steps % _FOLLOW_EVERY == 0:
                await rooms.merging.bring_along()
        except GitError as error:
            await rooms.pauses.begin("GIT_FAILED", str(error))
            raise
        finally:
            self._reporting.wake()
        self._steps += 1
        if busy:
            self._rooms.looking.wake()
        return 0.0 if busy else self._settings.poll_s

    async def _renew(self) -> float:
        await self._rooms.keeper.renew()
        return self._settings.renew_s

    async def _report(self) -> float:
        await self._rooms.reporter.send()
        return self._settings.renew_s


async def _furnish(
    context: ServiceContext,
    settings: IntegratorSettings,
    repository: Repository,
    target: Target,
    *,
    store: IntegratorStore,
    table: ConflictTable,
) -> Rooms:
    metrics = IntegratorMetrics(context.registry)
    snapshots = Snapshots(repository)
    await snapshots.open()
    worktrees = Worktrees(repository, snapshots, _worktrees(context), target.branch)
    queue = QueueLink(context.channel("queue"), context.project)
    merger = Merger(repository)
    checker = Checker(repository, settings.check, settings.check_timeout_s)
    judge = Judge(store, checker, context.environment, metrics)
    checkout = CheckoutFollower(repository, store, target)
    submissions = Submissions(
        queue, merger, repository=repository, store=store, target=target, metrics=metrics
    )
    attempts = Attempts(
        worktrees,
        submissions,
        repository=repository,
        store=store,
        target=target,
        settings=settings,
    )
    pauses = Pauses(store, context.environment)
    parts = Parts(repository, store, target, merger, judge, queue, checkout, pauses, metrics)
    may_land = bool(settings.check) or settings.no_check
    merging = MergeQueue(parts, may_land=may_land, squash=settings.history == "squash")
    radar = Radar(
        attempts,
        target,
        repository,
        table=table,
        environment=context.environment,
        metrics=metrics,
    )
    return Rooms(
        store,
        target,
        attempts,
        radar,
        RadarLoop(radar, _worktrees(context), repository.common_folder),
        submissions,
        merging,
        pauses,
        judge,
        LeaseKeeper(store, queue, merging, judge),
        Reporter(store, queue),
        repository.full_disk,
    )


def _no_branch(branch: str) -> CoordError:
    return invalid_argument(
        "NO_TARGET",
        f"the repository has no branch {branch!r}: make a first commit, or name another branch"
        " with --target",
    )


async def _check_names(repository: Repository, target: str) -> None:
    """Refuse a branch whose name takes the place of Coord's own ones: git can have only either."""
    if target.startswith(names.OWN_BRANCHES):
        message = f"{target!r} is a branch of Coord's own: name one of yours with --target"
        raise invalid_argument("NO_TARGET", message)
    refs = await repository.user.text("for-each-ref", "--format=%(refname)", f"{_HEADS}coord")
    branches = [ref.removeprefix(_HEADS) for ref in refs.splitlines()]
    blocking = next(iter(names.in_the_way(branches, target)), None)
    if blocking is not None:
        raise failed_precondition(
            "BRANCH_IN_THE_WAY",
            f"with a branch {blocking!r}, git cannot have Coord's own branches, such as"
            f" {names.landing_branch(target)!r}: rename it, as by git branch -m {blocking} NAME",
            branch=blocking,
        )


def _worktrees(context: ServiceContext) -> Path:
    return context.folder.resolve().parent / "worktrees"


def _no_repository(path: Path, error: Exception) -> CoordError:
    if isinstance(error, GitError) and error.status < 0:
        # That says nothing of the repository.
        return unavailable("GIT_ENDED", f"git was killed: {error}", retry_after_ns=SECOND)
    return invalid_argument("NO_REPOSITORY", f"{path} is not a git repository: {error}")
