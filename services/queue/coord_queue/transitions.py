"""The arrows between states, each for many tasks at a time, within one transaction.

Every function here changes rows, writes the events of the change and brings the heads along; none
commits.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from coord.environment import Random
from coord.times import timestamp_ns
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord_runtime.database import Transaction

from coord_queue.retry import after_failure
from coord_queue.rows import heads
from coord_queue.schema import HEAD_COLUMNS, LIVE, NEVER_NS, UNSUCCESSFUL, Head
from coord_queue.store import LiveAttempt
from coord_queue.tokens import Tokens

_BLOCKED = ", ".join(str(state) for state in sorted(UNSUCCESSFUL))
_NO_REASON = pb.FAILURE_REASON_UNSPECIFIED
# What differs between the events of one move.
_MOVED = ("task_id", "from_state", "fencing_token", "worker", "message")


class Ending(NamedTuple):
    """How an attempt ends without success, and what its task becomes."""

    head: Head
    state: pb.TaskState
    reason: pb.FailureReason
    message: str
    detail: str = ""
    cause: common_pb2.EventRef | None = None
    attempts_used: int = 0
    workers_lost: int = 0
    not_before_ns: int = 0


class Moves:
    """Changes of one project's tasks within a transaction.

    Attributes:
        transaction: The transaction.
        project: The project.
        chance: Where the jitter of backoffs comes from.
        tokens: Where fencing tokens come from.
        live: The heads of live attempts, as far as they are known, by task. Who moves one takes it
            out: only what is on disk is known.
        counts: How many tasks more are in each state, by (state, whether free): PENDING ones that
            wait for no dependency are free.
        needs: Sets of capabilities, by id, that no task had required before.
        given: The new attempts.
        back_ns: When the first of the backoffs that begin here ends; far away where none does.
        moved: The heads of tasks that have another state now.
    """

    def __init__(
        self,
        transaction: Transaction,
        project: str,
        chance: Random,
        tokens: Tokens,
        live: dict[str, Head],
    ) -> None:
        self.transaction = transaction
        self.sql = transaction.sql
        self.now_ns = transaction.now_ns
        self.project = project
        self.chance = chance
        self.tokens = tokens
        self.live = live
        self.counts: dict[tuple[pb.TaskState, bool], int] = {}
        self.needs: dict[int, frozenset[str]] = {}
        self.given: list[LiveAttempt] = []
        self.back_ns = NEVER_NS
        self.moved: list[Head] = []

    def heads(self, ids: Sequence[str]) -> dict[str, Head]:
        """Return the heads of those tasks that are there, by id."""
        known = {one: self.live[one] for one in ids if one in self.live}
        others = [one for one in ids if one not in known]
        return known | heads(self.sql, self.project, others)

    def assign(self, heads: Sequence[Head], workers: Sequence[str]) -> None:
        """PENDING -> ASSIGNED, each with a new attempt."""
        self.count(pb.TASK_STATE_PENDING, -len(heads), free=True)
        first = self.tokens.take(self.transaction, len(heads))
        for token, (head, worker) in enumerate(zip(heads, workers, strict=True), first):
            head.token, head.worker = token, worker
        self.sql.executemany(
            f"UPDATE tasks SET state = {pb.TASK_STATE_ASSIGNED}, changed_ns = ?1, assigned_ns = ?1,"  # noqa: S608 - a constant.
            " token = ?2, worker = ?3, attempt = attempt + 1, started_ns = 0, submitted_ns = 0,"
            " progress = x'', not_before_ns = 0, reason = 0, message = '' WHERE number = ?4",
            [(self.now_ns, one.token, one.worker, one.number) for one in heads],
        )
        self._tell(heads, pb.TASK_STATE_ASSIGNED)

    def start(self, heads: Sequence[Head]) -> None:
        """ASSIGNED -> RUNNING."""
        self._advance(heads, pb.TASK_STATE_RUNNING, "started_ns")

    def submit(self, heads: Sequence[Head]) -> None:
        """ASSIGNED or RUNNING -> MERGING."""
        self._advance(heads, pb.TASK_STATE_MERGING, "submitted_ns")

    def complete(self, done: Sequence[tuple[Head, pb.Completion]]) -> None:
        """Any live state -> COMPLETE; the dependents have one less to wait for."""
        self.sql.executemany(
            f"UPDATE tasks SET state = {pb.TASK_STATE_COMPLETE}, changed_ns = ?, message = ?"  # noqa: S608 - a constant.
            " WHERE number = ?",
            [(self.now_ns, completion.message, head.number) for head, completion in done],
        )
        for cause, alike in groupby(done, lambda one: one[1].cause):
            ended, reports = zip(*alike, strict=True)
            self._leave(ended)
            messages = [one.message for one in reports]
            self._tell(ended, pb.TASK_STATE_COMPLETE, messages=messages, cause=cause)
        self._count_down([head.number for head, _ in done])

    def fail(self, failed: Sequence[tuple[Head, pb.Failure]]) -> None:
        """Any live state -> PENDING while the policy allows another attempt, else FAILED."""
        policies = self._policies([head.number for head, _ in failed])
        endings = [self._ending(head, failure, policies[head.number]) for head, failure in failed]
        self._end(endings)
        for ending in endings:
            if ending.state == pb.TASK_STATE_FAILED:
                self.abort_dependents(ending.head)

    def release(self, released: Sequence[tuple[Head, pb.Release]]) -> None:
        """Any live state -> PENDING, as if the attempt had not been."""
        for head, release in released:
            if release.HasField("progress"):
                self.set_progress([(head, release.progress)])
        self._end(
            [
                Ending(
                    head,
                    pb.TASK_STATE_PENDING,
                    pb.FAILURE_REASON_RELEASED,
                    release.message,
                    attempts_used=head.attempts_used,
                    workers_lost=head.workers_lost,
                )
                for head, release in released
            ]
        )

    def cancel(self, head: Head, message: str) -> None:
        """Any state that is not final -> CANCELLED."""
        state, reason = pb.TASK_STATE_CANCELLED, pb.FAILURE_REASON_CANCELLED
        used, lost = head.attempts_used, head.workers_lost
        self._end([Ending(head, state, reason, message, attempts_used=used, workers_lost=lost)])
        self.abort_dependents(head)

    def abort_dependents(self, head: Head) -> None:
        """PENDING -> ABORTED for all that depend on a task, near or far."""
        reason = pb.FAILURE_REASON_DEPENDENCY_FAILED
        message = f"depends on {head.id}, which ended without success"
        pending, aborted = pb.TASK_STATE_PENDING, pb.TASK_STATE_ABORTED
        query = f"""
            WITH RECURSIVE doomed (number) AS (
                VALUES (?)
                UNION
                SELECT tasks.number FROM doomed JOIN dependents ON dep = doomed.number
                JOIN tasks ON tasks.number = task AND state = {pending}
            )
            UPDATE tasks SET state = {aborted}, changed_ns = ?, reason = ?, message = ?
            WHERE state = {pending} AND number IN (SELECT number FROM doomed)
            RETURNING {HEAD_COLUMNS}
            """  # noqa: S608 - names are constants, values parameters.
        doomed = self._heads(query, (head.number, self.now_ns, reason, message))
        for one in doomed:
            one.state = pending
        self.count(pending, -len(doomed))
        self._tell(doomed, aborted, reason, [message] * len(doomed))

    def retry(self, head: Head) -> None:
        """FAILED, CANCELLED or ABORTED -> PENDING; then the dependents that this had aborted."""
        frontier = [head]
        while frontier:
            self._revive(frontier)
            frontier = self._revivable([one.number for one in frontier])

    def blocked(self, number: int) -> bool:
        """Tell whether a dependency of a task has ended without success."""
        query = f"""
            SELECT 1 FROM dependents JOIN tasks ON number = dep
            WHERE task = ? AND state IN ({_BLOCKED}) LIMIT 1
            """  # noqa: S608 - names are constants, values parameters.
        return self.sql.execute(query, (number,)).fetchone() is not None

    def set_progress(self, reported: Iterable[tuple[Head, common_pb2.Progress]]) -> None:
        """Store how far attempts have come."""
        self.sql.executemany(
            "UPDATE tasks SET progress = ? WHERE number = ?",
            [(progress.SerializeToString(), head.number) for head, progress in reported],
        )

    def count(self, state: pb.TaskState, number: int, *, free: bool = False) -> None:
        """Note that there are more (or fewer) tasks in a state."""
        self.counts[state, free] = self.counts.get((state, free), 0) + number

    def emit(self, event: pb.QueueEvent) -> None:
        """Write an event."""
        self.transaction.emit(self.project, event)

    def emit_all(
        self, event: pb.QueueEvent, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Write an event for each row of the fields in which they differ."""
        self.transaction.emit_all(self.project, event, names, rows)

    def _advance(self, heads: Sequence[Head], state: pb.TaskState, column: str) -> None:
        self.sql.executemany(
            f"UPDATE tasks SET state = {state}, changed_ns = ?1, {column} = ?1 WHERE number = ?2",  # noqa: S608 - names are constants, values parameters.
            [(self.now_ns, one.number) for one in heads],
        )
        self._leave(heads)
        self._tell(heads, state)

    def _leave(self, heads: Sequence[Head]) -> None:
        for head in heads:
            self.count(head.state, -1)

    def _count_down(self, numbers: Sequence[int]) -> None:
        pending, ended = pb.TASK_STATE_PENDING, str(list(numbers))
        # Most tasks have no dependents, and this question is cheaper than the update.
        some = "SELECT 1 FROM dependents WHERE dep IN (SELECT value FROM json_each(?)) LIMIT 1"
        if self.sql.execute(some, (ended,)).fetchone() is None:
            return
        rows = self.sql.execute(
            "UPDATE tasks SET deps_left = deps_left - ended.deps, ready_ns = ?"
            " FROM (SELECT task, count(*) AS deps FROM dependents"
            " WHERE dep IN (SELECT value FROM json_each(?)) GROUP BY task) AS ended"
            " WHERE number = ended.task RETURNING state, deps_left",
            (self.now_ns, ended),
        ).fetchall()
        freed = rows.count((pending, 0))
        self.count(pending, -freed)
        self.count(pending, freed, free=True)

    def _policies(self, numbers: Sequence[int]) -> dict[int, pb.RetryPolicy]:
        query = "SELECT task, spec FROM specs WHERE task IN (SELECT value FROM json_each(?))"
        rows = self.sql.execute(query, (str(list(numbers)),))
        return {number: pb.TaskSpec.FromString(spec).retry_policy for number, spec in rows}

    def _ending(self, head: Head, failure: pb.Failure, policy: pb.RetryPolicy) -> Ending:
        verdict = after_failure(
            policy, failure.reason, head.attempts_used, head.workers_lost, self.chance
        )
        return Ending(
            head,
            pb.TASK_STATE_PENDING if verdict.again else pb.TASK_STATE_FAILED,
            failure.reason,
            failure.message,
            failure.detail,
            failure.cause,
            verdict.attempts_used,
            verdict.workers_lost,
            max(self.now_ns + verdict.wait_ns, timestamp_ns(failure.not_before)),
        )

    def _end(self, endings: Sequence[Ending]) -> None:
        """End attempts without success, where there are any, and move their tasks."""
        self.sql.executemany(
            "INSERT INTO attempts SELECT token, number, attempt, worker, assigned_ns, started_ns,"
            " submitted_ns, ?, ?, ?, ?, progress FROM tasks WHERE number = ?",
            [
                (self.now_ns, one.reason, one.message, one.detail, one.head.number)
                for one in endings
                if one.head.state in LIVE
            ],
        )
        self.sql.executemany(
            "UPDATE tasks SET state = ?, changed_ns = ?, reason = ?, message = ?,"
            " attempts_used = ?, workers_lost = ?, not_before_ns = ?, ready_ns = ?"
            " WHERE number = ?",
            [self._ended_row(one) for one in endings],
        )
        for one in endings:
            free = one.head.deps_left == 0
            self.count(one.head.state, -1, free=free and one.head.state == pb.TASK_STATE_PENDING)
            self._tell([one.head], one.state, one.reason, [one.message], one.cause, free=free)

    def _ended_row(self, one: Ending) -> tuple[Any, ...]:
        waits = one.not_before_ns > self.now_ns and one.state == pb.TASK_STATE_PENDING
        not_before_ns = one.not_before_ns if waits else 0
        self.back_ns = min(self.back_ns, not_before_ns or NEVER_NS)
        return (
            one.state,
            self.now_ns,
            one.reason,
            one.message,
            one.attempts_used,
            one.workers_lost,
            not_before_ns,
            max(self.now_ns, not_before_ns),
            one.head.number,
        )

    def _revive(self, heads: Sequence[Head]) -> None:
        numbers = str([one.number for one in heads])
        query = f"""
            UPDATE tasks SET state = {pb.TASK_STATE_PENDING}, changed_ns = ?1, ready_ns = ?1,
                reason = 0, message = '', attempts_used = 0, workers_lost = 0, not_before_ns = 0,
                deps_left = (
                    SELECT count(*) FROM dependents JOIN tasks AS dep ON dep.number = dependents.dep
                    WHERE dependents.task = tasks.number AND dep.state != {pb.TASK_STATE_COMPLETE}
                )
            WHERE number IN (SELECT value FROM json_each(?2)) RETURNING {HEAD_COLUMNS}
            """  # noqa: S608 - names are constants, values parameters.
        revived = {one.number: one for one in self._heads(query, (self.now_ns, numbers))}
        for head in heads:
            self.count(head.state, -1)
            head.deps_left = revived[head.number].deps_left
            self._tell([head], pb.TASK_STATE_PENDING, free=head.deps_left == 0)

    def _revivable(self, revived: Sequence[int]) -> list[Head]:
        query = f"""
            SELECT DISTINCT {HEAD_COLUMNS} FROM dependents JOIN tasks ON number = task
            WHERE dep IN (SELECT value FROM json_each(?)) AND state = {pb.TASK_STATE_ABORTED}
            AND NOT EXISTS (
                SELECT 1 FROM dependents AS other JOIN tasks AS dep ON dep.number = other.dep
                WHERE other.task = tasks.number AND dep.state IN ({_BLOCKED})
            )
            """  # noqa: S608 - names are constants, values parameters.
        return self._heads(query, (str(list(revived)),))

    def _heads(self, query: str, parameters: tuple[Any, ...]) -> list[Head]:
        """Return the heads that a query finds, in the order of adding."""
        heads = [Head(*row) for row in self.sql.execute(query, parameters)]
        return sorted(heads, key=lambda head: head.number)

    def _tell(
        self,
        heads: Sequence[Head],
        state: pb.TaskState,
        reason: pb.FailureReason = _NO_REASON,
        messages: Sequence[str] = (),
        cause: common_pb2.EventRef | None = None,
        *,
        free: bool = False,
    ) -> None:
        """Write the events of a move that is stored, and bring the heads along."""
        event = pb.QueueEvent(to_state=state, reason=reason)
        if cause is not None and cause.sequence:
            event.meta.cause.CopyFrom(cause)
        rows = [
            (one.id, one.state, one.token, one.worker, message)
            for one, message in zip(heads, messages or [""] * len(heads), strict=True)
        ]
        self.emit_all(event, _MOVED, rows)
        for head in heads:
            self.live.pop(head.id, None)
            head.state = state
        self.moved += heads
        self.count(state, len(heads), free=free and state == pb.TASK_STATE_PENDING)
