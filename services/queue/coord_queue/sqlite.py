"""The embedded store: SQLite is the state machine."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from coord.environment import Random
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord_runtime.calls import Once
from coord_runtime.database import Database, Transaction

from coord_queue.adding import add_batch
from coord_queue.items import (
    assign_one,
    attempt_of,
    cancel_one,
    directive,
    ended_for,
    holds,
    is_live,
    lease_one,
    report_one,
    retry_one,
)
from coord_queue.schema import (
    LIVE,
    TASK_COLUMNS,
    UNSUCCESSFUL,
    TaskRow,
    attempts_by_token,
    attempts_of,
    task_rows,
    without_bodies,
)
from coord_queue.store import Page
from coord_queue.transitions import Moves

R = TypeVar("R")

_READY = (
    f"SELECT {TASK_COLUMNS} FROM tasks WHERE project = ? AND state = {pb.TASK_STATE_PENDING}"  # noqa: S608 - names are constants, values parameters.
    " AND deps_left = 0 AND not_before_ns <= ? ORDER BY priority, number"
)
_LIVE = ", ".join(str(state) for state in sorted(LIVE))


class SqliteQueueStore:
    """A `QueueStore` in one SQLite file."""

    def __init__(self, database: Database, now_ns: Callable[[], int], chance: Random) -> None:
        self._database = database
        self._now_ns = now_ns
        self._chance = chance

    async def add(
        self, project: str, specs: Sequence[pb.TaskSpec], once: Once | None
    ) -> pb.AddTasksResponse:
        """Add tasks, all or none."""
        return await self._write(project, partial(add_batch, specs=specs), once)

    async def assign(
        self, project: str, worker: str, task_ids: Sequence[str], once: Once | None
    ) -> pb.AssignTasksResponse:
        """Give named tasks to a worker, where they are ready."""

        def operation(moves: Moves) -> pb.AssignTasksResponse:
            rows = task_rows(moves.transaction.sql, project, task_ids)
            results = [assign_one(moves, one, rows.get(one), worker) for one in task_ids]
            return pb.AssignTasksResponse(results=results)

        return await self._write(project, operation, once)

    async def cancel(
        self, project: str, task_ids: Sequence[str], message: str, once: Once | None
    ) -> pb.CancelTasksResponse:
        """End tasks, and abort their dependents."""

        def operation(moves: Moves) -> pb.CancelTasksResponse:
            results = [cancel_one(moves, one, message) for one in task_ids]
            return pb.CancelTasksResponse(results=results)

        return await self._write(project, operation, once)

    async def complete(self, request: pb.CompleteTasksRequest) -> list[pb.ReportResult]:
        """End attempts with success, and count down their dependents."""

        def report(moves: Moves, row: TaskRow, completion: pb.Completion) -> bool:
            if holds(row, completion.attempt, request.worker):
                moves.complete(row, completion)
                return True
            done = pb.TASK_STATE_COMPLETE
            return row.state == done and row.token == completion.attempt.fencing_token

        return await self._report(request.project, request.completions, report)

    async def expire(self, project: str, tokens: Sequence[int]) -> int:
        """End those attempts that still live, their workers lost; return how many."""

        def operation(moves: Moves) -> int:
            query = (
                f"SELECT {TASK_COLUMNS} FROM tasks"  # noqa: S608 - names are constants, values parameters.
                f" WHERE project = ? AND token = ? AND state IN ({_LIVE})"
            )
            rows = [
                TaskRow(*found)
                for token in tokens
                for found in moves.transaction.sql.execute(query, (project, token))
            ]
            for row in rows:
                failure = pb.Failure(
                    reason=pb.FAILURE_REASON_WORKER_LOST,
                    message=f"the lease of worker {row.worker} expired",
                )
                moves.fail(row, failure)
            return len(rows)

        return await self._write(project, operation)

    async def fail(self, request: pb.FailTasksRequest) -> list[pb.ReportResult]:
        """End attempts without success, and decide what follows."""

        def report(moves: Moves, row: TaskRow, failure: pb.Failure) -> bool:
            if holds(row, failure.attempt, request.worker):
                moves.fail(row, failure)
                return True
            return ended_for(moves, failure.attempt, failure.reason)

        return await self._report(request.project, request.failures, report)

    async def lease(
        self,
        project: str,
        worker: str,
        max_tasks: int,
        capabilities: frozenset[str],
        once: Once | None,
    ) -> pb.LeaseTasksResponse:
        """Give the first ready tasks that need no more than `capabilities` to a worker."""

        def operation(moves: Moves) -> pb.LeaseTasksResponse:
            rows = self._able(moves.transaction, project, max_tasks, capabilities)
            return pb.LeaseTasksResponse(leases=[lease_one(moves, row, worker) for row in rows])

        return await self._write(project, operation, once)

    async def release(self, request: pb.ReleaseTasksRequest) -> list[pb.ReportResult]:
        """End attempts as if they had not been."""

        def report(moves: Moves, row: TaskRow, release: pb.Release) -> bool:
            if holds(row, release.attempt, request.worker):
                moves.release(row, release)
                return True
            return ended_for(moves, release.attempt, pb.FAILURE_REASON_RELEASED)

        return await self._report(request.project, request.releases, report)

    async def report_progress(self, project: str, renewals: Sequence[pb.LeaseRenewal]) -> None:
        """Store the progress of attempts that live."""

        def operation(moves: Moves) -> None:
            rows = task_rows(
                moves.transaction.sql, project, (one.attempt.task_id for one in renewals)
            )
            for renewal in renewals:
                row = rows.get(renewal.attempt.task_id)
                if row is not None and holds(row, renewal.attempt, ""):
                    moves.set_progress(row.token, renewal.progress)

        await self._write(project, operation)

    async def retry(
        self, project: str, task_ids: Sequence[str], once: Once | None
    ) -> pb.RetryTasksResponse:
        """Make ended tasks PENDING again, and revive their dependents."""

        def operation(moves: Moves) -> pb.RetryTasksResponse:
            return pb.RetryTasksResponse(results=[retry_one(moves, one) for one in task_ids])

        return await self._write(project, operation, once)

    async def start(self, request: pb.StartTasksRequest) -> list[pb.ReportResult]:
        """Move attempts to RUNNING."""

        def report(moves: Moves, row: TaskRow, attempt: common_pb2.AttemptRef) -> bool:
            if not is_live(row, attempt, request.worker):
                return False
            if row.state == pb.TASK_STATE_ASSIGNED:
                moves.start([row])
            return True

        return await self._report(request.project, request.attempts, report)

    async def submit(self, request: pb.SubmitTasksRequest) -> list[pb.ReportResult]:
        """Move attempts to MERGING."""

        def report(moves: Moves, row: TaskRow, attempt: common_pb2.AttemptRef) -> bool:
            if not is_live(row, attempt, request.worker):
                return False
            if row.state != pb.TASK_STATE_MERGING:
                moves.submit([row])
            return True

        return await self._report(request.project, request.attempts, report)

    def directives(
        self, project: str, worker: str, renewals: Sequence[pb.LeaseRenewal]
    ) -> list[pb.LeaseDirective]:
        """Tell, for each attempt, whether it is to go on."""
        ids = [one.attempt.task_id for one in renewals]
        rows = self._database.read(lambda sql: task_rows(sql, project, ids))
        return [directive(rows.get(one.attempt.task_id), one.attempt, worker) for one in renewals]

    def live(self) -> list[tuple[str, int]]:
        """Return project and fencing token of every attempt that lives."""
        query = f"SELECT project, token FROM tasks WHERE state IN ({_LIVE})"  # noqa: S608 - names are constants, values parameters.
        return self._database.read(lambda sql: sql.execute(query).fetchall())

    def get(self, project: str, task_id: str) -> pb.Task | None:
        """Return a task with all its attempts."""
        row = self._database.read(lambda sql: task_rows(sql, project, [task_id])).get(task_id)
        if row is None:
            return None
        return row.task(self._database.read(lambda sql: attempts_of(sql, row.number)))

    def list_page(self, project: str, page: Page) -> tuple[list[pb.Task], int]:
        """Return tasks, and the number after which to go on; 0 at the end."""
        tasks: list[pb.Task] = []
        after = page.after
        while rows := self._page(project, after, page):
            after = rows[-1].number
            tasks += self._listed(rows, page)
            if len(tasks) > page.size:
                last = tasks[page.size - 1].spec.id
                number = next(row.number for row in rows if row.id == last)
                return tasks[: page.size], number
        return tasks, 0

    def ready(self, project: str, limit: int) -> list[pb.TaskSpec]:
        """Return the most urgent ready tasks, without prompts and payloads."""
        parameters = (project, self._now_ns(), limit)
        rows = self._database.read(
            lambda sql: sql.execute(f"{_READY} LIMIT ?", parameters).fetchall()
        )
        return [without_bodies(TaskRow(*row).spec) for row in rows]

    def next_ready_ns(self, project: str) -> int:
        """Return when the next task in backoff may be assigned; 0 where there is none."""
        query = (
            f"SELECT coalesce(min(not_before_ns), 0) FROM tasks"  # noqa: S608 - names are constants, values parameters.
            f" WHERE project = ? AND state = {pb.TASK_STATE_PENDING} AND deps_left = 0"
            " AND not_before_ns > ?"
        )
        parameters = (project, self._now_ns())
        return int(self._database.read(lambda sql: sql.execute(query, parameters).fetchone())[0])

    def stats(self, project: str) -> pb.GetQueueStatsResponse:
        """Return the counts."""
        query = "SELECT state, count(*) FROM tasks WHERE project = ? GROUP BY state ORDER BY state"
        ready = f"SELECT count(*) FROM ({_READY})"  # noqa: S608 - names are constants, values parameters.
        counts = self._database.read(lambda sql: sql.execute(query, (project,)).fetchall())
        parameters = (project, self._now_ns())
        number = self._database.read(lambda sql: sql.execute(ready, parameters).fetchone())[0]
        final = UNSUCCESSFUL | {pb.TASK_STATE_COMPLETE}
        return pb.GetQueueStatsResponse(
            counts=[pb.TaskStateCount(state=state, count=count) for state, count in counts],
            ready=number,
            ended=sum(count for state, count in counts if state in final),
        )

    def unfinished_deps(self, project: str, task_id: str) -> list[tuple[str, pb.TaskState]]:
        """Return the dependencies of a task that are not COMPLETE."""
        query = (
            "SELECT dep.id, dep.state FROM tasks AS task"
            " JOIN dependents ON dependents.task = task.number"
            " JOIN tasks AS dep ON dep.number = dependents.dep"
            " WHERE task.project = ? AND task.id = ? AND dep.state != ?"
            " ORDER BY dep.number"
        )
        parameters = (project, task_id, pb.TASK_STATE_COMPLETE)
        return self._database.read(lambda sql: sql.execute(query, parameters).fetchall())

    def watch(self, project: str, after: int) -> AsyncIterator[list[pb.QueueEvent]]:
        """Yield events after a number, then new ones as they come."""
        return self._database.watch(project, after, pb.QueueEvent)

    async def close(self) -> None:
        """Close the store."""
        await self._database.close()

    async def _write(
        self, project: str, operation: Callable[[Moves], R], once: Once | None = None
    ) -> R:
        return await self._database.write(
            lambda transaction: operation(Moves(transaction, project, self._chance)), once
        )

    async def _report(
        self, project: str, items: Iterable[Any], report: Callable[[Moves, TaskRow, Any], bool]
    ) -> list[pb.ReportResult]:
        """Apply reports one after another; each is told whether it had its effect."""
        reports = list(items)

        def operation(moves: Moves) -> list[pb.ReportResult]:
            ids = [attempt_of(one).task_id for one in reports]
            rows = task_rows(moves.transaction.sql, project, ids)
            return [
                report_one(rows.get(task_id), task_id, moves, one, report)
                for task_id, one in zip(ids, reports, strict=True)
            ]

        return await self._write(project, operation)

    def _able(
        self, transaction: Transaction, project: str, limit: int, capabilities: frozenset[str]
    ) -> list[TaskRow]:
        able: list[TaskRow] = []
        for found in transaction.sql.execute(_READY, (project, transaction.now_ns)):
            row = TaskRow(*found)
            if capabilities.issuperset(pb.TaskSpec.FromString(row.spec).required_capabilities):
                able.append(row)
                if len(able) == limit:
                    break
        return able

    def _page(self, project: str, after: int, page: Page) -> list[TaskRow]:
        query = (
            f"SELECT {TASK_COLUMNS} FROM tasks WHERE project = ? AND number > ?"  # noqa: S608 - names are constants, values parameters.
            " AND (? = '' OR worker = ?) ORDER BY number LIMIT ?"
        )
        parameters = (project, after, page.worker, page.worker, page.size + 1)
        rows = self._database.read(lambda sql: sql.execute(query, parameters).fetchall())
        return [TaskRow(*row) for row in rows]

    def _listed(self, rows: Sequence[TaskRow], page: Page) -> list[pb.Task]:
        chosen = [row for row in rows if not page.states or row.state in page.states]
        tokens = [row.token for row in chosen if row.token]
        attempts = self._database.read(lambda sql: attempts_by_token(sql, tokens))
        tasks = [row.task([attempts[row.token]] if row.token else []) for row in chosen]
        for task in tasks:
            task.spec.ClearField("prompt")
            task.spec.ClearField("payload")
        return [task for task in tasks if page.labels.items() <= dict(task.spec.labels).items()]
