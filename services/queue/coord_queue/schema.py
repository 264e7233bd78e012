"""The tables of the embedded store, and how their rows read."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from coord.times import timestamp
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb

MIGRATIONS = (
    f"""
    -- `number` is the order of adding; `token` names the newest attempt, live or not.
    CREATE TABLE tasks (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        project TEXT NOT NULL,
        id TEXT NOT NULL,
        spec BLOB NOT NULL,
        state INTEGER NOT NULL,
        priority INTEGER NOT NULL,
        deps_left INTEGER NOT NULL,
        attempts_used INTEGER NOT NULL DEFAULT 0,
        workers_lost INTEGER NOT NULL DEFAULT 0,
        not_before_ns INTEGER NOT NULL DEFAULT 0,
        created_ns INTEGER NOT NULL,
        changed_ns INTEGER NOT NULL,
        token INTEGER NOT NULL DEFAULT 0,
        worker TEXT NOT NULL DEFAULT '',
        reason INTEGER NOT NULL DEFAULT 0,
        message TEXT NOT NULL DEFAULT '',
        UNIQUE (project, id)
    ) STRICT;
    CREATE INDEX tasks_ready ON tasks (project, priority, number)
        WHERE state = {pb.TASK_STATE_PENDING} AND deps_left = 0;
    CREATE INDEX tasks_live ON tasks (project, token)
        WHERE state IN ({pb.TASK_STATE_ASSIGNED}, {pb.TASK_STATE_RUNNING}, {pb.TASK_STATE_MERGING});
    -- Which tasks wait for a task.
    CREATE TABLE dependents (
        dep INTEGER NOT NULL,
        task INTEGER NOT NULL,
        PRIMARY KEY (dep, task)
    ) STRICT, WITHOUT ROWID;
    -- AUTOINCREMENT: a fencing token is never given twice.
    CREATE TABLE attempts (
        token INTEGER PRIMARY KEY AUTOINCREMENT,
        task INTEGER NOT NULL,
        number INTEGER NOT NULL,
        worker TEXT NOT NULL,
        assigned_ns INTEGER NOT NULL,
        started_ns INTEGER NOT NULL DEFAULT 0,
        submitted_ns INTEGER NOT NULL DEFAULT 0,
        ended_ns INTEGER NOT NULL DEFAULT 0,
        reason INTEGER NOT NULL DEFAULT 0,
        message TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '',
        progress BLOB NOT NULL DEFAULT x''
    ) STRICT;
    CREATE INDEX attempts_by_task ON attempts (task, number);
    """,
)

LIVE = frozenset({pb.TASK_STATE_ASSIGNED, pb.TASK_STATE_RUNNING, pb.TASK_STATE_MERGING})
UNSUCCESSFUL = frozenset({pb.TASK_STATE_FAILED, pb.TASK_STATE_CANCELLED, pb.TASK_STATE_ABORTED})

TASK_COLUMNS = (
    "number, id, spec, state, deps_left, attempts_used, workers_lost, not_before_ns, created_ns,"
    " changed_ns, token, worker, reason, message"
)
_ATTEMPT_COLUMNS = (
    "token, number, worker, assigned_ns, started_ns, submitted_ns, ended_ns, reason, message,"
    " detail, progress"
)


@dataclass(slots=True)
class TaskRow:
    """A row of `tasks`, in the order of TASK_COLUMNS."""

    number: int
    id: str
    spec: bytes
    state: pb.TaskState
    deps_left: int
    attempts_used: int
    workers_lost: int
    not_before_ns: int
    created_ns: int
    changed_ns: int
    token: int
    worker: str
    reason: pb.FailureReason
    message: str

    def task(self, attempts: Iterable[pb.Attempt]) -> pb.Task:
        """Return the row as the contract has it."""
        task = pb.Task(
            spec=pb.TaskSpec.FromString(self.spec),
            state=self.state,
            attempts_used=self.attempts_used,
            workers_lost=self.workers_lost,
            deps_left=self.deps_left,
            created_at=timestamp(self.created_ns),
            changed_at=timestamp(self.changed_ns),
            attempts=attempts,
            reason=self.reason,
            message=self.message,
        )
        if self.not_before_ns and self.state == pb.TASK_STATE_PENDING:
            task.not_before.CopyFrom(timestamp(self.not_before_ns))
        return task


def task_rows(sql: sqlite3.Connection, project: str, ids: Iterable[str]) -> dict[str, TaskRow]:
    """Return the rows of those tasks that are there, by id."""
    wanted = list(dict.fromkeys(ids))
    marks = ",".join("?" * len(wanted))
    query = f"SELECT {TASK_COLUMNS} FROM tasks WHERE project = ? AND id IN ({marks})"  # noqa: S608 - names are constants, values parameters.
    rows = (TaskRow(*row) for row in sql.execute(query, (project, *wanted)))
    return {row.id: row for row in rows}


def attempts_of(sql: sqlite3.Connection, number: int) -> list[pb.Attempt]:
    """Return the attempts at the task with this number, oldest first."""
    query = f"SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE task = ? ORDER BY number"  # noqa: S608 - names are constants, values parameters.
    return [_attempt(row) for row in sql.execute(query, (number,))]


def attempts_by_token(sql: sqlite3.Connection, tokens: Iterable[int]) -> dict[int, pb.Attempt]:
    """Return attempts by their fencing tokens."""
    wanted = list(tokens)
    marks = ",".join("?" * len(wanted))
    query = f"SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE token IN ({marks})"  # noqa: S608 - names are constants, values parameters.
    return {row[0]: _attempt(row) for row in sql.execute(query, wanted)}


def without_bodies(spec: bytes) -> pb.TaskSpec:
    """Return a stored spec without prompt and payload."""
    parsed = pb.TaskSpec.FromString(spec)
    parsed.ClearField("prompt")
    parsed.ClearField("payload")
    return parsed


def _attempt(
    row: tuple[int, int, str, int, int, int, int, pb.FailureReason, str, str, bytes],
) -> pb.Attempt:
    token, number, worker, assigned, started, submitted, ended, reason, message, detail, body = row
    attempt = pb.Attempt(
        number=number,
        fencing_token=token,
        worker=worker,
        reason=reason,
        message=message,
        detail=detail,
    )
    times = {
        "assigned_at": assigned,
        "started_at": started,
        "submitted_at": submitted,
        "ended_at": ended,
    }
    for field, at_ns in times.items():
        if at_ns:
            getattr(attempt, field).CopyFrom(timestamp(at_ns))
    if body:
        attempt.progress.CopyFrom(common_pb2.Progress.FromString(body))
    return attempt
