"""The integrator's store in SQLite."""

import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any

from coord.errors import failed_precondition
from coord.times import timestamp
from coord.v1 import common_pb2, integrator_pb2, queue_pb2
from coord_runtime.database import Transaction

from coord_integrator.sqlite_runs import SqliteRunStore
from coord_integrator.store import (
    ChangeRow,
    CheckoutMove,
    LandingTip,
    Move,
    Report,
    WorktreeRow,
)

State = integrator_pb2.ChangeState

_WORKTREE = (
    "worker, fence, fence_task, ready, token, branch, base, set_up, removed, said_to_have_ended,"
    " ended"
)
_CHANGE = "number, body, title, cost, target, handed_over, landing_branch, landing_from, landing_to"
_WAITING = (integrator_pb2.CHANGE_STATE_QUEUED, integrator_pb2.CHANGE_STATE_CHECKING)
_RED = queue_pb2.FAILURE_REASON_CHECK_FAILED
_KINDS: dict[str, type[Report]] = {
    "complete": queue_pb2.Completion,
    "fail": queue_pb2.Failure,
}


class SqliteIntegratorStore(SqliteRunStore):
    """The state of one project's integrator. See `IntegratorStore`."""

    async def claim_worktree(self, worker: str, attempt: common_pb2.AttemptRef) -> WorktreeRow:
        """Make an attempt the one that a worktree is to serve."""

        def claim(transaction: Transaction) -> WorktreeRow:
            row = _worktree(transaction.sql, self._project, worker)
            claimed = _claimed(row, worker, attempt)
            if claimed != row:
                self._put_worktree(transaction, claimed)
            return claimed

        return await self._database.write(claim)

    async def worktree_kept(self, worker: str, snapshot: integrator_pb2.Snapshot) -> None:
        """Tell that what was in a worktree was kept."""
        kept = integrator_pb2.WorktreeSnapshotted(worker=worker, snapshot=snapshot)
        event = integrator_pb2.IntegratorEvent(worktree_snapshotted=kept)
        await self._database.write(lambda transaction: transaction.emit(self._project, event))

    async def worktree_ready(self, row: WorktreeRow, worktree: integrator_pb2.Worktree) -> None:
        """Record that a worktree serves its attempt."""
        ready = integrator_pb2.WorktreeReady(worktree=worktree)

        def record(transaction: Transaction) -> None:
            self._put_worktree(transaction, row)
            event = integrator_pb2.IntegratorEvent(worktree_ready=ready)
            transaction.emit(self._project, event)

        await self._database.write(record)

    async def worktree_said_to_have_ended(self, worker: str, token: int) -> None:
        """Record that an attempt is to end without a change, if a worktree still serves it."""
        query = (
            "UPDATE worktrees SET said_to_have_ended = 1"
            " WHERE project = ? AND worker = ? AND fence = ?"
        )
        await self._execute(query, self._project, worker, token)

    async def worktree_ended(self, worker: str, token: int) -> None:
        """Record that an attempt has ended without a change, if a worktree still serves it."""
        query = "UPDATE worktrees SET ended = 1 WHERE project = ? AND worker = ? AND fence = ?"
        await self._execute(query, self._project, worker, token)

    async def worktree_removed(self, worker: str) -> None:
        """Record that a worktree was removed; its fence stays."""
        removed = integrator_pb2.WorktreeRemoved(worker=worker)

        def record(transaction: Transaction) -> None:
            transaction.sql.execute(
                "UPDATE worktrees SET ready = 0, branch = '', base = '', set_up = 0, removed = 1"
                " WHERE project = ? AND worker = ?",
                (self._project, worker),
            )
            event = integrator_pb2.IntegratorEvent(worktree_removed=removed)
            transaction.emit(self._project, event)

        await self._database.write(record)

    def worktree(self, worker: str) -> WorktreeRow | None:
        """Return a worker's worktree; None where it never had one."""
        return self._database.read(lambda sql: _worktree(sql, self._project, worker))

    def worktrees(self) -> list[WorktreeRow]:
        """Return the worktrees that were not removed, by worker."""
        query = f"SELECT {_WORKTREE} FROM worktrees WHERE project = ? AND NOT removed"  # noqa: S608 - names are constants, values parameters.
        rows = self._rows(f"{query} ORDER BY worker", self._project)
        return [_worktree_row(row) for row in rows]

    async def add_change(self, row: ChangeRow) -> ChangeRow:
        """Record a change that is there for the first time; return the one that is stored."""

        def add(transaction: Transaction) -> ChangeRow:
            stored = _change(transaction.sql, self._project, row.change.change_id)
            return stored or self._insert_change(transaction, row)

        return await self._database.write(add)

    async def hand_over_change(self, change_id: str, category: str, priority: int) -> None:
        """Record that the queue has moved the change's lease here, and what its task is."""

        def record(transaction: Transaction) -> None:
            row = _change(transaction.sql, self._project, change_id)
            if row is None:
                return
            row.change.category, row.change.priority = category, priority
            self._put_body(transaction, row.change)
            query = "UPDATE changes SET handed_over = 1 WHERE project = ? AND change_id = ?"
            transaction.sql.execute(query, (self._project, change_id))

        await self._database.write(record)

    async def reprioritize_change(
        self, change_id: str, priority: int | None, *, urgent: bool | None
    ) -> ChangeRow | None:
        """Set when a change that waits is served; None where there is none such."""

        def record(transaction: Transaction) -> ChangeRow | None:
            row = _change(transaction.sql, self._project, change_id)
            if row is None or row.change.state not in _WAITING:
                return None
            if priority is not None:
                row.change.priority = priority
            if urgent is not None:
                row.change.urgent = urgent
            self._put_body(transaction, row.change)
            self._tell(transaction, row.change)
            return row

        return await self._database.write(record)

    async def move_change(
        self, change_id: str, sources: Collection[State], move: Move
    ) -> ChangeRow | None:
        """Move a change, if it is in one of `sources`; None where it is not."""
        return next(iter(await self.move_changes({change_id: move}, sources)), None)

    async def move_changes(
        self, moves: Mapping[str, Move], sources: Collection[State]
    ) -> list[ChangeRow]:
        """Move changes by id, all at once; none of them unless all are in one of `sources`."""

        def perform(transaction: Transaction) -> list[ChangeRow]:
            rows = [_change(transaction.sql, self._project, change_id) for change_id in moves]
            found = [row for row in rows if row is not None and row.change.state in sources]
            if len(found) < len(moves):
                return []
            return [self._move(transaction, row, moves[row.change.change_id]) for row in found]

        return await self._database.write(perform)

    def change(self, change_id: str) -> ChangeRow | None:
        """Return a change."""
        return self._database.read(lambda sql: _change(sql, self._project, change_id))

    def endings(self, limit: int) -> list[tuple[str, bool]]:
        """Return the newest changes that have landed, or were rejected for a red check."""
        query = (
            "SELECT category, failed FROM endings WHERE project = ? ORDER BY number DESC LIMIT ?"
        )
        rows = self._rows(query, self._project, limit)
        return [(category, bool(failed)) for category, failed in reversed(rows)]

    def list_changes(
        self, states: Collection[State], *, after: int = 0, limit: int = -1
    ) -> list[tuple[int, ChangeRow]]:
        """Return changes in one of `states` (none: all) with their numbers, oldest first."""
        marks = ", ".join("?" * len(states))
        chosen = f" AND state IN ({marks})" if states else ""
        query = (
            f"SELECT {_CHANGE} FROM changes WHERE project = ? AND number > ?{chosen}"  # noqa: S608 - names are constants, values parameters.
            " ORDER BY number LIMIT ?"
        )
        rows = self._rows(query, self._project, after, *states, limit)
        return [(row[0], _change_row(row)) for row in rows]

    def reports(self) -> list[tuple[int, Report]]:
        """Return what the queue has not answered yet, oldest first, by number."""
        query = "SELECT number, kind, body FROM reports WHERE project = ? ORDER BY number"
        rows = self._rows(query, self._project)
        return [(number, _KINDS[kind].FromString(body)) for number, kind, body in rows]

    async def drop_reports(self, numbers: Sequence[int]) -> None:
        """Forget what the queue has answered."""
        rows = [(self._project, number) for number in numbers]
        query = "DELETE FROM reports WHERE project = ? AND number = ?"
        await self._database.write(lambda transaction: transaction.sql.executemany(query, rows))

    async def pause(self, reason: common_pb2.Reason | None) -> bool:
        """Record why nothing lands, or that it does; tell whether that is new."""
        if reason == self.paused():
            return False

        def record(transaction: Transaction) -> None:
            transaction.sql.execute("DELETE FROM pauses WHERE project = ?", (self._project,))
            if reason is not None:
                row = (self._project, reason.SerializeToString())
                transaction.sql.execute("INSERT INTO pauses VALUES (?, ?)", row)
            paused = integrator_pb2.MergingPaused(reason=reason)
            event = integrator_pb2.IntegratorEvent(merging_paused=paused)
            transaction.emit(self._project, event)

        await self._database.write(record)
        return True

    def paused(self) -> common_pb2.Reason | None:
        """Return why nothing lands; None where it does."""
        rows = self._rows("SELECT reason FROM pauses WHERE project = ?", self._project)
        return common_pb2.Reason.FromString(rows[0][0]) if rows else None

    async def put_landing_tip(self, branch: str, tip: LandingTip) -> None:
        """Record where a landing branch is, and where it goes."""
        query = "INSERT OR REPLACE INTO landing_tips VALUES (?, ?, ?, ?)"
        await self._execute(query, self._project, branch, tip.at, tip.to)

    def landing_tip(self, branch: str) -> LandingTip | None:
        """Return where Coord has put a landing branch; None where it never has."""
        query = 'SELECT "at", "to" FROM landing_tips WHERE project = ? AND branch = ?'
        rows = self._rows(query, self._project, branch)
        return LandingTip(*rows[0]) if rows else None

    async def begin_checkout_move(self, move: CheckoutMove) -> None:
        """Record that a checkout is about to be moved."""
        query = "INSERT OR REPLACE INTO checkout_moves VALUES (?, ?, ?, ?, ?)"
        await self._execute(query, self._project, *astuple(move))

    async def end_checkout_move(self) -> None:
        """Record that no checkout is on its way."""
        await self._execute("DELETE FROM checkout_moves WHERE project = ?", self._project)

    def checkout_move(self) -> CheckoutMove | None:
        """Return the move that a crash may have cut off."""
        query = "SELECT path, branch, old, new FROM checkout_moves WHERE project = ?"
        rows = self._rows(query, self._project)
        return CheckoutMove(*rows[0]) if rows else None

    def watch(self, after: int) -> AsyncIterator[list[integrator_pb2.IntegratorEvent]]:
        """Yield the events after a number, and new ones as they come."""
        return self._database.watch(self._project, after, integrator_pb2.IntegratorEvent)

    async def close(self) -> None:
        """Close the store."""
        await self._database.close()

    def _put_worktree(self, transaction: Transaction, row: WorktreeRow) -> None:
        query = "INSERT OR REPLACE INTO worktrees VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        transaction.sql.execute(query, (self._project, *astuple(row)))

    def _insert_change(self, transaction: Transaction, row: ChangeRow) -> ChangeRow:
        change = integrator_pb2.Change()
        change.CopyFrom(row.change)
        change.submitted_at.CopyFrom(timestamp(transaction.now_ns))
        change.changed_at.CopyFrom(timestamp(transaction.now_ns))
        values = (
            self._project,
            change.change_id,
            change.state,
            change.SerializeToString(),
            row.title,
            row.cost.SerializeToString(),
            row.target,
        )
        transaction.sql.execute(
            "INSERT INTO changes (project, change_id, state, body, title, cost, target)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        self._tell(transaction, change)
        return replace(row, change=change)

    def _move(self, transaction: Transaction, row: ChangeRow, move: Move) -> ChangeRow:
        change = row.change
        change.state = move.state
        change.message = move.message
        change.detail = move.detail
        change.landed_commit = move.landed_commit
        change.changed_at.CopyFrom(timestamp(transaction.now_ns))
        self._put_body(transaction, change)
        landing = (move.landing_branch, move.landing_from, move.landing_to)
        transaction.sql.execute(
            "UPDATE changes SET landing_branch = ?, landing_from = ?, landing_to = ?"
            " WHERE project = ? AND change_id = ?",
            (*landing, self._project, change.change_id),
        )
        self._put_ending(transaction, change, move)
        sequence = self._tell(transaction, change)
        if move.report is not None:
            self._put_report(transaction, move.report, sequence)
        return ChangeRow(change, row.title, row.cost, row.target, row.handed_over, *landing)

    def _put_body(self, transaction: Transaction, change: integrator_pb2.Change) -> None:
        transaction.sql.execute(
            "UPDATE changes SET state = ?, body = ? WHERE project = ? AND change_id = ?",
            (change.state, change.SerializeToString(), self._project, change.change_id),
        )

    def _put_ending(
        self, transaction: Transaction, change: integrator_pb2.Change, move: Move
    ) -> None:
        """Record what a change has told of others of its kind."""
        failed = isinstance(move.report, queue_pb2.Failure) and move.report.reason == _RED
        if failed or change.state == integrator_pb2.CHANGE_STATE_LANDED:
            query = "INSERT INTO endings (project, category, failed) VALUES (?, ?, ?)"
            transaction.sql.execute(query, (self._project, change.category, failed))

    def _tell(self, transaction: Transaction, change: integrator_pb2.Change) -> int:
        moved = integrator_pb2.ChangeMoved(change=change)
        event = integrator_pb2.IntegratorEvent(change_moved=moved)
        return transaction.emit(self._project, event)

    def _put_report(self, transaction: Transaction, report: Report, sequence: int) -> None:
        report.cause.CopyFrom(common_pb2.EventRef(service="integrator", sequence=sequence))
        kind = next(name for name, kind in _KINDS.items() if isinstance(report, kind))
        transaction.sql.execute(
            "INSERT INTO reports (project, kind, body) VALUES (?, ?, ?)",
            (self._project, kind, report.SerializeToString()),
        )


def _claimed(row: WorktreeRow | None, worker: str, attempt: common_pb2.AttemptRef) -> WorktreeRow:
    if row is None:
        return WorktreeRow(worker, attempt.fencing_token, attempt.task_id)
    same = (row.fence, row.fence_task) == (attempt.fencing_token, attempt.task_id)
    if not same and attempt.fencing_token <= row.fence:
        raise failed_precondition(
            "STALE_TOKEN",
            f"the worktree of {worker} serves attempt {row.fence} of {row.fence_task}",
            fencing_token=str(row.fence),
        )
    if same and not row.removed:
        return row
    return WorktreeRow(
        worker,
        attempt.fencing_token,
        attempt.task_id,
        token=row.token,
        branch=row.branch,
        base=row.base,
        set_up=row.set_up,
    )


def _worktree(sql: sqlite3.Connection, project: str, worker: str) -> WorktreeRow | None:
    query = f"SELECT {_WORKTREE} FROM worktrees WHERE project = ? AND worker = ?"  # noqa: S608 - names are constants, values parameters.
    row = sql.execute(query, (project, worker)).fetchone()
    return _worktree_row(row) if row else None


def _worktree_row(row: Sequence[Any]) -> WorktreeRow:
    worker, fence, task, ready, token, branch, base, *flags = row
    return WorktreeRow(worker, fence, task, bool(ready), token, branch, base, *map(bool, flags))


def _change(sql: sqlite3.Connection, project: str, change_id: str) -> ChangeRow | None:
    query = f"SELECT {_CHANGE} FROM changes WHERE project = ? AND change_id = ?"  # noqa: S608 - names are constants, values parameters.
    row = sql.execute(query, (project, change_id)).fetchone()
    return _change_row(row) if row else None


def _change_row(row: Sequence[Any]) -> ChangeRow:
    _, body, title, cost, target, handed_over, *landing = row
    change = integrator_pb2.Change.FromString(body)
    money = common_pb2.Money.FromString(cost)
    return ChangeRow(change, title, money, target, bool(handed_over), *landing)
