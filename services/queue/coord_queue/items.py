"""What one item of a batch does within the transaction, and how it is answered."""

from collections.abc import Callable
from typing import Any

from coord.times import timestamp
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb

from coord_queue.schema import (
    LIVE,
    UNSUCCESSFUL,
    TaskRow,
    attempts_by_token,
    task_rows,
)
from coord_queue.transitions import Moves


def attempt_of(report: Any) -> common_pb2.AttemptRef:
    """Return the attempt that a report is about."""
    return report if isinstance(report, common_pb2.AttemptRef) else report.attempt


def is_live(row: TaskRow, attempt: common_pb2.AttemptRef, worker: str) -> bool:
    """Tell whether a report is about the live attempt, and its worker's own."""
    mine = not worker or row.worker == worker
    return mine and row.token == attempt.fencing_token and row.state in LIVE


def holds(row: TaskRow, attempt: common_pb2.AttemptRef, worker: str) -> bool:
    """Tell whether a report may end an attempt: in MERGING its worker does not hold it."""
    handed_over = bool(worker) and row.state == pb.TASK_STATE_MERGING
    return is_live(row, attempt, worker) and not handed_over


def ended_for(moves: Moves, attempt: common_pb2.AttemptRef, reason: pb.FailureReason) -> bool:
    """Tell whether an attempt has ended for this reason: the report of it comes again."""
    token = attempt.fencing_token
    ended = attempts_by_token(moves.transaction.sql, [token]).get(token)
    return ended is not None and ended.HasField("ended_at") and ended.reason == reason


def report_one(
    row: TaskRow | None,
    task_id: str,
    moves: Moves,
    item: Any,
    report: Callable[[Moves, TaskRow, Any], bool],
) -> pb.ReportResult:
    """Apply a report to its task, and answer it."""
    if row is None:
        return pb.ReportResult(task_id=task_id, error=_unknown(task_id))
    if report(moves, row, item):
        return pb.ReportResult(task_id=task_id, state=row.state)
    return pb.ReportResult(task_id=task_id, state=row.state, error=_stale(row, item))


def _stale(row: TaskRow, item: Any) -> common_pb2.ItemError:
    token = attempt_of(item).fencing_token
    return common_pb2.ItemError(
        reason="STALE_TOKEN",
        message=f"attempt {token} does not hold task {row.id!r} (any more); stop it",
        metadata={"state": pb.TaskState.Name(row.state), "token": str(row.token)},
    )


def _unknown(task_id: str) -> common_pb2.ItemError:
    message = f"there is no task {task_id!r}"
    return common_pb2.ItemError(reason="TASK_NOT_FOUND", message=message)


def assign_one(
    moves: Moves, task_id: str, row: TaskRow | None, worker: str
) -> pb.AssignTasksResult:
    """Give a named task to a worker if it is ready."""
    if row is None:
        return pb.AssignTasksResult(task_id=task_id, error=_unknown(task_id))
    waits = row.deps_left > 0 or row.not_before_ns > moves.transaction.now_ns
    if row.state != pb.TASK_STATE_PENDING or waits:
        error = common_pb2.ItemError(
            reason="NOT_READY",
            message=f"task {task_id!r} is not ready",
            metadata={"state": pb.TaskState.Name(row.state)},
        )
        return pb.AssignTasksResult(task_id=task_id, error=error)
    return pb.AssignTasksResult(task_id=task_id, lease=lease_one(moves, row, worker))


def lease_one(moves: Moves, row: TaskRow, worker: str) -> pb.Lease:
    """Give a ready task to a worker."""
    spec, sql = pb.TaskSpec.FromString(row.spec), moves.transaction.sql
    earlier = attempts_by_token(sql, [row.token])[row.token] if row.token else None
    moves.assign(row, worker)
    attempt = pb.Attempt(
        number=earlier.number + 1 if earlier else 1,
        fencing_token=row.token,
        worker=worker,
        assigned_at=timestamp(moves.transaction.now_ns),
    )
    return pb.Lease(spec=spec, attempt=attempt, previous=earlier)


def cancel_one(moves: Moves, task_id: str, message: str) -> pb.ReportResult:
    """End a task by the operator's word."""
    row = task_rows(moves.transaction.sql, moves.project, [task_id]).get(task_id)
    if row is None:
        return pb.ReportResult(task_id=task_id, error=_unknown(task_id))
    if row.state != pb.TASK_STATE_PENDING and row.state not in LIVE:
        error = common_pb2.ItemError(
            reason="TASK_ENDED", message=f"task {task_id!r} has ended already"
        )
        return pb.ReportResult(task_id=task_id, state=row.state, error=error)
    moves.cancel(row, message)
    return pb.ReportResult(task_id=task_id, state=row.state)


def retry_one(moves: Moves, task_id: str) -> pb.ReportResult:
    """Make an ended task PENDING again."""
    row = task_rows(moves.transaction.sql, moves.project, [task_id]).get(task_id)
    if row is None:
        return pb.ReportResult(task_id=task_id, error=_unknown(task_id))
    if row.state not in UNSUCCESSFUL or moves.blocked(row):
        name = pb.TaskState.Name(row.state).removeprefix("TASK_STATE_")
        message = f"task {task_id!r} is {name}: there is nothing to try again"
        if row.state in UNSUCCESSFUL:
            message = f"task {task_id!r} waits for one that failed: retry that one"
        error = common_pb2.ItemError(reason="NOT_RETRYABLE", message=message)
        return pb.ReportResult(task_id=task_id, state=row.state, error=error)
    moves.retry(row)
    return pb.ReportResult(task_id=task_id, state=row.state)


def directive(
    row: TaskRow | None, attempt: common_pb2.AttemptRef, worker: str
) -> pb.LeaseDirective:
    """Tell whether an attempt is to go on."""
    if row is not None and is_live(row, attempt, worker):
        return pb.LEASE_DIRECTIVE_CONTINUE
    mine = row is not None and row.token == attempt.fencing_token
    if row is not None and mine and row.state == pb.TASK_STATE_CANCELLED:
        return pb.LEASE_DIRECTIVE_CANCEL
    return pb.LEASE_DIRECTIVE_REVOKE
