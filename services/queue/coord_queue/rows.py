"""Reading tasks and attempts: how their rows become the contract's messages."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from coord.times import timestamp
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb

from coord_queue.schema import HEAD_COLUMNS, LIVE, Head

_TIMES = ("assigned_at", "started_at", "submitted_at", "ended_at")
_ENDED_COLUMNS = (
    "token, attempt, worker, assigned_ns, started_ns, submitted_ns, ended_ns, reason, message,"
    " detail, progress"
)


class TaskRow(NamedTuple):
    """All of a task, in the order of TASK_COLUMNS."""

    number: int
    state: pb.TaskState
    deps_left: int
    attempts_used: int
    workers_lost: int
    not_before_ns: int
    created_ns: int
    ready_ns: int
    changed_ns: int
    reason: pb.FailureReason
    message: str
    attempt: int
    token: int
    worker: str
    assigned_ns: int
    started_ns: int
    submitted_ns: int
    progress: bytes
    spec: bytes
    more_deps: str


TASK_COLUMNS = ", ".join(TaskRow._fields)
TASKS = "tasks JOIN specs ON specs.task = tasks.number"


def ids_json(ids: Iterable[str]) -> str:
    """Return ids as a JSON list, for `json_each`. They hold no character that JSON would escape."""
    return '["' + '","'.join(ids) + '"]'


def heads(sql: sqlite3.Connection, project: str, ids: Sequence[str]) -> dict[str, Head]:
    """Return the heads of those tasks that are there, by id."""
    query = (
        f"SELECT {HEAD_COLUMNS} FROM tasks"  # noqa: S608 - names are constants, values parameters.
        " WHERE project = ? AND id IN (SELECT value FROM json_each(?))"
    )
    rows = sql.execute(query, (project, ids_json(ids))) if ids else ()
    return {row[1]: Head(*row) for row in rows}


def full_spec(spec: bytes, more_deps: str) -> pb.TaskSpec:
    """Return a stored spec with the dependencies that were added later."""
    parsed = pb.TaskSpec.FromString(spec)
    parsed.deps.extend(more_deps.split())
    return parsed


def without_bodies(spec: pb.TaskSpec) -> pb.TaskSpec:
    """Clear prompt and payload of a spec; return it."""
    spec.ClearField("prompt")
    spec.ClearField("payload")
    return spec


def task_of(row: TaskRow, ended: Iterable[pb.Attempt]) -> pb.Task:
    """Return a row as the contract has it.

    Args:
        row: The task.
        ended: Its attempts that have ended without success.
    """
    task = pb.Task(
        spec=full_spec(row.spec, row.more_deps),
        state=row.state,
        attempts_used=row.attempts_used,
        workers_lost=row.workers_lost,
        deps_left=row.deps_left,
        created_at=timestamp(row.created_ns),
        changed_at=timestamp(row.changed_ns),
        attempts=ended,
        reason=row.reason,
        message=row.message,
    )
    if row.state == pb.TASK_STATE_PENDING:
        if row.not_before_ns:
            task.not_before.CopyFrom(timestamp(row.not_before_ns))
        if not row.deps_left:
            task.ready_at.CopyFrom(timestamp(max(row.ready_ns, row.not_before_ns)))
    if row.state in LIVE or row.state == pb.TASK_STATE_COMPLETE:
        task.attempts.append(_newest(row))
    return task


def ended_attempts(sql: sqlite3.Connection, number: int) -> list[pb.Attempt]:
    """Return a task's attempts that have ended without success, oldest first."""
    query = f"SELECT {_ENDED_COLUMNS} FROM attempts WHERE task = ? ORDER BY attempt"  # noqa: S608 - names are constants, values parameters.
    return [_ended(row) for row in sql.execute(query, (number,))]


def ended_by_token(sql: sqlite3.Connection, tokens: Iterable[int]) -> dict[int, pb.Attempt]:
    """Return those attempts that have ended without success, by fencing token."""
    query = (
        f"SELECT {_ENDED_COLUMNS} FROM attempts"  # noqa: S608 - names are constants, values parameters.
        " WHERE token IN (SELECT value FROM json_each(?))"
    )
    wanted = [token for token in tokens if token]
    rows = sql.execute(query, (str(wanted),)) if wanted else ()
    return {row[0]: _ended(row) for row in rows}


def _newest(row: TaskRow) -> pb.Attempt:
    complete = row.state == pb.TASK_STATE_COMPLETE
    ended_ns, message = (row.changed_ns, row.message) if complete else (0, "")
    times = (row.assigned_ns, row.started_ns, row.submitted_ns, ended_ns)
    attempt = _attempt((row.token, row.attempt, row.worker), times, row.progress)
    attempt.message = message
    return attempt


def _attempt(
    name: tuple[int, int, str], times: tuple[int, int, int, int], progress: bytes
) -> pb.Attempt:
    token, number, worker = name
    attempt = pb.Attempt(number=number, fencing_token=token, worker=worker)
    for field, at_ns in zip(_TIMES, times, strict=True):
        if at_ns:
            getattr(attempt, field).CopyFrom(timestamp(at_ns))
    if progress:
        attempt.progress.CopyFrom(common_pb2.Progress.FromString(progress))
    return attempt


def _ended(row: Sequence[Any]) -> pb.Attempt:
    """Return a row of `attempts`, in the order of _ENDED_COLUMNS."""
    attempt = _attempt((row[0], row[1], row[2]), (row[3], row[4], row[5], row[6]), row[10])
    attempt.reason, attempt.message, attempt.detail = row[7], row[8], row[9]
    return attempt
