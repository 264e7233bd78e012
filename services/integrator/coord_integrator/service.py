"""The integrator: one handler for each RPC, and the loops that land changes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

from coord.errors import (
    CoordError,
    failed_precondition,
    invalid_argument,
    unavailable,
)
from coord.times import SECOND
from coord.v1 import integrator_pb2 as pb
from coord_runtime.calls import Call
from coord_runtime.checks import (
    check_attempt,
    check_money,
    check_text,
    check_worker,
)
from coord_runtime.service import ServiceContext

from coord_integrator import names
from coord_integrator.branch_table import BranchTable
from coord_integrator.commands import end_strays
from coord_integrator.conflict_table import ConflictTable
from coord_integrator.filters import Filters
from coord_integrator.git import GitError
from coord_integrator.loops import Loop
from coord_integrator.merge_calls import MergeCalls
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.queue_link import QueueLink
from coord_integrator.radar_calls import RadarCalls
from coord_integrator.repository import Repository
from coord_integrator.room import check_writable
from coord_integrator.rooms import Ground, Rooms, furnish, worktrees_folder
from coord_integrator.schema import MIGRATIONS
from coord_integrator.settings import IntegratorSettings
from coord_integrator.sqlite import SqliteIntegratorStore
from coord_integrator.target import Target, default_target

_HEADS = "refs/heads/"
_TITLE_BYTES_MAX = 1_024


class IntegratorService(MergeCalls, RadarCalls):
    """Holds the worktrees and the merge queue of one repository."""

    NAME: ClassVar[str] = "integrator"
    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["IntegratorService"]
    WORKER_METHODS: ClassVar[frozenset[str]] = frozenset(
        {
            "CheckConflicts",
            "ExplainChange",
            "GetChange",
            "GetConflictMatrix",
            "ListChanges",
            "ListTargetRuns",
            "ListWorktrees",
            "WatchIntegratorEvents",
        }
    )

    def __init__(self, rooms: Rooms, settings: IntegratorSettings) -> None:
        MergeCalls.__init__(self, rooms, settings)
        RadarCalls.__init__(self, rooms.radar, rooms.attempts)
        renewing, reaping = Loop("renewing", self._renew), Loop("reaping", rooms.reaper.step)
        self._loops = (self._merging, renewing, self._reporting, reaping)

    @classmethod
    async def open(cls, context: ServiceContext) -> Self:
        """Open the integrator on its folder and on the user's repository.

        Raises:
            CoordError: INVALID_ARGUMENT with reason NO_REPOSITORY or NO_TARGET;
                FAILED_PRECONDITION with reason BRANCH_IN_THE_WAY, DISK_FULL,
                FILTER_NOT_LISTED, NOT_WRITABLE or PARTIAL_CLONE; UNAVAILABLE with reason
                GIT_ENDED where git was killed while it was asked.
        """
        settings = context.settings(IntegratorSettings)
        folder = context.folder.resolve()
        await end_strays(folder)
        try:
            repository = await Repository.open(settings.repo.expanduser().resolve(), folder)
        except (GitError, OSError) as error:
            raise _no_repository(settings.repo, error) from error
        check_writable(repository.common_folder)
        filters = await Filters.read(repository.user, repository.common_folder, settings.filters)
        own = filters.run_by(repository.own)
        repository = replace(repository, own=own, filters=filters)
        branch = settings.target or await default_target(repository)
        if not branch:
            message = "HEAD is detached: name the branch to land on with --target"
            raise invalid_argument("NO_TARGET", message)
        await _check_names(repository, branch)
        if not await repository.user_commit(f"{_HEADS}{branch}"):
            raise _no_branch(branch)
        if await repository.lacks_objects(f"{_HEADS}{branch}"):
            raise _partial(branch)
        database = await context.open_database(MIGRATIONS)
        store = SqliteIntegratorStore(database, context.project)
        target = Target(repository, store, branch, worktrees_folder(context))
        metrics = IntegratorMetrics(context.registry)
        queue = QueueLink(context.channel("queue"), context.project)
        ground = Ground(
            context,
            settings,
            repository,
            target,
            store,
            BranchTable(database, context.project),
            ConflictTable(database, context.project),
            metrics,
            queue,
        )
        return cls(await furnish(ground), settings)

    async def start(self) -> None:
        """Begin to land changes, to renew their leases and to report."""
        for loop in (*self._loops, self._rooms.looking):
            loop.start()

    async def drain(self, deadline_s: float) -> None:
        """Begin no new check. One that runs is cut off: its change waits until the next start."""
        del deadline_s
        await self._merging.stop()
        await self._rooms.merging.queue.stand_down("its check is started anew")

    async def stop(self) -> None:
        """End the loops and what calls have begun, and close the store."""
        for loop in self._loops:
            await loop.stop()
        await self._rooms.merging.slots.stop_all()
        for task in self._underway:
            task.cancel()
        await asyncio.gather(*self._underway, return_exceptions=True)
        await self._rooms.looking.stop()
        await self._rooms.store.close()

    async def list_worktrees(
        self, request: pb.ListWorktreesRequest, call: Call
    ) -> pb.ListWorktreesResponse:
        """List the worktrees by worker."""
        del request, call
        rows = self._rooms.store.worktrees()
        return pb.ListWorktreesResponse(
            worktrees=[self._rooms.attempts.worktree(row) for row in rows]
        )

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
        snapshot = self._rooms.attempts.snapshot(request.worker, request.ended)
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

    async def _renew(self) -> float:
        if await self._rooms.keeper.renew():
            self._merging.wake()
        if await self._rooms.agreement.reach():
            self._rooms.looking.wake()
        return self._settings.renew_s


def _no_branch(branch: str) -> CoordError:
    return invalid_argument(
        "NO_TARGET",
        f"the repository has no branch {branch!r}: make a first commit, or name another branch"
        " with --target",
    )


def _partial(branch: str) -> CoordError:
    return failed_precondition(
        "PARTIAL_CLONE",
        f"the repository is a partial clone and lacks objects of {branch!r}, and Coord fetches"
        " nothing from elsewhere: get them with `git fetch --refetch --no-filter`",
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


def _no_repository(path: Path, error: Exception) -> CoordError:
    if isinstance(error, GitError) and error.status < 0:
        # That says nothing of the repository.
        return unavailable("GIT_ENDED", f"git was killed: {error}", retry_after_ns=SECOND)
    return invalid_argument("NO_REPOSITORY", f"{path} is not a git repository: {error}")
