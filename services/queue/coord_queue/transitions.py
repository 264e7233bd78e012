"""The arrows between states, as operations within one transaction.

Every function here changes rows and writes the events of the change; none commits.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coord.environment import Random
from coord.times import timestamp_ns
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord_runtime.database import Transaction

from coord_queue.retry import after_failure
from coord_queue.schema import LIVE, TASK_COLUMNS, UNSUCCESSFUL, TaskRow


@dataclass
class Moves:
    """Changes of one project's tasks within a transaction."""

    transaction: Transaction
    project: str
    chance: Random

    def assign(self, row: TaskRow, worker: str) -> None:
        """PENDING -> ASSIGNED, with a new attempt."""
        sql, now_ns = self.transaction.sql, self.transaction.now_ns
        cursor = sql.execute(
            "INSERT INTO attempts (task, number, worker, assigned_ns) SELECT ?,"
            " 1 + coalesce(max(number), 0), ?, ? FROM attempts WHERE task = ?",
            (row.number, worker, now_ns, row.number),
        )
        row.token, row.worker = int(cursor.lastrowid or 0), worker
        # One statement for what `_move` would write, too: this is the hottest of all moves.
        sql.execute(
            "UPDATE tasks SET state = ?, changed_ns = ?, reason = 0, message = '', token = ?,"
            " worker = ?, not_before_ns = 0 WHERE number = ?",
            (pb.TASK_STATE_ASSIGNED, now_ns, row.token, worker, row.number),
        )
        self._tell(row, pb.TASK_STATE_ASSIGNED)

    def start(self, rows: Sequence[TaskRow]) -> None:
        """ASSIGNED -> RUNNING."""
        self._stamp("started_ns", rows)
        for row in rows:
            self._move(row, pb.TASK_STATE_RUNNING)

    def submit(self, rows: Sequence[TaskRow]) -> None:
        """ASSIGNED or RUNNING -> MERGING."""
        self._stamp("submitted_ns", rows)
        for row in rows:
            self._move(row, pb.TASK_STATE_MERGING)

    def complete(self, row: TaskRow, completion: pb.Completion) -> None:
        """Any live state -> COMPLETE; the dependents have one less to wait for."""
        sql = self.transaction.sql
        self._end_attempt(row, pb.FAILURE_REASON_UNSPECIFIED, completion.message)
        self._move(row, pb.TASK_STATE_COMPLETE, message=completion.message, cause=completion.cause)
        sql.execute(
            "UPDATE tasks SET deps_left = deps_left - 1"
            " WHERE number IN (SELECT task FROM dependents WHERE dep = ?)",
            (row.number,),
        )

    def fail(self, row: TaskRow, failure: pb.Failure) -> None:
        """Any live state -> PENDING while the policy allows another attempt, else FAILED."""
        policy = pb.TaskSpec.FromString(row.spec).retry_policy
        verdict = after_failure(
            policy, failure.reason, row.attempts_used, row.workers_lost, self.chance
        )
        not_before_ns = max(
            self.transaction.now_ns + verdict.wait_ns, timestamp_ns(failure.not_before)
        )
        self._end_attempt(row, failure.reason, failure.message, failure.detail)
        self.transaction.sql.execute(
            "UPDATE tasks SET attempts_used = ?, workers_lost = ?, not_before_ns = ?"
            " WHERE number = ?",
            (verdict.attempts_used, verdict.workers_lost, not_before_ns, row.number),
        )
        state = pb.TASK_STATE_PENDING if verdict.again else pb.TASK_STATE_FAILED
        self._move(row, state, failure.reason, failure.message, failure.cause)
        if not verdict.again:
            self.abort_dependents(row)

    def release(self, row: TaskRow, release: pb.Release) -> None:
        """Any live state -> PENDING, as if the attempt had not been."""
        reason = pb.FAILURE_REASON_RELEASED
        if release.HasField("progress"):
            self.set_progress(row.token, release.progress)
        self._end_attempt(row, reason, release.message)
        self._move(row, pb.TASK_STATE_PENDING, reason, release.message)

    def cancel(self, row: TaskRow, message: str) -> None:
        """Any state that is not final -> CANCELLED."""
        reason = pb.FAILURE_REASON_CANCELLED
        if row.state in LIVE:
            self._end_attempt(row, reason, message)
        self._move(row, pb.TASK_STATE_CANCELLED, reason, message)
        self.abort_dependents(row)

    def abort_dependents(self, row: TaskRow) -> None:
        """PENDING -> ABORTED for all that depend on a task, near or far."""
        reason = pb.FAILURE_REASON_DEPENDENCY_FAILED
        waiting = deque([row])
        while waiting:
            ended = waiting.popleft()
            message = f"dependency {ended.id} ended without success"
            for dependent in self._dependents(ended, {pb.TASK_STATE_PENDING}):
                self._move(dependent, pb.TASK_STATE_ABORTED, reason, message)
                waiting.append(dependent)

    def retry(self, row: TaskRow) -> None:
        """FAILED, CANCELLED or ABORTED -> PENDING; then the dependents that this had aborted."""
        waiting = deque([row])
        while waiting:
            revived = waiting.popleft()
            self._revive(revived)
            for dependent in self._dependents(revived, {pb.TASK_STATE_ABORTED}):
                if not self.blocked(dependent):
                    waiting.append(dependent)

    def blocked(self, row: TaskRow) -> bool:
        """Tell whether a dependency of a task has ended without success."""
        return any(state in UNSUCCESSFUL for state in self._dep_states(row))

    def set_progress(self, token: int, progress: common_pb2.Progress) -> None:
        """Store how far an attempt has come."""
        self.transaction.sql.execute(
            "UPDATE attempts SET progress = ? WHERE token = ?",
            (progress.SerializeToString(), token),
        )

    def added(self, task_id: str, state: pb.TaskState, message: str = "") -> None:
        """Tell of a new task."""
        self._emit(pb.QueueEvent(task_id=task_id, to_state=state, message=message))

    def _revive(self, row: TaskRow) -> None:
        deps_left = sum(state != pb.TASK_STATE_COMPLETE for state in self._dep_states(row))
        self.transaction.sql.execute(
            "UPDATE tasks SET deps_left = ?, attempts_used = 0, workers_lost = 0,"
            " not_before_ns = 0 WHERE number = ?",
            (deps_left, row.number),
        )
        self._move(row, pb.TASK_STATE_PENDING)

    def _dep_states(self, row: TaskRow) -> list[pb.TaskState]:
        query = (
            "SELECT state FROM tasks WHERE project = ? AND id IN (SELECT value FROM json_each(?))"
        )
        deps = pb.TaskSpec.FromString(row.spec).deps
        return [state for (state,) in self.transaction.sql.execute(query, self._json(deps))]

    def _json(self, ids: Iterable[str]) -> tuple[str, str]:
        # Ids hold no character that JSON would escape.
        return self.project, "[" + ",".join(f'"{one}"' for one in ids) + "]"

    def _dependents(self, row: TaskRow, states: set[pb.TaskState]) -> list[TaskRow]:
        query = (
            f"SELECT {TASK_COLUMNS} FROM tasks JOIN dependents ON task = number"  # noqa: S608 - names are constants, values parameters.
            " WHERE dep = ? ORDER BY number"
        )
        rows = (TaskRow(*found) for found in self.transaction.sql.execute(query, (row.number,)))
        return [found for found in rows if found.state in states]

    def _stamp(self, column: str, rows: Sequence[TaskRow]) -> None:
        now_ns = self.transaction.now_ns
        self.transaction.sql.executemany(
            f"UPDATE attempts SET {column} = ? WHERE token = ?",  # noqa: S608 - names are constants, values parameters.
            [(now_ns, row.token) for row in rows],
        )

    def _end_attempt(
        self, row: TaskRow, reason: pb.FailureReason, message: str, detail: str = ""
    ) -> None:
        self.transaction.sql.execute(
            "UPDATE attempts SET ended_ns = ?, reason = ?, message = ?, detail = ? WHERE token = ?",
            (self.transaction.now_ns, reason, message, detail, row.token),
        )

    def _move(
        self,
        row: TaskRow,
        state: pb.TaskState,
        reason: pb.FailureReason = pb.FAILURE_REASON_UNSPECIFIED,
        message: str = "",
        cause: common_pb2.EventRef | None = None,
    ) -> None:
        self.transaction.sql.execute(
            "UPDATE tasks SET state = ?, changed_ns = ?, reason = ?, message = ? WHERE number = ?",
            (state, self.transaction.now_ns, reason, message, row.number),
        )
        self._tell(row, state, reason, message, cause)

    def _tell(
        self,
        row: TaskRow,
        state: pb.TaskState,
        reason: pb.FailureReason = pb.FAILURE_REASON_UNSPECIFIED,
        message: str = "",
        cause: common_pb2.EventRef | None = None,
    ) -> None:
        """Write the event of a move that is stored, and bring `row` along."""
        event = pb.QueueEvent(
            task_id=row.id,
            from_state=row.state,
            to_state=state,
            fencing_token=row.token,
            worker=row.worker,
            reason=reason,
            message=message,
        )
        if cause is not None and cause.sequence:
            event.meta.cause.CopyFrom(cause)
        row.state = state
        self._emit(event)

    def _emit(self, event: pb.QueueEvent) -> None:
        self.transaction.emit(self.project, event)
