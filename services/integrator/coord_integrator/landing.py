"""The merge queue: one change at a time, oldest first, onto the newest target.

    QUEUED -> CHECKING -> LANDING -> LANDED
       |          |          |
       +----------+----------+--> REJECTED | EMPTY | STALE

A change in CHECKING that nobody checks, as after a crash, is QUEUED again. One in LANDING is
finished by comparing the branch with what was recorded before the branch was to move.
"""

import asyncio
from dataclasses import dataclass, replace
from decimal import Decimal

import structlog
from coord.v1 import common_pb2, integrator_pb2, queue_pb2
from coord_runtime.checks import MESSAGE_BYTES_MAX

from coord_integrator import names
from coord_integrator.checkout import CheckoutFollower
from coord_integrator.git import GitError
from coord_integrator.merging import Merge, Merger, clip
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.pauses import Pauses
from coord_integrator.queue_link import QueueLink
from coord_integrator.repository import Repository
from coord_integrator.store import ChangeRow, IntegratorStore, Move, Report
from coord_integrator.target import Standing, Target
from coord_integrator.verdicts import CheckStoppedError, Judge, Outcome, Verdict

State = integrator_pb2.ChangeState

_QUEUED = integrator_pb2.CHANGE_STATE_QUEUED
_CHECKING = integrator_pb2.CHANGE_STATE_CHECKING
_LANDING = integrator_pb2.CHANGE_STATE_LANDING
_LANDED = integrator_pb2.CHANGE_STATE_LANDED
_REJECTED = integrator_pb2.CHANGE_STATE_REJECTED
_EMPTY = integrator_pb2.CHANGE_STATE_EMPTY
_STALE = integrator_pb2.CHANGE_STATE_STALE

_PATHS_SHOWN = 10

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a merge queue works with."""

    repository: Repository
    store: IntegratorStore
    target: Target
    merger: Merger
    judge: Judge
    queue: QueueLink
    checkout: CheckoutFollower
    pauses: Pauses
    metrics: IntegratorMetrics


class MergeQueue:
    """Lands changes."""

    def __init__(self, parts: Parts, *, may_land: bool, squash: bool = False) -> None:
        self._parts = parts
        self._squash = squash
        self._store = parts.store
        self._may_land = may_land
        self._pauses = parts.pauses
        # One check runs at a time.
        self._lock = asyncio.Lock()

    async def step(self) -> bool:
        """Do the next thing; False where there is nothing to do for now.

        On a full disk that is so: a check that fails there says nothing about a change.
        """
        async with self._lock:
            return await self._step()

    async def is_target_green(self) -> bool:
        """Tell whether the check is known to be green on the target as it stands.

        Where it is yet to be merged with what has landed, that merge is checked by itself.
        """
        standing = await self._parts.target.read()
        if standing is None or standing.diverged:
            return True
        return await self._parts.judge.is_vouched_for(standing.tip)

    async def check_target(self) -> common_pb2.Reason | None:
        """Check the target as it stands, without any change; return why nothing lands if it is red.

        Raises:
            CoordError: UNAVAILABLE with reason DISK_FULL.
        """
        async with self._lock:
            standing = await self._parts.target.read()
            if standing is None or standing.diverged:
                return None
            verdict = await self._recheck(standing)
            if verdict.outcome is not Outcome.GREEN:
                return _red(verdict, standing, self._parts.target.branch)
            if self._pauses.is_red:
                await self._pauses.end()
            return None

    async def _step(self) -> bool:
        if self._parts.repository.full_disk():
            return False
        await self._parts.checkout.repair()
        for _, row in self._store.list_changes((_LANDING,)):
            await self._finish(row)
        for _, row in self._store.list_changes((_CHECKING,)):
            await self._move(row, (_CHECKING,), Move(_QUEUED, message="its check is started anew"))
        if self._pauses.is_held:
            return False
        standing = await self._stand()
        if standing is None:
            return False
        waiting = [row for _, row in self._store.list_changes((_QUEUED,)) if row.handed_over]
        self._parts.metrics.waiting.set(len(waiting))
        if not waiting:
            return False
        await self._take(waiting[0], standing)
        return True

    async def bring_along(self) -> None:
        """Bring the user's checkout to what has landed, where that can be done cleanly."""
        standing = await self._parts.target.read()
        if standing is None:
            return
        try:
            await self._parts.checkout.follow(standing)
        except GitError as error:
            log.warning("checkout was not brought along", why=str(error))

    async def _stand(self) -> Standing | None:
        """Return where the target stands, ready for a landing; None where nothing may land."""
        if not self._may_land:
            await self._pauses.begin("NO_CHECK", _NO_CHECK)
            return None
        standing = await self._parts.target.read()
        if standing is None:
            await self._pauses.begin("NO_TARGET", _no_target(self._parts.target.branch))
            return None
        if self._pauses.is_blocked(standing) or await self._is_held(standing):
            return None
        if not await self._is_sound(standing):
            return None
        await self._pauses.end()
        return replace(standing, at=standing.tip)

    async def _is_held(self, standing: Standing) -> bool:
        """Tell whether a checkout has the landing branch itself; a move would be under its feet."""
        holder = await self._parts.target.holder(standing.branch)
        if holder:
            message = (
                f"{standing.branch} is checked out in {holder}: check out something else there"
            )
            await self._pauses.begin("BRANCH_CHECKED_OUT", message)
        return bool(holder)

    async def _is_sound(self, standing: Standing) -> bool:
        """Tell whether the landing branch is at the tip, and the tip is not known to be red."""
        if standing.foreign and not await self._settle_foreign(standing):
            return False
        if standing.diverged:
            await self._join(standing)
            return False
        if self._pauses.is_red and (await self._recheck(standing)).outcome is not Outcome.GREEN:
            return False
        return await self._parts.target.follow(standing)

    async def _recheck(self, standing: Standing) -> Verdict:
        """Judge the target alone; nothing lands while it is red."""
        verdict = await self._parts.judge.judge("", standing.tip, standing.tip)
        if verdict.outcome is not Outcome.GREEN:
            await self._pauses.block(standing, "TARGET_RED", verdict.message)
        return verdict

    async def _settle_foreign(self, standing: Standing) -> bool:
        """Keep what somebody else has put on `coord/<target>`, so that the branch may move back.

        Where no earlier landing is recorded, as in a new state folder, it may well be Coord's own:
        a green run tells.

        Returns:
            False where it is the tip from now on.
        """
        target, foreign = self._parts.target, standing.foreign
        if not target.is_recorded:
            verdict = await self._parts.judge.judge("", foreign, foreign)
            if verdict.outcome is Outcome.GREEN:
                await target.adopt(foreign)
                return False
            await target.adopt(standing.tip)
        if standing.branch != target.branch:
            ref = await target.keep_foreign(foreign)
            log.warning("what nobody has checked is taken off the landing branch", kept=ref)
        return True

    async def _join(self, standing: Standing) -> None:
        """Merge what the user has committed to the target into what has landed, checked."""
        parts = self._parts
        branch = parts.target.branch
        labels = (f"coord/{branch}", branch)
        merge = await parts.merger.merge(standing.tip, standing.target, labels)
        if merge.conflicts:
            message = f"{branch} has commits that conflict with what has landed: {_paths(merge)}"
            await self._pauses.block(standing, "TARGET_CONFLICT", message)
            return
        parents = (standing.tip, standing.target)
        commit = await parts.merger.commit(merge.tree, parents, f"Merge branch '{branch}'\n")
        verdict = await parts.judge.judge("", commit, commit)
        if verdict.outcome is not Outcome.GREEN:
            message = f"merged with what has landed, {branch} is red: {verdict.message}"
            await self._pauses.block(standing, "TARGET_RED", message)
            return
        await parts.repository.hand_over(commit, names.LANDING)
        source = standing.at or None
        await parts.target.move(standing.branch, commit, source, f"follow {branch}")

    async def _take(self, row: ChangeRow, standing: Standing) -> None:
        change = row.change
        labels = (self._parts.target.branch, f"{change.attempt.task_id} (this attempt)")
        merge = await self._parts.merger.merge(standing.tip, change.head_commit, labels)
        if merge.conflicts:
            await self._reject_conflict(row, merge)
            return
        if merge.tree == await self._parts.repository.tree(standing.tip):
            await self._end_empty(row)
            return
        checking = await self._move(row, (_QUEUED,), Move(_CHECKING))
        if checking is not None:
            await self._check(checking, standing, merge.tree)

    async def _check(self, row: ChangeRow, standing: Standing, tree: str) -> None:
        parents = (standing.tip,) if self._squash else (standing.tip, row.change.head_commit)
        merged = await self._parts.merger.commit(tree, parents, landing_message(row))
        try:
            verdict = await self._parts.judge.judge(row.change.change_id, merged, standing.tip)
        except CheckStoppedError:
            return
        if verdict.outcome is Outcome.GREEN:
            await self._land(row, standing, merged, verdict.message)
        elif verdict.outcome is Outcome.RED:
            await self._reject_red(row, verdict)
        else:
            await self._move(row, (_CHECKING,), Move(_QUEUED, message=verdict.message))
            await self._pauses.block(standing, "TARGET_RED", verdict.message)

    async def _land(self, row: ChangeRow, standing: Standing, merged: str, message: str) -> None:
        move = Move(
            _LANDING,
            message=message,
            landed_commit=merged,
            landing_branch=standing.branch,
            landing_from=standing.at,
        )
        landing = await self._move(row, (_CHECKING,), move)
        if landing is not None:
            await self._finish(landing)

    async def _finish(self, row: ChangeRow) -> None:
        """Move the branch, unless that was done before a crash, and say so."""
        if not await self._has_landed(row) and not await self._move_branch(row):
            return
        change = row.change
        message = f"landed on {row.landing_branch}" + (change.message and f"; {change.message}")
        report = queue_pb2.Completion(attempt=change.attempt, message=message)
        move = Move(_LANDED, message, landed_commit=change.landed_commit, report=report)
        await self._move(row, (_LANDING,), move)
        self._parts.metrics.landings.inc()
        await self.bring_along()

    async def _has_landed(self, row: ChangeRow) -> bool:
        standing = await self._parts.target.read()
        if standing is None:
            return False
        return await self._parts.repository.is_ancestor(row.change.landed_commit, standing.tip)

    async def _move_branch(self, row: ChangeRow) -> bool:
        """Move the branch; the change goes back or ends where that must not be.

        The lease is asked for last, when nothing but the move itself is left to do: a task that is
        cancelled until then does not land.
        """
        parts, branch, commit = self._parts, row.landing_branch, row.change.landed_commit
        await parts.repository.hand_over(commit, names.LANDING)
        moved = False
        if not self._pauses.is_held and not await parts.target.holder(branch):
            async with parts.target.about_to_move(branch, commit):
                directive = (await parts.queue.renew([row.change.attempt]))[0]
                if directive != queue_pb2.LEASE_DIRECTIVE_CONTINUE:
                    await self._end_stale(row, (_LANDING,), directive)
                    return False
                source, why = row.landing_from or None, f"land {row.change.change_id}"
                moved = await parts.repository.move_branch(branch, commit, source, why)
        if not moved:
            why = "merging is paused" if self._pauses.is_held else "the target has moved on"
            await self._move(row, (_LANDING,), Move(_QUEUED, message=why))
        return moved

    async def end_stale(self, row: ChangeRow, directive: int) -> None:
        """End a change that is not landing yet, whose lease is gone; its work stays kept."""
        await self._end_stale(row, (_QUEUED, _CHECKING), directive)

    async def _end_stale(self, row: ChangeRow, sources: tuple[State, ...], directive: int) -> None:
        cancelled = directive == queue_pb2.LEASE_DIRECTIVE_CANCEL
        why = "its task was cancelled" if cancelled else "its attempt has lost its lease"
        await self._move(row, sources, Move(_STALE, message=why))

    async def _end_empty(self, row: ChangeRow) -> None:
        message = "the target holds all of it already"
        report = queue_pb2.Completion(attempt=row.change.attempt, message=message)
        await self._move(row, (_QUEUED,), Move(_EMPTY, message, report=report))

    async def _reject_conflict(self, row: ChangeRow, merge: Merge) -> None:
        message = f"conflicts with what has landed since it began: {_paths(merge)}"
        await self._reject(row, queue_pb2.FAILURE_REASON_CONFLICT, message, merge.detail)

    async def _reject_red(self, row: ChangeRow, verdict: Verdict) -> None:
        reason = queue_pb2.FAILURE_REASON_CHECK_FAILED
        await self._reject(row, reason, verdict.message, verdict.output)

    async def _reject(
        self,
        row: ChangeRow,
        reason: queue_pb2.FailureReason,
        message: str,
        detail: str,
    ) -> None:
        message = clip(message, MESSAGE_BYTES_MAX)
        report: Report = queue_pb2.Failure(
            attempt=row.change.attempt, reason=reason, message=message, detail=detail
        )
        move = Move(_REJECTED, message, detail, report=report)
        if await self._move(row, (_QUEUED, _CHECKING), move) is not None:
            name = queue_pb2.FailureReason.Name(reason).removeprefix("FAILURE_REASON_")
            self._parts.metrics.rejections.labels(name.lower()).inc()

    async def _move(
        self, row: ChangeRow, sources: tuple[State, ...], move: Move
    ) -> ChangeRow | None:
        moved = await self._store.move_change(row.change.change_id, sources, move)
        if moved is not None:
            name = integrator_pb2.ChangeState.Name(move.state).removeprefix("CHANGE_STATE_")
            self._parts.metrics.changes.labels(name.lower()).inc()
            log.info("change", change=row.change.change_id, state=name, why=move.message)
        return moved


_NO_CHECK = (
    "no check is configured, so no tree can be known to be green: set integrator.check to the"
    " command that tests the project, or integrator.no_check to land without one"
)


def _no_target(branch: str) -> str:
    return f"the repository has no branch {branch!r}: make it, or set integrator.target"


def _red(verdict: Verdict, standing: Standing, target: str) -> common_pb2.Reason:
    branch = target if standing.tip == standing.target else standing.branch
    where = {"branch": branch, "commit": standing.tip}
    return common_pb2.Reason(code="TARGET_RED", message=verdict.message, metadata=where)


def _paths(merge: Merge) -> str:
    shown = ", ".join(merge.conflicts[:_PATHS_SHOWN])
    more = len(merge.conflicts) - _PATHS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def landing_message(row: ChangeRow) -> str:
    """Return the message of the commit that lands a change."""
    change = row.change
    title = " ".join(row.title.split()) or f"Land {change.attempt.task_id}"
    trailers = [
        f"Coord-Task: {change.attempt.task_id}",
        f"Coord-Worker: {change.worker}",
        f"Coord-Attempt: {change.attempt.fencing_token}",
    ]
    if row.cost.currency:
        amount = Decimal(row.cost.nanos) / 10**9
        trailers.append(f"Coord-Cost: {amount:.4f} {row.cost.currency}")
    return "\n".join([title, "", *trailers, ""])
