"""What happens to a worker's worktree, from an attempt's set-up to its submission and removal."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import structlog
from coord.errors import CoordError, failed_precondition, not_found, unavailable
from coord.times import SECOND
from coord.v1 import common_pb2, integrator_pb2

from coord_integrator import names
from coord_integrator.branch_table import BranchTable, OwnBranch
from coord_integrator.git import GitError
from coord_integrator.provision import copy_included, run_setup
from coord_integrator.repository import Repository
from coord_integrator.settings import IntegratorSettings
from coord_integrator.store import UNFINISHED, ChangeRow, IntegratorStore, WorktreeRow
from coord_integrator.submissions import Submissions
from coord_integrator.target import Target
from coord_integrator.worktrees import Kept, Worktrees

log = structlog.get_logger(__name__)


class Attempts:
    """Serves attempts: one step at a time for each worker."""

    def __init__(
        self,
        worktrees: Worktrees,
        submissions: Submissions,
        *,
        repository: Repository,
        store: IntegratorStore,
        target: Target,
        branches: BranchTable,
        settings: IntegratorSettings,
    ) -> None:
        self._branches = branches
        self._worktrees = worktrees
        self._submissions = submissions
        self._repository = repository
        self._store = store
        self._target = target
        self._settings = settings
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def set_up(self, worker: str, attempt: common_pb2.AttemptRef) -> integrator_pb2.Worktree:
        """Make a worktree ready for an attempt; see SetupWorktree."""
        async with self._locks[worker]:
            row = await self._store.claim_worktree(worker, attempt)
            try:
                if row.ready and await self._worktrees.is_whole(row.place):
                    return self.worktree(row)
                return await self._prepare(row)
            except (GitError, OSError) as error:
                raise self._excused(_setup_failed(str(error))) from error

    async def snapshot(
        self, worker: str, ended: Sequence[common_pb2.AttemptRef]
    ) -> integrator_pb2.Snapshot | None:
        """Keep what is in a worktree; see SnapshotWorktree."""
        async with self._locks[worker]:
            row = self._store.worktree(worker)
            if row is None or row.removed:
                raise _no_worktree(worker)
            tip = await self.tip()
            kept = await self._keep(row, tip)
            for attempt in ended:
                await self._store.worktree_said_to_have_ended(worker, attempt.fencing_token)
            # Commits that were taken back are kept, too, but are no change.
            empty = kept and await self._repository.changes_nothing(kept.commit, tip)
            return None if empty else kept

    async def restore(
        self, worker: str, attempt: common_pb2.AttemptRef, ref: str
    ) -> integrator_pb2.RestoreSnapshotResponse:
        """Put what a snapshot holds into a worktree; see RestoreSnapshot."""
        async with self._locks[worker]:
            row = _serving(self._store.worktree(worker), attempt)
            if self._store.change(names.change_id(attempt.task_id, attempt.fencing_token)):
                raise failed_precondition("STALE_TOKEN", "the attempt has submitted its change")
            commit = await self._repository.kept_commit(ref)
            if commit is None:
                raise not_found("SNAPSHOT_NOT_FOUND", f"no snapshot is kept under {ref!r}")
            tip = await self.tip()
            kept = await self._keep(row, tip)
            head = await self._repository.parent(commit)
            try:
                await self._repository.hand_over(commit, ref)
                await self._worktrees.restore(row.place, head, commit)
            except (GitError, OSError) as error:
                raise self._excused(_setup_failed(str(error))) from error
            base = await self._repository.merge_base(head, tip) or head
            worktree = await self._record(replace(row, base=base))
            return integrator_pb2.RestoreSnapshotResponse(worktree=worktree, kept=kept)

    async def submit(self, request: integrator_pb2.SubmitChangeRequest) -> ChangeRow:
        """Make a change of what is in a worktree; see SubmitChange."""
        async with self._locks[request.worker]:
            row = await self._recorded(request)
            waits = row.change.state == integrator_pb2.CHANGE_STATE_QUEUED
            if not waits or row.handed_over:
                return row
            return await self._submissions.hand_over(row, await self.tip())

    async def tear_down(self, worker: str) -> integrator_pb2.Snapshot | None:
        """Keep what is in a worktree and remove it; see TeardownWorktree."""
        async with self._locks[worker]:
            row = self._store.worktree(worker)
            if row is None or row.removed:
                return None
            return await self._remove(row)

    async def remove_idle(self, row: WorktreeRow, before_ns: int) -> bool:
        """Remove a worktree whose change has ended, and in which git was not used since then.

        Returns:
            Whether that was so.
        """
        async with self.at_rest(row.worker) as at_rest:
            idle = row.ready and self._has_ended(row) and row == self._store.worktree(row.worker)
            if not at_rest or not idle or self._worktrees.used_ns(row.worker) >= before_ns:
                return False
            await self._remove(row)
            return True

    async def drop_left(self, own: OwnBranch) -> None:
        """Delete a branch that no attempt needs, once it holds nothing that has not landed."""
        async with self.at_rest(own.worker) as at_rest:
            row = self._store.worktree(own.worker)
            if at_rest and (row is None or row.branch != own.branch):
                await self._drop(own.branch, own.base, await self.tip())

    def live(self) -> list[WorktreeRow]:
        """Return the worktrees that serve an attempt which goes on, or whose change does."""
        ready = [row for row in self.rows() if row.ready and not row.ended]
        return [row for row in ready if not self._has_ended(row)]

    def rows(self) -> list[WorktreeRow]:
        """Return all worktrees that were not removed."""
        return self._store.worktrees()

    @asynccontextmanager
    async def at_rest(self, worker: str) -> AsyncIterator[bool]:
        """Let nobody reset or remove a worktree meanwhile; False where somebody is at it."""
        lock = self._locks[worker]
        if lock.locked():
            yield False
            return
        async with lock:
            yield True

    def folder(self, worker: str) -> Path:
        """Return the top folder of a worker's worktree."""
        return self._worktrees.path(worker)

    async def tip(self) -> str:
        """Return the newest landed commit.

        Raises:
            CoordError: FAILED_PRECONDITION with reason NO_TARGET where there is no target.
        """
        standing = await self._target.read()
        if standing is None:
            branch = self._target.branch
            raise failed_precondition("NO_TARGET", f"the repository has no branch {branch!r}")
        return standing.tip

    def worktree(self, row: WorktreeRow) -> integrator_pb2.Worktree:
        """Return a worktree as the contract tells of it."""
        attempt = common_pb2.AttemptRef(task_id=row.fence_task, fencing_token=row.fence)
        return integrator_pb2.Worktree(
            worker=row.worker,
            attempt=attempt,
            path=str(self._worktrees.path(row.worker)),
            branch=row.branch,
            base_commit=row.base,
        )

    async def _remove(self, row: WorktreeRow) -> integrator_pb2.Snapshot | None:
        tip = await self.tip()
        try:
            kept = await self._worktrees.remove(row.place, tip)
        except (GitError, OSError) as error:
            raise self._excused(_not_kept(row.worker, error)) from error
        snapshot = await self._tell(row.worker, kept)
        await self._store.worktree_removed(row.worker)
        await self._drop(row.branch, row.base, tip)
        return snapshot

    async def _drop(self, branch: str, base: str, tip: str) -> None:
        if await self._worktrees.drop_branch(branch, base, tip):
            await self._branches.remove(branch)

    def _has_ended(self, row: WorktreeRow) -> bool:
        stored = self._store.change(names.change_id(row.fence_task, row.fence))
        return stored is not None and stored.change.state not in UNFINISHED

    async def _prepare(self, row: WorktreeRow) -> integrator_pb2.Worktree:
        tip = await self.tip()
        await self._clear(row, tip)
        branch = await self._worktrees.free_branch(row.worker, row.fence_task, row.fence)
        await self._branches.add(OwnBranch(row.worker, branch, tip))
        is_new = await self._worktrees.reset(row.place, branch, row.fence, tip)
        await self._provide(row, needs_setup=is_new or not row.set_up)
        ready = replace(
            row, ready=True, token=row.fence, branch=branch, base=tip, set_up=True, removed=False
        )
        worktree = await self._record(ready)
        if row.branch and row.branch != branch:
            await self._drop(row.branch, row.base, tip)
        return worktree

    async def _record(self, row: WorktreeRow) -> integrator_pb2.Worktree:
        worktree = self.worktree(row)
        await self._store.worktree_ready(row, worktree)
        return worktree

    async def _clear(self, row: WorktreeRow, tip: str) -> None:
        """Keep what a worktree holds; where git cannot, the folder itself goes to a safe place."""
        try:
            await self._keep(row, tip)
        except CoordError as error:
            if error.reason == "DISK_FULL":
                raise
            places = await self._worktrees.set_aside(row.place)
            log.warning(
                "a worktree is kept as a folder", places=list(map(str, places)), why=str(error)
            )

    async def _provide(self, row: WorktreeRow, *, needs_setup: bool) -> None:
        folder = self._worktrees.path(row.worker)
        await copy_included(self._repository, folder)
        command = self._settings.setup
        if not command or not needs_setup:
            return
        result = await run_setup(self._repository, folder, command, self._settings.setup_timeout_s)
        if not result.passed:
            message = f"{command!r}: exit {result.exit_status}\n{result.output[-2_000:]}"
            raise self._excused(_setup_failed(message))

    async def _keep(self, row: WorktreeRow, tip: str) -> integrator_pb2.Snapshot | None:
        try:
            kept = await self._worktrees.keep(row.place, tip)
        except (GitError, OSError) as error:
            raise self._excused(_not_kept(row.worker, error)) from error
        return await self._tell(row.worker, kept)

    async def _tell(self, worker: str, kept: Kept | None) -> integrator_pb2.Snapshot | None:
        if kept is None:
            return None
        snapshot = integrator_pb2.Snapshot(ref=kept.ref, commit=kept.capture.commit)
        await self._store.worktree_kept(worker, snapshot)
        return snapshot

    async def _recorded(self, request: integrator_pb2.SubmitChangeRequest) -> ChangeRow:
        attempt = request.attempt
        change_id = names.change_id(attempt.task_id, attempt.fencing_token)
        stored = self._store.change(change_id)
        if stored is not None:
            return stored
        row = _serving(self._store.worktree(request.worker), attempt)
        tip = await self.tip()
        try:
            kept = await self._worktrees.keep(row.place, tip, request.title)
            await self._tell(row.worker, kept)
            return await self._submissions.record(row, request, kept, tip)
        except (GitError, OSError) as error:
            raise self._excused(_not_kept(request.worker, error)) from error

    def _excused(self, error: CoordError) -> CoordError:
        """Return an error, or that a disk is full: then the same call works once there is room."""
        full = self._repository.full_disk()
        return unavailable("DISK_FULL", full, retry_after_ns=SECOND) if full else error


def _serving(row: WorktreeRow | None, attempt: common_pb2.AttemptRef) -> WorktreeRow:
    named = (attempt.fencing_token, attempt.task_id)
    if row is None or not row.ready or row.removed or (row.fence, row.fence_task) != named:
        raise failed_precondition(
            "STALE_TOKEN",
            f"the worktree does not serve attempt {attempt.fencing_token} of {attempt.task_id}",
        )
    return row


def _no_worktree(worker: str) -> CoordError:
    return not_found("WORKTREE_NOT_FOUND", f"worker {worker} has no worktree")


def _setup_failed(message: str) -> CoordError:
    return failed_precondition("SETUP_FAILED", f"the worktree could not be set up: {message}")


def _not_kept(worker: str, error: Exception) -> CoordError:
    return failed_precondition(
        "NOT_KEPT",
        f"what is in the worktree of {worker} cannot be kept, so it is left as it is: {error}",
    )
